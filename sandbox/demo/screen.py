"""The output on the terminal: numbered steps with durations, tables, and a progress bar of a run."""

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
# In a file or a pipe, one line per second is enough.
LINE_SECONDS = 1.0
NOTEWORTHY_SECONDS = 0.1


class DemoScreen:
    """The output on a Rich console. `clock` returns monotonic seconds."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._step = 0

    @property
    def seconds(self) -> float:
        """Return the seconds since the screen was created."""
        return self._clock() - self._started

    def headline(self, text: str) -> None:
        self._show(Text(text, style="bold"))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a numbered step, and at its end its duration if that is noticeable."""
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
        """Print the error of a demo that cannot continue."""
        self._show(Text(text, style="bold red"))

    def plain(self, text: str) -> None:
        """Print a text unwrapped from the left edge, so that it can be pasted."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()
    ) -> None:
        """Print a table. The columns in `right` are aligned right."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        numbers = set(right)
        for column in columns:
            is_number = column in numbers
            table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number)
        for row in rows:
            table.add_row(*map(escape, row))
        self._show(Padding(table, INDENT))

    def _show(self, renderable: RenderableType) -> None:
        """Print without the blanks with which Rich fills lines."""
        with self._console.capture() as captured:
            self._console.print(renderable)
        lines = captured.get().splitlines()
        self._console.file.write("".join(f"{line.rstrip()}\n" for line in lines))
        self._console.file.flush()

    def watch(self, progresses: Iterable[RunProgress]) -> RunProgress:
        """Show the progress of a run and return the last one."""
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
            raise ValueError("the run has no progress")
        return last


def _last(progresses: Iterable[RunProgress]) -> RunProgress:
    *_, last = progresses
    return last


def _numbers(progress: RunProgress) -> list[str]:
    numbers = {
        "created": progress.created,
        "skipped": progress.skipped,
        "errors": progress.errors,
        "in flight": progress.retrying,
        "dead": progress.dead,
    }
    return [f"{name} {number}" for name, number in numbers.items()]


def _line(progress: RunProgress) -> str:
    return f"enqueued {progress.enqueued}, done {progress.processed}: {', '.join(_numbers(progress))}"


def terminal_screen(clock: Callable[[], float]) -> DemoScreen:
    """Return a screen on standard output with at most 100 columns."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the locale lacks must not fail the demo
    console = Console(highlight=False)
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return DemoScreen(Console(highlight=False, width=width), clock)
