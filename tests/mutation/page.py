"""docs/mutants.md: the tables between its marks."""

from collections.abc import Iterable
from pathlib import Path

from tests.mutation.report import table
from tests.mutation.verdicts import Mutant

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
BEGIN, END = "<!-- make mutants -->\n", "<!-- end -->"


def write(mutants: Iterable[Mutant]) -> None:
    PAGE.write_text(put_in(PAGE.read_text(), table(mutants)))


def put_in(text: str, made: str) -> str:
    """The page with the table between its marks made anew. Raises ValueError where they are not there."""
    if text.count(BEGIN) != 1 or END not in text:
        raise ValueError(f"{PAGE.name} must have the mark {BEGIN.strip()} once, and {END}")
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + made + END + rest.partition(END)[2]
