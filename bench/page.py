"""Markdown pages with generated parts between marks, and the tables and numbers in them."""

from collections.abc import Sequence

END = "<!-- end -->"


def replace_marked(text: str, mark: str, content: str) -> str:
    """Return the page with the text between `<!-- mark -->` and the next `<!-- end -->` replaced.

    Raise ValueError unless the page has the mark exactly once.
    """
    begin = f"<!-- {mark} -->\n"
    if text.count(begin) != 1:
        raise ValueError(f"the page must have the mark {begin.strip()} exactly once")
    before, _, rest = text.partition(begin)
    return before + begin + content + END + rest.partition(END)[2]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]]) + "\n"


def number(value: float) -> str:
    return f"{round(value):,}"
