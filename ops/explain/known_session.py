"""Whether a session that a person names exists, and the run that looks at it again."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from ops.errors import CommandError
from ops.explain.at_stripe import StripeLookup, fetch_session
from ops.explain.gather import RUNS_READ
from ops.explain.ids import guess_why_unknown
from ops.explain.in_table import load_outcomes
from ops.stack.stack import Stack
from ops.stack.stripe_access import stripe_access
from recon.dynamodb.keys import attention_key, dismissed_key, guard_key, pending_key
from recon.errors import KeyUnavailable
from recon.timestamps import to_iso

_TRACES = (attention_key, dismissed_key, guard_key, pending_key)
_NOT_FOUND = "SessionNotFound"
_MARGIN = timedelta(minutes=1)


def require_known_session(stack: Stack, session_id: str) -> None:
    """Raise CommandError if neither the sync's records nor Stripe know the session.

    A mistyped id would otherwise be taken for the session that was meant. Stripe is only asked about a
    session without records, and a session is accepted if Stripe cannot be read.
    """
    if stack.table.get_many([key(session_id) for key in _TRACES], stack.deadline):
        return
    if load_outcomes(stack.table, session_id, stack.runs.latest(RUNS_READ), stack.deadline):
        return
    lookup, livemode = _ask_stripe(stack, session_id)
    if lookup.problem is None or lookup.problem.error_type != _NOT_FOUND:
        return
    raise CommandError(
        f"nothing was changed: neither the sync's records nor Stripe know {session_id}; "
        f"{guess_why_unknown(session_id, livemode)}"
    )


def find_starts(stack: Stack, session_ids: Sequence[str]) -> dict[str, datetime | None]:
    """Return when each of these sessions began, None where Stripe does not say."""
    sessions = {name: _ask_stripe(stack, name)[0].session for name in session_ids}
    return {name: session.created if session else None for name, session in sessions.items()}


def find_run_command(starts: Iterable[datetime], *window: datetime) -> str:
    """Return the command of a run that looks at sessions which began then, and at a window (two times)."""
    times = [*window, *(start + margin for start in starts for margin in (-_MARGIN, _MARGIN))]
    return format_run_command(min(times), max(times))


def format_run_command(start: datetime, end: datetime) -> str:
    """Return the command of a run that lists the sessions which began between these times."""
    return f"nightly-sync run --from {to_iso(start.timestamp())} --to {to_iso(end.timestamp())}"


def _ask_stripe(stack: Stack, session_id: str) -> tuple[StripeLookup, bool | None]:
    """Return Stripe's answer and the mode of the key. Settings that are invalid leave both unknown."""
    try:
        with stripe_access(stack) as stripe:
            lookup = fetch_session(stripe.source, session_id, stack.producer_settings)
            with suppress(KeyUnavailable):
                return lookup, stripe.livemode()
            return lookup, None
    except CommandError:
        return StripeLookup(), None
