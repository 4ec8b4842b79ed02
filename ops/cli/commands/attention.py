"""`nightly-sync ack`, `dismiss` and `allow`: a person's answers about a session."""

from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.show import find_run
from ops.cli.operator import caller_name, require_reason
from ops.cli.screen import CommandResult, Screen
from ops.cli.usage import conflict
from ops.dlq.purge import mask_operator, mask_reason
from ops.errors import CommandError
from ops.explain.ids import parse_session_id
from ops.explain.known_session import find_run_command, find_starts, require_known_session
from ops.format.attention import describe_stored_attention
from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.attention import acknowledge, parse_attention
from recon.dynamodb.dismissals import Allowance, DismissalRecord, dismiss_session
from recon.dynamodb.dismissals import allow as take_back
from recon.dynamodb.keys import attention_key, outcome_partition
from recon.dynamodb.records import OutcomeRecord, parse_outcome
from recon.dynamodb.table import Table

ACK_EXAMPLES = ["nightly-sync ack cs_live_a1b2c3"]
DISMISS_EXAMPLES = ['nightly-sync dismiss cs_live_a1b2c3 --because "test purchase of the team"']
ALLOW_EXAMPLES = [
    'nightly-sync allow cs_live_a1b2c3 --because "dismissed by mistake"',
    'nightly-sync allow --run 20261123T020000Z --because "the table was restored"',
]
ALLOW_RULES = (conflict("SESSION", "--run", because="name one session, or the run with all of its sessions"),)

SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The id of a Checkout Session, cs_…")]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Give the reason, which is kept")]


@dataclass(frozen=True)
class Acknowledged:
    """The words that are silent now. `already_by` is who had acknowledged them before, if anybody had."""

    session_id: str
    words: tuple[str, ...]
    acknowledged_by: str
    already_by: str | None


@dataclass(frozen=True)
class Dismissed:
    """The dismissal of a session. `earlier` is the decision before this one, which stays as it is."""

    session_id: str
    dismissed_by: str
    dismissed_because: str
    earlier: DismissalRecord | None


@dataclass(frozen=True)
class Allowed:
    """The dismissals and guards that were taken back, by session, and who did it and why.

    `command` starts the run that looks at all of the sessions again. It is None if Stripe does not say when
    those of `unknown_start` began.
    """

    sessions: tuple[Allowance, ...]
    allowed_by: str
    allowed_because: str
    command: str | None
    unknown_start: tuple[str, ...]


def ack(context: CommandContext, session: SessionId) -> CommandResult:
    """Acknowledge what a session needs: it is not reported again until its words change."""
    session_id, stack = parse_session_id(session), context.stack
    item = stack.table.get(attention_key(session_id), stack.deadline)
    record = parse_attention(item or {})
    if not record.words:
        raise CommandError(
            f"nothing is open for {session_id}; `nightly-sync status` lists the sessions that need somebody"
        )
    by = record.acknowledged_by or mask_operator(caller_name(stack))
    result = Acknowledged(session_id, record.words, by, record.acknowledged_by)
    if record.is_open and not acknowledge(stack.table, record, by, context.now(), stack.deadline):
        raise CommandError(
            f"a run changed what {session_id} needs just now; see `nightly-sync explain {session_id}`"
        )
    return CommandResult(result, lambda screen: _show_acknowledged(screen, result))


def _show_acknowledged(screen: Screen, result: Acknowledged) -> None:
    words = "; ".join(map(describe_stored_attention, result.words))
    already = "was acknowledged before" if result.already_by else "acknowledged"
    screen.text(f"{result.session_id}: {already} by {result.acknowledged_by} ({words}).")


def dismiss(context: CommandContext, session: SessionId, because: Because) -> CommandResult:
    """Dismiss a session for good: no run writes its order, and nothing about it is open any more.

    The operator's name and the reason are kept. `nightly-sync allow` takes it back.
    """
    require_reason(because)
    session_id, stack = parse_session_id(session), context.stack
    require_known_session(stack, session_id)
    by, reason = mask_operator(caller_name(stack)), mask_reason(because)
    earlier = dismiss_session(stack.table, session_id, by, reason, context.now(), stack.deadline)
    result = Dismissed(session_id, by, reason, earlier)
    return CommandResult(result, lambda screen: _show_dismissed(screen, result))


def _show_dismissed(screen: Screen, result: Dismissed) -> None:
    if earlier := result.earlier:
        screen.text(f"{result.session_id}: was dismissed before by {earlier.by}: {earlier.because}")
        return
    screen.text(f"{result.session_id}: dismissed. No run writes its order; an existing order is left.")


def allow(
    context: CommandContext,
    because: Because,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="The id of a Checkout Session, cs_…")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Allow all sessions that this run wrote or skipped as removed or dismissed"
        ),
    ] = None,
) -> CommandResult:
    """Take back a dismissal, or that the sync wrote an order once, so that a run may write the order.

    Print the command of the run that looks at it again: a later night does so only if its window contains the
    session.
    """
    require_reason(because)
    if session is None and run is None:
        raise CommandError("name what to allow: a session's id, or --run RUN")
    stack = context.stack
    by, reason = mask_operator(caller_name(stack)), mask_reason(because)
    past = None
    if session is not None:
        is_outside = {parse_session_id(session): True}
    else:
        past = find_run(stack, run or "", context.now(), "--run")
        is_outside = _find_sessions(stack.table, past.run_id)
    taken = (take_back(stack.table, name, by, reason, context.now(), stack.deadline) for name in is_outside)
    sessions = tuple(one for one in taken if one)
    if not sessions:
        what = session.strip() if session else f"run {run}"
        raise CommandError(
            f"nothing to take back for {what}: it is not dismissed, and no order is remembered"
        )
    starts = find_starts(stack, [one.session_id for one in sessions if is_outside[one.session_id]])
    known = [start for start in starts.values() if start]
    unknown = tuple(name for name, start in starts.items() if start is None)
    window = (past.window_from, past.window_to) if past else ()
    command = None if unknown else find_run_command(known, *window)
    allowed = Allowed(sessions, by, reason, command, unknown)
    return CommandResult(allowed, lambda screen: _show_allowed(screen, allowed))


def _find_sessions(table: Table, run_id: str) -> dict[str, bool]:
    """Return the sessions that may be barred, and whether each may be outside the run's window.

    That is one which waited for its payment (`pending`), and perhaps one that was purged and never tried.
    """
    is_outside = {}
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}):
        outcome = parse_outcome(item)
        if _may_be_barred(outcome):
            is_outside[outcome.session_id] = item.get("pending") is True or outcome.attempts == 0
    return is_outside


def _may_be_barred(outcome: OutcomeRecord) -> bool:
    return outcome.outcome == Outcome.CREATED or outcome.reason in (SkipReason.REMOVED, SkipReason.DISMISSED)


def _show_allowed(screen: Screen, allowed: Allowed) -> None:
    for one in allowed.sessions:
        what = ["it is not dismissed any more"] if one.dismissal else []
        what += ["a run may write its order once more"] if one.removed_order else []
        screen.text(f"{one.session_id}: {' and '.join(what)}.")
    if allowed.command is None:
        screen.text(
            f"Stripe does not say when {', '.join(allowed.unknown_start)} began, so no run can be named that "
            "looks at all that was allowed. A run whose window contains a session looks at it again."
        )
        return
    screen.text("This run looks at what was allowed again, and writes each order that is missing and due:")
    screen.command(allowed.command)
