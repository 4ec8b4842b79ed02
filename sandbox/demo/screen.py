"""What the terminal shows: numbered steps with their times, tables, and a bar that moves while a run does."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ops.runs.follow import RunProgress

WIDTH = 100
INDENT = (0, 0, 0, 4)
# In a file or a pipe a line a second is enough.
LINE_SECONDS = 1.0
NOTEWORTHY_SECONDS = 0.1


class Screen:
    """Writes to a Rich console; `clock` gives monotonic seconds."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._step = 0

    @property
    def seconds(self) -> float:
        """Since the screen was made."""
        return self._clock() - self._started

    def headline(self, text: str) -> None:
        self._show(Text(text, style="bold"))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered step. Its end says how long it took, if anybody could have noticed."""
        self._step += 1
        self._show(Text.assemble("\n", (f"{self._step:2}", "bold cyan"), "  ", (title, "bold")))
        started = self._clock()
        yield
        seconds = self._clock() - started
        if seconds >= NOTEWORTHY_SECONDS:
            self.say(f"{seconds:.1f} s", style="dim")

    def say(self, text: str, style: str = "") -> None:
        self._show(Padding(Text(text, style=style), INDENT))

    def good(self, text: str) -> None:
        self.say(text, style="bold green")

    def bad(self, text: str) -> None:
        self.say(text, style="bold red")

    def complain(self, text: str) -> None:
        """The last word of a demo that cannot go on."""
        self._show(Text(text, style="bold red"))

    def plain(self, text: str) -> None:
        """As it is, from the left edge, never wrapped: to be pasted."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()
    ) -> None:
        """Columns that are named in `right` are aligned to that side."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        numbers = set(right)
        for column in columns:
            is_number = column in numbers
            table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number)
        for row in rows:
            table.add_row(*map(escape, row))
        self._show(Padding(table, INDENT))

    def _show(self, renderable: RenderableType) -> None:
        """Rich fills lines up with blanks, which nobody wants in a file."""
        with self._console.capture() as captured:
            self._console.print(renderable)
        lines = captured.get().splitlines()
        self._console.file.write("".join(f"{line.rstrip()}\n" for line in lines))
        self._console.file.flush()

    def watch(self, progresses: Iterable[RunProgress]) -> RunProgress:
        """Shows a run move and returns the last that was seen of it."""
        if self._console.is_terminal:
            return self._watch_bar(progresses)
        return self._watch_lines(progresses)

    def _watch_bar(self, progresses: Iterable[RunProgress]) -> RunProgress:
        columns = (
            TextColumn("  "),
            SpinnerColumn(finished_text="[green]✓"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=self._console) as bar:
            task = bar.add_task("", total=None)
            return _last(self._moved(bar, task, progress) for progress in progresses)

    def _moved(self, bar: Bar, task: TaskID, progress: RunProgress) -> RunProgress:
        bar.update(
            task,
            total=progress.enqueued or None,
            completed=progress.processed,
            description=f"{progress.processed}/{progress.enqueued} {' '.join(_numbers(progress))}",
        )
        return progress

    def _watch_lines(self, progresses: Iterable[RunProgress]) -> RunProgress:
        started = self._clock()
        shown, shown_at = None, started - LINE_SECONDS
        last = None
        for last in progresses:
            now, line = self._clock(), _line(last)
            if line != shown and (now - shown_at >= LINE_SECONDS or last.is_settled):
                self.say(f"{now - started:4.1f} s  {line}")
                shown, shown_at = line, now
        if last is None:
            raise ValueError("nothing was seen")
        return last


def _last(progresses: Iterable[RunProgress]) -> RunProgress:
    *_, last = progresses
    return last


def _numbers(progress: RunProgress) -> list[str]:
    numbers = {
        "created": progress.created,
        "skipped": progress.skipped,
        "errors": progress.errors,
        "in work/retrying": progress.retrying,
        "dead": progress.dead,
    }
    return [f"{name} {number}" for name, number in numbers.items()]


def _line(progress: RunProgress) -> str:
    return f"enqueued {progress.enqueued}, done {progress.processed}: {', '.join(_numbers(progress))}"


def terminal_screen(clock: Callable[[], float]) -> Screen:
    """For standard output, 100 columns at most: longer lines are hard to read."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an arrow that a locale lacks is no reason to fail
    console = Console(highlight=False)
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return Screen(Console(highlight=False, width=width), clock)
