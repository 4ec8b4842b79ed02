"""Asks everybody who may know of a session. Writes nothing, moves nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.dead_letters import DeadLetter, list_dead_letters
from ops.dlq.queue import DeadLetterQueue
from ops.explain.at_stripe import Asked, Heard, ask, hear
from ops.explain.facts import Facts, InRun
from ops.explain.in_table import (
    Waiting,
    orders_there,
    outcomes_in,
    waiting_for_payment,
    with_markers,
)
from ops.explain.next_run import Sight, next_run
from ops.runs.prediction import PredictedOutcome, predict
from ops.runs.status import Schedule
from recon.config import Settings
from recon.domain.message import SessionMessage
from recon.dynamodb.records import RUNNING, Run
from recon.dynamodb.runs import Runs, is_stalled
from recon.dynamodb.table import Table
from recon.retry import Deadline

if TYPE_CHECKING:
    from recon.stripe.source import StripeSource

# Ninety nights, which is as long as their records are kept, and some by hand on each.
RUNS_LOOKED_AT = 500
COMPLETE = "complete"


@dataclass(frozen=True)
class Sources:
    """Whom to ask. `settings` are the consumer's, `producer` the producer's, whose windows they are.
    `schedule` is None where it could not be asked."""

    table: Table
    box: DeadLetterQueue
    stripe: "Callable[[], StripeSource]"
    settings: Settings
    producer: Settings
    schedule: Schedule | None
    deadline: Deadline


def gather(sources: Sources, session_id: str, now: int) -> Facts:
    """Everything known of a session; `now` is in epoch seconds.

    Who cannot be asked is named in `missing`. Only the table has to answer: raises TableUnavailable or
    TableRefused where it does not.
    """
    table, deadline = sources.table, sources.deadline
    runs = Runs(table, deadline)
    asked = ask(sources.stripe, session_id)
    dead = _dead_letters(sources, session_id, now)
    waiting = waiting_for_payment(table, session_id)
    message = _message(asked, waiting, dead)
    created = message.created if message else None
    is_complete = asked.said is not None and asked.said.status == COMPLETE
    heard = Heard()
    if is_complete and created is not None:
        heard = hear(sources.stripe, session_id, created, now)
    sight = Sight(
        created,
        is_complete=is_complete or asked.said is None,
        is_pending=waiting is not None,
        last_event=heard.events[-1].created if heard.events else None,
    )
    latest = runs.latest(RUNS_LOOKED_AT)
    in_runs = outcomes_in(table, session_id, latest, deadline)
    orders, drift = orders_there(table, message, deadline) if message else ((), ())
    return Facts(
        session_id=session_id,
        asked_at=datetime.fromtimestamp(now, UTC),
        stripe=asked.said,
        stripe_problem=asked.problem,
        session_created=None if created is None else datetime.fromtimestamp(created, UTC),
        orders=orders,
        orders_known=message is not None,
        drift=drift,
        runs=in_runs,
        open_run=_open_run(latest, in_runs, sight, now),
        pending=waiting.entry if waiting else None,
        events=with_markers(table, heard, deadline),
        dead_letters=dead.letters,
        next_run=next_run(sight, sources.schedule, sources.producer, runs.state(), now),
        prospect=_prospect(sources, asked, now) if is_complete else None,
        missing=(*_missing(asked, message, sources.schedule), *heard.missing, *dead.missing),
    )


@dataclass(frozen=True)
class _Dead:
    """The dead letters of one session, the messages of those that are readable, and what was not asked."""

    letters: tuple[DeadLetter, ...]
    messages: tuple[SessionMessage, ...]
    missing: tuple[str, ...]


def _dead_letters(sources: Sources, session_id: str, now: int) -> _Dead:
    try:
        listing = list_dead_letters(sources.box, sources.table, now, sources.deadline)
    except (ClientError, BotoCoreError) as error:
        return _Dead((), (), (f"the dead-letter queue: {_code(error)}",))
    missing = []
    if listing.hidden:
        missing.append(f"the dead-letter queue: {listing.hidden} of its messages are in use elsewhere")
    if listing.truncated:
        missing.append("the dead-letter queue: it holds more messages than one command reads")
    letters = tuple(letter for letter in listing.letters if letter.session_id == session_id)
    read = (listing.messages.get(letter.message_id) for letter in letters)
    return _Dead(letters, tuple(message for message in read if message), tuple(missing))


def _message(asked: Asked, waiting: Waiting | None, dead: _Dead) -> SessionMessage | None:
    """What says whose the session is: Stripe, or else what an earlier run has kept of it."""
    candidates = [asked.message, waiting.message if waiting else None, *dead.messages]
    return next((message for message in candidates if message), None)


def _prospect(sources: Sources, asked: Asked, now: int) -> PredictedOutcome | None:
    if asked.raw is None:
        return None
    return predict(asked.raw, sources.table, sources.stripe, sources.settings, now)


def _open_run(latest: Sequence[Run], in_runs: Sequence[InRun], sight: Sight, now: int) -> str | None:
    settled = {seen.run_id for seen in in_runs}
    holding = (
        run.run_id
        for run in latest
        if _goes_on(run, now) and run.run_id not in settled and sight.lies_in(run)
    )
    return next(holding, None)


def _goes_on(run: Run, now: int) -> bool:
    """A run whose producer died is open until the next run closes it."""
    return run.status == RUNNING and not is_stalled(run, now)


def _missing(asked: Asked, message: SessionMessage | None, schedule: Schedule | None) -> list[str]:
    missing = []
    if asked.problem and asked.problem.error_type != "SessionNotFound":
        missing.append(f"Stripe: {asked.problem.message.removeprefix('Stripe: ')}")
    if message is None:
        missing.append("orders: without the session nobody knows whose orders to look through")
    if asked.said and asked.said.refunded is None:
        missing.append("refunds: the Stripe key may not read charges or disputes")
    if schedule is None:
        missing.append("the schedule: it could not be asked")
    return missing


def _code(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response['Error']['Code']}"
    return type(error).__name__
