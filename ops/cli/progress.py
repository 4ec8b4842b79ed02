"""The progress of a run: a bar on a terminal, otherwise one line for each change."""

from collections.abc import Iterable

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ops.cli.command import CommandContext
from ops.format.text import quantity
from ops.runs.follow import RunProgress


def show_progress(context: CommandContext, snapshots: Iterable[RunProgress]) -> RunProgress:
    """Show each snapshot and return the last one. `snapshots` yields at least one."""
    bar = create_bar(context)
    task = bar.add_task("starting", total=None)
    previous = last = None
    with bar:
        for last in snapshots:
            line = describe_progress(last)
            bar.update(
                task, completed=last.processed, total=last.enqueued or None, description=describe_left(last)
            )
            if not context.is_interactive and not context.options.as_json and line != previous:
                context.screen.progress(line)
            previous = line
    assert last is not None  # noqa: S101 - `follow` yields at least once
    return last


def create_bar(context: CommandContext) -> Bar:
    """Create a bar with a description and a clock, which together fit 60 columns. Pipes have none."""
    return Bar(
        BarColumn(bar_width=None),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=context.screen.err,
        transient=True,
        expand=True,
        disable=not context.is_interactive,
    )


def describe_left(progress: RunProgress) -> str:
    """Return the number that one waits for, and the errors, for the line of the bar."""
    if progress.run is None:
        return "the producer is starting"
    left = max(0, progress.enqueued - progress.processed)
    total = f"{progress.enqueued:,}{'' if progress.run.listed else '+'}"
    errors = f", {quantity(progress.errors, 'error')}" if progress.errors else ""
    return f"{left:,} of {total} left{errors}"


def describe_progress(progress: RunProgress) -> str:
    """Return the counters of a snapshot as one line."""
    if progress.run is None:
        return "the producer is starting"
    listing = "" if progress.run.listed else " so far"
    return (
        f"enqueued {progress.enqueued}{listing}, created {progress.created}, skipped {progress.skipped}, "
        f"errors {progress.errors}, in flight {progress.retrying}, waiting {progress.waiting}"
    )
