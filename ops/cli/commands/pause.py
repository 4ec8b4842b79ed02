"""`nightly-sync pause` and `resume`: the schedule and the consumer, off and on."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.usage import conflict
from ops.errors import CommandError
from ops.format.text import duration, format_time, quantity
from ops.runs.status import read_schedule
from ops.stack.pause_resume import (
    CONSUMER,
    SCHEDULE,
    SCHEDULE_OFF,
    SCHEDULE_ON,
    Change,
    Waiting,
    deployed_parameter,
    switch_mapping,
    switch_schedule,
    waiting_of,
)
from recon.config import MAX_LOOKBACK_HOURS

PAUSE_EXAMPLES = [
    "nightly-sync pause",
    "nightly-sync pause --schedule-only   # what waits is still worked on, runs by hand too",
    "nightly-sync pause --queue-only      # write no orders for a while; runs only fill the queue",
]
RULES = (conflict("--schedule-only", "--queue-only", because="together they leave nothing to do"),)
RESUME_EXAMPLES = ["nightly-sync resume", "nightly-sync resume --queue-only"]
STATE_PARAMETER = "ScheduleState"
MOST_DAYS = MAX_LOOKBACK_HOURS // 24
ScheduleOnly = Annotated[bool, typer.Option("--schedule-only", help="Leave the consumer as it is")]
QueueOnly = Annotated[bool, typer.Option("--queue-only", help="Leave the schedule as it is")]


@dataclass(frozen=True)
class Switched:
    """`next_due`: None where nothing is due. `deployed_state`: the schedule's, by the stack's parameter."""

    stack: str
    changes: tuple[Change, ...]
    waiting: Waiting
    covered_through: datetime | None
    next_due: datetime | None
    deployed_state: str | None


def pause(
    context: CommandContext, schedule_only: ScheduleOnly = False, queue_only: QueueOnly = False
) -> CommandResult:
    """No run by schedule and no work on the queue, until `resume`. Nothing is lost meanwhile."""
    parts = _parts(schedule_only=schedule_only, queue_only=queue_only)
    switched = _switched(context, parts, on=False)
    return _answer(switched, lambda screen: show_paused(screen, switched))


def resume(
    context: CommandContext, schedule_only: ScheduleOnly = False, queue_only: QueueOnly = False
) -> CommandResult:
    """What `pause` switched off, on again."""
    parts = _parts(schedule_only=schedule_only, queue_only=queue_only)
    switched = _switched(context, parts, on=True)
    return _answer(switched, lambda screen: show_resumed(screen, switched))


def _parts(*, schedule_only: bool, queue_only: bool) -> tuple[str, ...]:
    return (SCHEDULE,) if schedule_only else (CONSUMER,) if queue_only else (SCHEDULE, CONSUMER)


def _switched(context: CommandContext, parts: tuple[str, ...], *, on: bool) -> Switched:
    """The schedule is the first to go, so that no run begins while the consumer stops."""
    place = context.stack
    # All that may be denied is asked for before anything is switched.
    covered = place.runs.state().covered_through
    deployed = deployed_parameter(place.client("cloudformation"), place.name, STATE_PARAMETER)
    changes: list[Change] = []
    if SCHEDULE in parts:
        changes.append(switch_schedule(place.client("scheduler"), place.outputs.schedule, on=on))
    if CONSUMER in parts:
        if context.is_watched:
            context.screen.tell("Lambda takes up to a minute to stop or start polling.")
        with _telling_of_halves(context, changes):
            changes.append(
                switch_mapping(place.client("lambda"), place.outputs.mapping_id, on=on, sleep=time.sleep)
            )
    now = datetime.fromtimestamp(context.now(), UTC)
    return Switched(
        stack=place.name,
        changes=tuple(changes),
        waiting=waiting_of(place.sqs, place.client("cloudwatch"), place.outputs.queue_url, now),
        covered_through=None if covered is None else datetime.fromtimestamp(covered, UTC),
        next_due=read_schedule(place, context.now()).next_due,
        deployed_state=deployed,
    )


@contextmanager
def _telling_of_halves(context: CommandContext, made: Sequence[Change]) -> Iterator[None]:
    """Whoever is denied the second switch, or stops in between, is told where the first one stands."""
    try:
        yield
    except (CommandError, ClientError, BotoCoreError, KeyboardInterrupt):
        for change in made:
            context.screen.tell(f"The {change.what} is {change.after}; what comes after it is not done.")
        context.screen.tell("The same command again does the rest.")
        raise


def _answer(switched: Switched, show: Callable[[Screen], None]) -> CommandResult:
    return CommandResult(
        switched, show, needs_attention=not all(change.is_made for change in switched.changes)
    )


def show_paused(screen: Screen, switched: Switched) -> None:
    _show_changes(screen, switched)
    switched_off = {change.what for change in switched.changes}
    if CONSUMER in switched_off:
        screen.text(_what_waits(switched.waiting))
    if SCHEDULE in switched_off:
        screen.text(_what_the_next_run_covers(switched))
        if switched.deployed_state == SCHEDULE_ON:
            screen.text(_not_for_long("on", SCHEDULE_ON, SCHEDULE_OFF), NOTICE)
    screen.text("`nightly-sync resume` switches on again.")


def show_resumed(screen: Screen, switched: Switched) -> None:
    _show_changes(screen, switched)
    screen.text(_what_waits_now(switched.waiting))
    if switched.next_due:
        screen.text(f"The next run is due at {format_time(switched.next_due)} UTC.")
    screen.text(_what_the_next_run_covers(switched))
    if SCHEDULE in {change.what for change in switched.changes} and switched.deployed_state == SCHEDULE_OFF:
        screen.text(_not_for_long("off", SCHEDULE_OFF, SCHEDULE_ON), NOTICE)


def _not_for_long(back: str, deployed: str, wanted: str) -> str:
    return (
        f"A deploy that changes the schedule switches it {back} again: the stack's parameter "
        f"{STATE_PARAMETER} is {deployed}. Deploy with {STATE_PARAMETER}={wanted} to make it last."
    )


def _show_changes(screen: Screen, switched: Switched) -> None:
    screen.facts((change.what, *_told(change)) for change in switched.changes)


def _told(change: Change) -> tuple[str, str]:
    name = f"  ({change.name})"
    if not change.is_made:
        return f"{change.after}: not {change.wanted} yet, say it again in a minute{name}", TROUBLE
    was = "as it was" if change.before == change.after else f"was {change.before}"
    return f"{change.after}, {was}{name}", FINE


def _what_waits(waiting: Waiting) -> str:
    kept = duration(waiting.retention_seconds)
    if waiting.keeps_until is None:
        return f"Nothing waits in the queue. What a run by hand enqueues now is kept for {kept}."
    limit = "the oldest until" if waiting.oldest_age_seconds is not None else "none longer than"
    return (
        f"{_counted(waiting)}. SQS keeps a message for {kept}: {limit} "
        f"{format_time(waiting.keeps_until)} UTC. What is dropped then is gone without a word in the table."
    )


def _what_waits_now(waiting: Waiting) -> str:
    return "Nothing waits in the queue." if waiting.keeps_until is None else f"{_counted(waiting)}."


def _counted(waiting: Waiting) -> str:
    waits = quantity(waiting.messages, "message")
    return f"{waits} in the queue, {waiting.retrying} more in work or on their way back"


def _what_the_next_run_covers(switched: Switched) -> str:
    most = f"{MOST_DAYS} days at most"
    if switched.covered_through is None:
        return f"No scheduled run has ended yet: the next one goes back to where the first began, {most}."
    since = format_time(switched.covered_through)
    return f"The next scheduled run covers what was missed since the last one, {since} UTC; {most}."
