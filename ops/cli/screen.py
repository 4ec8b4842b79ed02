"""The output of a command. All text is masked before it is printed."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ops.cli.tables import INDENT, Grid, fit, list_blocks, render_table
from ops.format.ids import shorten_ids
from ops.format.json_encoding import JsonValue, to_json
from ops.format.masking import mask_emails, mask_keys

# Control characters except tab and newline, and those that change the writing direction. Stripe's and AWS's
# error messages can contain any text.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# The width of a table that goes to a file or a pipe; a terminal has its own.
PLAIN_WIDTH = 160
_UNLIMITED_WIDTH = 10_000
_COMMAND = "nightly-sync "
# The command in a text, such as `nightly-sync resume`, without options before the verb.
_OWN_COMMAND = re.compile(r"(?<![\w/.-])nightly-sync(?= [a-z])")
FINE, NOTICE, TROUBLE = "green", "yellow", "bold red"

# A name, its value and the style of the value.
type FactLine = tuple[str, str, str]


@dataclass(frozen=True)
class Screen:
    """Standard output for results, standard error for progress and errors.

    With `quiet`, progress is not printed. `selection` has the options that select the stack, such as
    ` --stack shop-two`: every `nightly-sync` command in a text gets them, or it would work on another stack.
    """

    out: Console
    err: Console
    show_pii: bool
    quiet: bool = False
    selection: str = ""

    def mask(self, text: str) -> str:
        """Complete the commands, mask keys, and mask e-mail addresses unless `show_pii` is set."""
        text = mask_keys(self.complete(text))
        return text if self.show_pii else mask_emails(text)

    def complete(self, text: str) -> str:
        """Add the options that select the stack to each `nightly-sync` command in a text."""
        return _OWN_COMMAND.sub(lambda _: f"nightly-sync{self.selection}", text) if self.selection else text

    def _sanitize(self, text: str) -> str:
        """Mask the text and replace everything that a terminal would take for a command."""
        return _CONTROL_CHARACTERS.sub("\ufffd", self.mask(text))

    def text(self, text: str, style: str = "") -> None:
        """Print a paragraph, wrapped at the width of the terminal."""
        self._print_paragraph(self._sanitize(text), style, 0)

    def line(self, text: str, style: str = "") -> None:
        """Print a line that is never wrapped, such as a log line or a command to copy."""
        self.out.print(Text(self._sanitize(text), style=style), soft_wrap=True)

    def command(self, command: str) -> None:
        """Print a command to copy below what it is for."""
        self.line(" " * INDENT + command, "bold")

    def detail(self, text: str, style: str = "") -> None:
        """Print a paragraph that belongs to the line above it."""
        self._print_paragraph(self._sanitize(text), style, INDENT)

    def link(self, url: str, label: str) -> None:
        """Print the label as a link on a terminal that has links, and the whole address elsewhere."""
        if self.out.is_terminal and self.out.color_system:
            self.out.print(Text(shorten_ids(label), style=f"dim link {url}"))
        else:
            self.line(url)

    def _print_paragraph(self, text: str, style: str, indent: int) -> None:
        """Print a paragraph, which a pipe gets as one line.

        On a terminal, an id that is longer than the line is shortened, but not in a command.
        """
        width = self.out.width - indent
        is_long = any(len(word) > width for word in text.split())
        if not self.out.is_terminal or (is_long and _COMMAND in text):
            self.out.print(Text(" " * indent + text, style=style), soft_wrap=True)
            return
        if is_long:
            text = shorten_ids(text)
        paragraph = Text(text, style=style)
        self.out.print(Padding(paragraph, (0, 0, 0, indent), expand=False) if indent else paragraph)

    def facts(self, facts: Iterable[FactLine]) -> None:
        """Print names and values in two aligned columns."""
        lines = [(name, self._sanitize(value), style) for name, value, style in facts]
        indent = max((len(name) for name, *_ in lines), default=0) + 2
        if not self.out.is_terminal:
            for name, value, style in lines:
                self.out.print(Text.assemble(name.ljust(indent), (value, style)), soft_wrap=True)
            return
        grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value, style in lines:
            is_long = any(len(word) > self.out.width - indent for word in value.split())
            shown = shorten_ids(value) if is_long else value
            grid.add_row(name, Text(shown, style=style))
        self.out.print(grid)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str | Text]],
        *,
        right: Iterable[str] = (),
        whole: Iterable[str] = (),
        drop: Sequence[str] = (),
    ) -> None:
        """Print a table without the columns that are empty or zero in every row.

        Columns in `right` are right-aligned numbers, those in `whole` are never broken. On a terminal that
        is too narrow, ids are shortened and the columns of `drop` left out, in this order; if that is not
        enough, each row is a paragraph. Elsewhere nothing is shortened.
        """
        cells = tuple(tuple(self._cell(cell) for cell in row) for row in rows)
        grid = Grid(tuple(columns), cells, frozenset(right), frozenset(whole)).without_empty()
        if not self.out.is_terminal:
            self._print_uncropped(render_table(grid))
        elif fitting := fit(grid, self.out.width, drop):
            self.out.print(render_table(fitting))
        else:
            for first, others in list_blocks(grid):
                self.out.print(first)
                self.detail(others)

    def _print_uncropped(self, grid: Table) -> None:
        """Print a table at least at its minimum width: a cropped id or amount would be wrong."""
        minimum = Measurement.get(self.out, self.out.options.update(max_width=_UNLIMITED_WIDTH), grid).minimum
        width, self.out.width = self.out.width, max(self.out.width, minimum)
        try:
            self.out.print(grid, crop=False, soft_wrap=False)
        finally:
            self.out.width = width

    def _cell(self, cell: str | Text) -> Text:
        if isinstance(cell, Text):
            return Text(self._sanitize(cell.plain), style=cell.style)
        return Text(self._sanitize(cell))

    def json(self, value: object) -> None:
        """Print a value as ASCII JSON. Each string is masked separately, so that the output stays valid."""
        text = json.dumps(self._mask_json(to_json(value)), indent=2)
        self.out.print(Text(text), soft_wrap=True)

    def _mask_json(self, value: JsonValue) -> JsonValue:
        match value:
            case str():
                return self.mask(value)
            case list():
                return [self._mask_json(one) for one in value]
            case dict():
                return {self.mask(name): self._mask_json(inner) for name, inner in value.items()}
        return value

    def progress(self, text: str) -> None:
        """Print a line about progress to standard error."""
        if not self.quiet:
            self.log(text)

    def log(self, text: str) -> None:
        """Print a note to standard error."""
        self.err.print(Text(self._sanitize(text)), soft_wrap=True)

    def log_error(self, text: str) -> None:
        """Print an error to standard error."""
        self.err.print(Text.assemble(("Error: ", TROUBLE), self._sanitize(text)), soft_wrap=True)


@dataclass(frozen=True)
class CommandResult:
    """The result of a command: `data` for `--json`, `show` for a terminal.

    `needs_attention` makes the exit code 1.
    """

    data: object
    show: Callable[[Screen], None]
    needs_attention: bool = False


class StandardOutput(Console):
    """A console that raises when the reader of its pipe has exited, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


def create_screen(*, show_pii: bool, quiet: bool = False, selection: str = "") -> Screen:
    """Create the screen of this process."""
    out: Console = StandardOutput(highlight=False)
    if not out.is_terminal:
        out = StandardOutput(highlight=False, width=PLAIN_WIDTH)
    return Screen(out, Console(stderr=True, highlight=False), show_pii, quiet, selection)
