"""Session ids, and the message for a session that is unknown everywhere. Pure."""

import re

from ops.errors import CommandError
from ops.explain.facts import SessionFacts

_ID = re.compile(r"cs_[A-Za-z0-9_-]{1,252}")
_LIVE, _TEST = "cs_live_", "cs_test_"
_MODES = {True: "live", False: "test"}
_SHOWN = 40


def parse_session_id(text: str, option: str = "") -> str:
    """Strip and return a Checkout Session id.

    Raise CommandError if it is none. Its text begins with `option`.
    """
    session_id = text.strip()
    if not _ID.fullmatch(session_id):
        # A part of an address would not be recognised as one and masked.
        shown = "this" if "@" in session_id else repr(session_id[:_SHOWN])
        raise CommandError(
            f"{option}{shown} is not a Checkout Session id: these begin with {_LIVE} or {_TEST}; "
            "`nightly-sync show last` lists some"
        )
    return session_id


def parse_livemode(session_id: str) -> bool | None:
    """Read the mode from the id's prefix; None if it has an older form."""
    if session_id.startswith(_LIVE):
        return True
    return False if session_id.startswith(_TEST) else None


def describe_unknown_session(facts: SessionFacts, key_livemode: bool | None) -> str:
    """Return one line for a session that neither Stripe nor the sync knows.

    `key_livemode` is the mode of the sync's Stripe key, or None if it is not known.
    """
    sync = f"neither the table, the dead-letter queue nor any run knows {facts.session_id}"
    if facts.is_at_stripe is None and facts.stripe_problem:
        return f"{sync}, and Stripe could not be read: {facts.stripe_problem.message}"
    return f"{sync}, nor does Stripe: {guess_why_unknown(facts.session_id, key_livemode)}"


def guess_why_unknown(session_id: str, key_livemode: bool | None) -> str:
    """Return a clause that says why Stripe does not find a session that the sync does not know either."""
    mode = parse_livemode(session_id)
    if None not in (mode, key_livemode) and mode is not key_livemode:
        return (
            f"it is a {_MODES[bool(mode)]} session, and the sync's key is a {_MODES[bool(key_livemode)]} key"
        )
    return "the id may be mistyped or belong to another Stripe account"
