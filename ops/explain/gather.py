"""Reads everything about a session from all sources. Writes and moves nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.dead_letters import DeadLetter, list_dead_letters
from ops.dlq.queue import DeadLetterQueue
from ops.explain.at_stripe import EventLookup, StripeLookup, fetch_events, fetch_session
from ops.explain.facts import OutcomeInRun, SessionFacts
from ops.explain.in_table import (
    PendingSession,
    attach_markers,
    load_attention,
    load_orders,
    load_outcomes,
    load_pending,
)
from ops.explain.next_run import SessionTiming, plan_next_run
from ops.runs.prediction import PredictedOutcome, predict
from ops.runs.status import Schedule
from recon.config import Settings
from recon.domain.message import SessionMessage
from recon.domain.run import RunStatus
from recon.domain.stripe_objects import COMPLETE
from recon.dynamodb.dismissals import find_dismissal
from recon.dynamodb.records import Run
from recon.dynamodb.runs import Runs, is_stalled
from recon.dynamodb.table import Table
from recon.retry import Deadline

if TYPE_CHECKING:
    from recon.stripe.source import StripeSource

# The runs of ninety nights, which is how long their records are kept, and some manual ones for each.
RUNS_READ = 500


@dataclass(frozen=True)
class FactSources:
    """The sources to read.

    `settings` are the consumer's, `producer` the producer's, which determine the windows. `schedule` is None
    if it could not be read.
    """

    table: Table
    queue: DeadLetterQueue
    stripe: "Callable[[], StripeSource]"
    settings: Settings
    producer: Settings
    schedule: Schedule | None
    deadline: Deadline


def gather_facts(sources: FactSources, session_id: str, now: int) -> SessionFacts:
    """Read everything known of a session; `now` is in epoch seconds.

    A source that cannot be read is listed in `missing`. Only the table is required: raises TableUnavailable
    or TableRefused if it cannot be read.
    """
    table, deadline, shape = sources.table, sources.deadline, sources.settings.shape
    runs = Runs(table, deadline)
    lookup = fetch_session(sources.stripe, session_id, sources.producer)
    dead = _read_dead_letters(sources, session_id, now)
    pending = load_pending(table, session_id, now)
    message = _choose_message(lookup, pending, dead)
    created = message.created if message else None
    is_complete = lookup.session is not None and lookup.session.status == COMPLETE
    events = EventLookup()
    if is_complete and created is not None:
        events = fetch_events(sources.stripe, session_id, created, now)
    timing = SessionTiming(
        created,
        is_complete=is_complete or lookup.session is None,
        is_pending=pending is not None,
        last_event=events.events[-1].created if events.events else None,
    )
    latest = runs.latest(RUNS_READ)
    outcomes = load_outcomes(table, session_id, latest, deadline)
    sort_key = sources.settings.order_sort_key
    orders, drift = load_orders(table, message, sort_key, deadline, shape) if message else ((), ())
    return SessionFacts(
        session_id=session_id,
        asked_at=datetime.fromtimestamp(now, UTC),
        stripe=lookup.session,
        stripe_problem=lookup.problem,
        session_created=None if created is None else datetime.fromtimestamp(created, UTC),
        orders=orders,
        orders_known=message is not None,
        drift=drift,
        runs=outcomes,
        open_run=_find_open_run(latest, outcomes, timing, now),
        pending=pending.entry if pending else None,
        # The webhook of a shop with its own layout keeps no record of events that is known here.
        events=attach_markers(None if shape else table, events, deadline),
        dead_letters=dead.letters,
        next_run=plan_next_run(timing, sources.schedule, sources.producer, runs.watermark(), now),
        prospect=_predict(sources, lookup, now) if is_complete else None,
        missing=(*_list_missing(lookup, message, sources.schedule), *events.missing, *dead.missing),
        attention=load_attention(table, session_id),
        dismissal=find_dismissal(table, session_id, deadline),
    )


@dataclass(frozen=True)
class _DeadLetters:
    """The dead letters of one session, their readable messages, and what could not be read."""

    letters: tuple[DeadLetter, ...]
    messages: tuple[SessionMessage, ...]
    missing: tuple[str, ...]


def _read_dead_letters(sources: FactSources, session_id: str, now: int) -> _DeadLetters:
    try:
        listing = list_dead_letters(sources.queue, sources.table, now, sources.deadline)
    except (ClientError, BotoCoreError) as error:
        return _DeadLetters((), (), (f"the dead-letter queue: {_describe_aws_error(error)}",))
    missing = []
    if listing.hidden:
        missing.append(f"the dead-letter queue: {listing.hidden} of its messages are in use elsewhere")
    if listing.truncated:
        missing.append("the dead-letter queue: it holds more messages than one command reads")
    letters = tuple(letter for letter in listing.letters if letter.session_id == session_id)
    messages = (listing.messages.get(letter.message_id) for letter in letters)
    return _DeadLetters(letters, tuple(message for message in messages if message), tuple(missing))


def _choose_message(
    lookup: StripeLookup, pending: PendingSession | None, dead: _DeadLetters
) -> SessionMessage | None:
    """Return the message that names the user: from Stripe, otherwise one that an earlier run stored."""
    candidates = [lookup.message, pending.message if pending else None, *dead.messages]
    return next((message for message in candidates if message), None)


def _predict(sources: FactSources, lookup: StripeLookup, now: int) -> PredictedOutcome | None:
    if lookup.raw is None:
        return None
    return predict(lookup.raw, sources.table, sources.stripe, sources.settings, now)


def _find_open_run(
    latest: Sequence[Run], outcomes: Sequence[OutcomeInRun], timing: SessionTiming, now: int
) -> str | None:
    settled = {outcome.run_id for outcome in outcomes}
    candidates = (
        run.run_id
        for run in latest
        if _is_in_progress(run, now) and run.run_id not in settled and timing.is_in(run)
    )
    return next(candidates, None)


def _is_in_progress(run: Run, now: int) -> bool:
    """Return whether a run is working: one whose producer died is open until the next run closes it."""
    return run.status == RunStatus.RUNNING and not is_stalled(run, now)


def _list_missing(
    lookup: StripeLookup, message: SessionMessage | None, schedule: Schedule | None
) -> list[str]:
    missing = []
    if lookup.problem and lookup.problem.error_type != "SessionNotFound":
        missing.append(f"Stripe: {lookup.problem.message.removeprefix('Stripe: ')}")
    if message is None:
        missing.append("orders: the session's user is unknown, so no orders were searched")
    if lookup.session and lookup.session.refunded is None:
        missing.append("refunds: the Stripe key may not read charges or disputes")
    if schedule is None:
        missing.append("the schedule: it could not be read")
    return missing


def _describe_aws_error(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response['Error']['Code']}"
    return type(error).__name__
