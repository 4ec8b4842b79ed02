"""Markdown that a program keeps up to date: tables and figures between marks, in pages that people write."""

from collections.abc import Sequence

END = "<!-- end -->"


def put_in(text: str, mark: str, content: str) -> str:
    """The page with what stands between `<!-- mark -->` and the next `<!-- end -->` replaced.

    Raises ValueError where the page does not have the mark exactly once.
    """
    begin = f"<!-- {mark} -->\n"
    if text.count(begin) != 1:
        raise ValueError(f"the page must have the mark {begin.strip()} once")
    before, _, rest = text.partition(begin)
    return before + begin + content + END + rest.partition(END)[2]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]]) + "\n"


def number(value: float) -> str:
    return f"{round(value):,}"
