"""`nightly-sync pause` and `resume`: switch the schedule and the consumer off and on."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, FactLine, Screen
from ops.cli.usage import conflict
from ops.errors import CommandError
from ops.format.text import duration, format_time, quantity
from ops.runs.status import read_schedule
from ops.stack.pause_alarm import ACTIONS_ON, switch_alarm
from ops.stack.pause_resume import (
    CONSUMER,
    SCHEDULE,
    SCHEDULE_OFF,
    SCHEDULE_ON,
    QueueBacklog,
    StateChange,
    read_backlog,
    switch_mapping,
    switch_schedule,
)
from recon.aws.errors import describe_error
from recon.config import MAX_LOOKBACK_HOURS

PAUSE_EXAMPLES = [
    "nightly-sync pause",
    "nightly-sync pause --schedule-only   # the consumer goes on",
    "nightly-sync pause --queue-only      # runs only fill the queue",
]
RULES = (conflict("--schedule-only", "--queue-only", because="together they leave nothing to do"),)
RESUME_EXAMPLES = ["nightly-sync resume", "nightly-sync resume --queue-only"]
STATE_PARAMETER = "ScheduleState"
MAX_DAYS = MAX_LOOKBACK_HOURS // 24
ScheduleOnly = Annotated[bool, typer.Option("--schedule-only", help="Leave the consumer as it is")]
QueueOnly = Annotated[bool, typer.Option("--queue-only", help="Leave the schedule as it is")]


@dataclass(frozen=True)
class SwitchResult:
    """The switches that a command changed, and their consequences.

    `next_due` is None if no scheduled run is due. `deployed_state` is the schedule's state in the stack's
    parameters. `alarm` is the change of the alarm that rings if no run is completed; None if the schedule was
    not to be switched, or if the alarm could not be switched. `schedule_stays_off` is True if `resume` left
    the schedule as it was, since the stack is deployed with it off.
    """

    stack: str
    changes: tuple[StateChange, ...]
    waiting: QueueBacklog
    covered_through: datetime | None
    next_due: datetime | None
    deployed_state: str | None
    alarm: StateChange | None = None
    schedule_stays_off: bool = False

    def includes(self, part: str) -> bool:
        """Return True if `part`, the schedule or the consumer, was to be switched."""
        return any(change.what == part for change in self.changes)


def pause(
    context: CommandContext, schedule_only: ScheduleOnly = False, queue_only: QueueOnly = False
) -> CommandResult:
    """Stop scheduled runs and the consumer until `resume`. Nothing is lost while they are off."""
    parts = _select_parts(schedule_only=schedule_only, queue_only=queue_only)
    return _to_result(_switch(context, parts, on=False), show_paused)


def resume(
    context: CommandContext, schedule_only: ScheduleOnly = False, queue_only: QueueOnly = False
) -> CommandResult:
    """Switch on again what `pause` switched off.

    The schedule of a stack that is deployed with ScheduleState=DISABLED stays off, unless --schedule-only is
    given.
    """
    parts = _select_parts(schedule_only=schedule_only, queue_only=queue_only)
    return _to_result(_switch(context, parts, on=True), show_resumed)


def _select_parts(*, schedule_only: bool, queue_only: bool) -> tuple[str, ...]:
    return (SCHEDULE,) if schedule_only else (CONSUMER,) if queue_only else (SCHEDULE, CONSUMER)


def _switch(context: CommandContext, parts: tuple[str, ...], *, on: bool) -> SwitchResult:
    """Switch the schedule first, so that no run starts while the consumer stops."""
    stack = context.stack
    # Read everything that may be denied before anything is switched.
    covered = stack.runs.watermark().covered_through
    deployed = stack.parameters.get(STATE_PARAMETER)
    changes: list[StateChange] = []
    # The first night is to begin after a preview, not after some pause.
    stays_off = on and deployed == SCHEDULE_OFF and set(parts) == {SCHEDULE, CONSUMER}
    if SCHEDULE in parts and not stays_off:
        changes.append(switch_schedule(stack.client("scheduler"), stack.outputs.schedule, on=on))
    alarm = _switch_alarm(context, on=on) if SCHEDULE in parts else None
    if CONSUMER in parts:
        if context.is_interactive:
            context.screen.progress("Lambda takes up to a minute to stop or start polling.")
        with _log_partial_switch(context, changes):
            changes.append(
                switch_mapping(stack.client("lambda"), stack.outputs.mapping_id, on=on, sleep=time.sleep)
            )
    now = datetime.fromtimestamp(context.now(), UTC)
    return SwitchResult(
        stack=stack.name,
        changes=tuple(changes),
        waiting=read_backlog(stack.sqs, stack.client("cloudwatch"), stack.outputs.queue_url, now),
        covered_through=None if covered is None else datetime.fromtimestamp(covered, UTC),
        next_due=read_schedule(stack, context.now()).next_due,
        deployed_state=deployed,
        alarm=alarm,
        schedule_stays_off=stays_off,
    )


def _switch_alarm(context: CommandContext, *, on: bool) -> StateChange | None:
    """Switch the alarm that rings if no run is completed. A pause does not fail for want of a permission."""
    stack = context.stack
    try:
        return switch_alarm(stack.client("cloudwatch"), stack.name, on=on)
    except (ClientError, BotoCoreError) as error:
        what = "may stay silent" if on else "will ring during the pause"
        context.screen.log(f"The alarm no-completed-run {what}: {describe_error(error)}")
        return None


@contextmanager
def _log_partial_switch(context: CommandContext, complete: Sequence[StateChange]) -> Iterator[None]:
    """Log which changes are complete if the next one fails or is interrupted."""
    try:
        yield
    except (CommandError, ClientError, BotoCoreError, KeyboardInterrupt):
        for change in complete:
            context.screen.log(f"The {change.what} is {change.after}; the consumer was not switched.")
        context.screen.log("Run the same command again to complete it.")
        raise


def _to_result(switched: SwitchResult, show: Callable[[Screen, SwitchResult], None]) -> CommandResult:
    is_complete = all(change.is_complete for change in switched.changes)
    return CommandResult(switched, lambda screen: show(screen, switched), needs_attention=not is_complete)


def show_paused(screen: Screen, switched: SwitchResult) -> None:
    """Print what `pause` changed, how long messages are kept and what the next run covers."""
    _show_changes(screen, switched)
    if switched.includes(CONSUMER):
        screen.text(_describe_retention(switched.waiting))
    if switched.includes(SCHEDULE):
        screen.text(_describe_next_window(switched))
        if switched.deployed_state == SCHEDULE_ON:
            screen.text(_warn_about_deploy("on", SCHEDULE_ON, SCHEDULE_OFF), NOTICE)
    screen.text("`nightly-sync resume` switches on again.")


def show_resumed(screen: Screen, switched: SwitchResult) -> None:
    """Print what `resume` changed, what waits and what the next run covers."""
    _show_changes(screen, switched)
    backlog = switched.waiting
    screen.text("The queue is empty." if backlog.keeps_until is None else f"{_describe_backlog(backlog)}.")
    if switched.next_due:
        screen.text(f"The next run is due at {format_time(switched.next_due)} UTC.")
    screen.text(_describe_next_window(switched))
    if switched.schedule_stays_off:
        screen.text(
            f"The schedule is left as it was: the stack is deployed with {STATE_PARAMETER}={SCHEDULE_OFF}. "
            f"Deploy with {STATE_PARAMETER}={SCHEDULE_ON} to begin the nights.",
            NOTICE,
        )
    elif switched.includes(SCHEDULE) and switched.deployed_state == SCHEDULE_OFF:
        screen.text(_warn_about_deploy("off", SCHEDULE_OFF, SCHEDULE_ON), NOTICE)


def _warn_about_deploy(direction: str, deployed: str, wanted: str) -> str:
    return (
        f"A deploy that changes the schedule switches it {direction} again: the stack's parameter "
        f"{STATE_PARAMETER} is {deployed}. Deploy with {STATE_PARAMETER}={wanted} to make it permanent."
    )


def _show_changes(screen: Screen, switched: SwitchResult) -> None:
    screen.facts(_describe_change(change) for change in switched.changes)
    if switched.alarm and switched.alarm.after != ACTIONS_ON:
        screen.text("The alarm no-completed-run sends nothing until `nightly-sync resume`.")


def _describe_change(change: StateChange) -> FactLine:
    name = f"  ({change.name})"
    if not change.is_complete:
        return change.what, f"{change.after}: not {change.wanted} yet; try again in a minute{name}", TROUBLE
    before = "unchanged" if change.before == change.after else f"was {change.before}"
    return change.what, f"{change.after}, {before}{name}", FINE


def _describe_retention(backlog: QueueBacklog) -> str:
    kept = duration(backlog.retention_seconds)
    if backlog.keeps_until is None:
        return f"The queue is empty. Messages of a manual run are kept for {kept}."
    limit = "the oldest until" if backlog.oldest_age_seconds is not None else "none longer than"
    return (
        f"{_describe_backlog(backlog)}. SQS keeps a message for {kept}: {limit} "
        f"{format_time(backlog.keeps_until)} UTC. Dropped messages leave no trace in the table."
    )


def _describe_backlog(backlog: QueueBacklog) -> str:
    return f"{quantity(backlog.messages, 'message')} in the queue, {backlog.retrying} in flight"


def _describe_next_window(switched: SwitchResult) -> str:
    limit = f"at most {MAX_DAYS} days"
    if switched.covered_through is None:
        return (
            f"No scheduled run has completed yet: the next one goes back to where the first began, {limit}."
        )
    since = format_time(switched.covered_through)
    return f"The next scheduled run covers everything since {since} UTC, up to which all is covered; {limit}."
