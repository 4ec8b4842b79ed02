"""The progress of a run: a bar on a terminal, otherwise one line for each change."""

from collections.abc import Iterable
from contextlib import nullcontext

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ops.cli.command import CommandContext
from ops.runs.follow import RunProgress


def show_progress(context: CommandContext, snapshots: Iterable[RunProgress]) -> RunProgress:
    """Show each snapshot and return the last one. `snapshots` yields at least one."""
    bar = Bar(
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=context.screen.err,
        transient=True,
    )
    task = bar.add_task("starting", total=None)
    previous = last = None
    with bar if context.is_interactive else nullcontext():
        for last in snapshots:
            line = describe_progress(last)
            bar.update(task, completed=last.processed, total=last.enqueued or None, description=line)
            if not context.is_interactive and not context.options.as_json and line != previous:
                context.screen.progress(line)
            previous = line
    assert last is not None  # noqa: S101 - `follow` yields at least once
    return last


def describe_progress(progress: RunProgress) -> str:
    """Return the counters of a snapshot as one line."""
    if progress.run is None:
        return "the producer is starting"
    listing = "" if progress.run.listed else " so far"
    return (
        f"enqueued {progress.enqueued}{listing}, created {progress.created}, skipped {progress.skipped}, "
        f"errors {progress.errors}, in flight {progress.retrying}, waiting {progress.waiting}"
    )
