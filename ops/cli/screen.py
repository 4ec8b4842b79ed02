"""What a command shows. Every word goes through one mask on its way out."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ops.format.json_encoding import Json, to_json
from ops.format.masking import mask_emails, mask_keys

# Control characters but tab and newline, and those that turn the direction of writing. What failed tells what
# others have written, and may hold anything.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Of a table that goes into a file or a pipe; a terminal has its own width.
PLAIN_WIDTH = 160
_WIDEST = 10_000
FINE, NOTICE, TROUBLE = "green", "yellow", "bold red"


@dataclass(frozen=True)
class Screen:
    """Standard output for results, standard error for progress and complaints."""

    out: Console
    err: Console
    show_pii: bool

    def mask(self, text: str) -> str:
        text = mask_keys(text)
        return text if self.show_pii else mask_emails(text)

    def _safe(self, text: str) -> str:
        """For a terminal: what it would take for a command of its own is shown as what it is, foreign."""
        return _COMMANDS.sub("\ufffd", self.mask(text))

    def text(self, text: str, style: str = "") -> None:
        self.out.print(Text(self._safe(text), style=style))

    def line(self, text: str, style: str = "") -> None:
        """Never broken, however narrow the terminal: a line of a log, a command that is to be copied."""
        self.out.print(Text(self._safe(text), style=style), soft_wrap=True)

    def indented(self, text: str, style: str = "") -> None:
        """What belongs to the line above it."""
        self.out.print(Padding(Text(self._safe(text), style=style), (0, 0, 0, 4), expand=False))

    def facts(self, facts: Iterable[tuple[str, str, str]]) -> None:
        """(name, value, style of the value), the names aligned."""
        grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value, style in facts:
            grid.add_row(name, Text(self._safe(value), style=style))
        self.out.print(grid)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str | Text]],
        *,
        right: Iterable[str] = (),
        whole: Iterable[str] = (),
    ) -> None:
        """Columns named in `right` are numbers; those in `whole` are ids to be copied, and never broken."""
        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        numbers, ids = set(right), set(whole)
        for column in columns:
            grid.add_column(
                column,
                justify="right" if column in numbers else "left",
                no_wrap=column in numbers | ids,
                overflow="ignore" if column in ids else "fold",
            )
        for row in rows:
            grid.add_row(*(self._cell(cell) for cell in row))
        self._never_narrower(grid)

    def _never_narrower(self, grid: Table) -> None:
        """On a narrow terminal a table is wrapped by it; cut off, ids and amounts would be wrong."""
        least = Measurement.get(self.out, self.out.options.update(max_width=_WIDEST), grid).minimum
        shown, self.out.width = self.out.width, max(self.out.width, least)
        try:
            self.out.print(grid, crop=False, soft_wrap=False)
        finally:
            self.out.width = shown

    def _cell(self, cell: str | Text) -> Text:
        if isinstance(cell, Text):
            return Text(self._safe(cell.plain), style=cell.style)
        return Text(self._safe(cell))

    def json(self, value: object) -> None:
        """ASCII, whatever standard output can hold; masked value by value, so that it stays JSON."""
        text = json.dumps(self._masked_json(to_json(value)), indent=2)
        self.out.print(Text(text), soft_wrap=True)

    def _masked_json(self, value: Json) -> Json:
        match value:
            case str():
                return self.mask(value)
            case list():
                return [self._masked_json(one) for one in value]
            case dict():
                return {self.mask(name): self._masked_json(inner) for name, inner in value.items()}
        return value

    def tell(self, text: str) -> None:
        """Beside the result: what is going on, what waits."""
        self.err.print(Text(self._safe(text)), soft_wrap=True)

    def complain(self, text: str) -> None:
        self.err.print(Text.assemble(("Error: ", TROUBLE), self._safe(text)), soft_wrap=True)


@dataclass(frozen=True)
class CommandResult:
    """What a command found: `data` for --json, `show` for a person, and whether somebody has to act."""

    data: object
    show: Callable[[Screen], None]
    needs_attention: bool = False


class Output(Console):
    """Standard output; that its reader has gone is for the command to say."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def screen_of(*, show_pii: bool) -> Screen:
    out: Console = Output(highlight=False)
    if not out.is_terminal:
        out = Output(highlight=False, width=PLAIN_WIDTH)
    return Screen(out, Console(stderr=True, highlight=False), show_pii)
