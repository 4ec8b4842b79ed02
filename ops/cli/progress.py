"""A run while it happens: a bar on a terminal, a line where it changes anywhere else."""

from collections.abc import Iterable
from contextlib import nullcontext

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ops.cli.command import CommandContext
from ops.runs.follow import Progress


def watch(context: CommandContext, seen: Iterable[Progress]) -> Progress:
    """Shows each and answers the last."""
    bar = Bar(
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=context.screen.err,
        transient=True,
    )
    task = bar.add_task("starting", total=None)
    before = last = None
    with bar if context.is_watched else nullcontext():
        for last in seen:
            words = in_words(last)
            bar.update(task, completed=last.processed, total=last.enqueued or None, description=words)
            if not context.is_watched and not context.options.as_json and words != before:
                context.screen.tell(words)
            before = words
    assert last is not None  # noqa: S101 - whoever follows looks at least once
    return last


def in_words(progress: Progress) -> str:
    if progress.run is None:
        return "the producer is starting"
    listing = "" if progress.run.listed else " so far"
    return (
        f"enqueued {progress.enqueued}{listing}, created {progress.created}, skipped {progress.skipped}, "
        f"errors {progress.errors}, in work or retrying {progress.retrying}, waiting {progress.waiting}"
    )
