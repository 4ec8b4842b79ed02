"""Tables that fit a terminal: whole ids and amounts, and no line wider than the screen."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ops.format.ids import has_id, shorten_ids

_GAP = 2
# A longer word that is no id, such as a web address, may be broken.
_LONGEST_WORD = 20
_EMPTY = ("", "0")
INDENT = 4

type Row = tuple[Text, ...]


@dataclass(frozen=True)
class Grid:
    """Rows below headings. Columns in `right` are numbers; these and those in `whole` are never broken."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    right: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    @property
    def width(self) -> int:
        """Return the width that the grid needs at least."""
        return sum(map(self.min_width, range(len(self.columns)))) + _GAP * (len(self.columns) - 1)

    def min_width(self, position: int) -> int:
        """Return the width that a column needs at least."""
        texts = [self.columns[position], *(row[position].plain for row in self.rows)]
        if self.columns[position] in self.right | self.whole:
            return max(map(cell_len, texts))
        words = (word for text in texts for word in text.split())
        return max((_width_of_word(word) for word in words), default=1)

    def without(self, dropped: Iterable[str]) -> "Grid":
        """Return the grid without some columns."""
        names = set(dropped)
        kept = [position for position, name in enumerate(self.columns) if name not in names]
        return replace(
            self,
            columns=tuple(self.columns[position] for position in kept),
            rows=tuple(tuple(row[position] for position in kept) for row in self.rows),
        )

    def without_empty(self) -> "Grid":
        """Return the grid without columns that hold nothing or zero in every row. The first one stays."""
        empty = [
            name
            for position, name in enumerate(self.columns)
            if position and all(row[position].plain in _EMPTY for row in self.rows)
        ]
        return self.without(empty)

    def with_short_ids(self) -> "Grid":
        """Return the grid with shortened ids, which keep their links."""
        rows = tuple(tuple(Text(shorten_ids(one.plain), style=one.style) for one in row) for row in self.rows)
        return replace(self, rows=rows)


def _width_of_word(word: str) -> int:
    return cell_len(word) if has_id(word) else min(cell_len(word), _LONGEST_WORD)


def fit(grid: Grid, width: int, droppable: Sequence[str]) -> Grid | None:
    """Return the most complete grid that fits, or None if none does.

    Ids are shortened first. Then columns are left out in the order of `droppable`.
    """
    short = grid.with_short_ids()
    further = (short.without(droppable[:count]) for count in range(len(droppable) + 1))
    return next((one for one in (grid, *further) if one.width <= width), None)


def render_table(grid: Grid) -> Table:
    """Return a grid as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for position, column in enumerate(grid.columns):
        table.add_column(
            column,
            justify="right" if column in grid.right else "left",
            no_wrap=column in grid.right | grid.whole,
            overflow="ignore" if column in grid.whole else "fold",
            min_width=grid.min_width(position),
        )
    for row in grid.rows:
        table.add_row(*row)
    return table


def list_blocks(grid: Grid) -> Iterator[tuple[Text, str]]:
    """Yield each row as its first cell and a paragraph of the others, for a screen too narrow for a table."""
    for first, *others in grid.with_short_ids().rows:
        named = zip(grid.columns[1:], others, strict=True)
        yield first, ", ".join(f"{name} {cell.plain}" for name, cell in named if cell.plain not in _EMPTY)
