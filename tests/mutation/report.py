"""The table: a line a module."""

from collections import Counter
from collections.abc import Iterable

from tests.mutation.verdicts import Fate, Mutant

WANTED = 0.9
HEAD = (
    "| module | mutants | not tried | killed | timed out | survived | share killed |\n"
    "|---|---:|---:|---:|---:|---:|---:|\n"
)


def share(mutants: Iterable[Mutant]) -> float:
    """Of the mutants that were tried; one that made a test run for ever counts as killed, since it fails."""
    fates = Counter(mutant.fate for mutant in mutants)
    return (fates[Fate.KILLED] + fates[Fate.TIMED_OUT]) / max(1, fates.total() - fates[Fate.UNCHECKED])


def table(mutants: Iterable[Mutant]) -> str:
    """Markdown; the last line is all of them."""
    by_module: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_module.setdefault(mutant.module, []).append(mutant)
    everything = [mutant for those in by_module.values() for mutant in those]
    lines = [_line(f"`{module}`", those) for module, those in by_module.items()]
    return HEAD + "".join([*lines, _line("all", everything)])


def _line(name: str, mutants: list[Mutant]) -> str:
    fates = Counter(mutant.fate for mutant in mutants)
    columns = (Fate.UNCHECKED, Fate.KILLED, Fate.TIMED_OUT, Fate.SURVIVED)
    numbers = [len(mutants), *(fates[fate] for fate in columns)]
    killed = "-" if fates[Fate.UNCHECKED] == len(mutants) else f"{share(mutants):.1%}"
    return f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + f" | {killed} |\n"
