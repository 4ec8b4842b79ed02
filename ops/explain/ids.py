"""Pure: what is a Checkout Session's id, and what to say of one that nobody knows."""

import re

from ops.errors import CommandError
from ops.explain.facts import Facts

_ID = re.compile(r"cs_[A-Za-z0-9_-]{1,252}")
_LIVE, _TEST = "cs_live_", "cs_test_"
_MODES = {True: "live", False: "test"}
_SHOWN = 40


def session_id_of(text: str) -> str:
    """Raises CannotRun for what is no id of a Checkout Session."""
    found = text.strip()
    if not _ID.fullmatch(found):
        raise CommandError(
            f"{found[:_SHOWN]!r} is no Checkout Session's id: these begin with {_LIVE} or {_TEST}; "
            "`nightly-sync show last` lists some"
        )
    return found


def is_live(session_id: str) -> bool | None:
    """By its prefix; None for an older form."""
    if session_id.startswith(_LIVE):
        return True
    return False if session_id.startswith(_TEST) else None


def nobody_knows(facts: Facts, key_is_live: bool | None) -> str:
    """One line for a session that neither Stripe nor the sync has heard of. `key_is_live`: which sessions the
    key of the sync reads, None where that is not known."""
    known_here = f"neither the table, the dead-letter queue nor any run knows {facts.session_id}"
    if facts.is_at_stripe is None and facts.stripe_problem:
        return f"{known_here}, and Stripe could not be asked: {facts.stripe_problem.message}"
    mode = is_live(facts.session_id)
    if None not in (mode, key_is_live) and mode is not key_is_live:
        return (
            f"{known_here}, nor does Stripe: it is a {_MODES[bool(mode)]} session, and the sync's key is a "
            f"{_MODES[bool(key_is_live)]} key"
        )
    return f"{known_here}, nor does Stripe: the id may be mistyped, or of another Stripe account"
