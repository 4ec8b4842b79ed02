"""What the Stripe key is, and what it may read: one cheap request each, through the night's own code."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ops.doctor.facts import PUBLISHABLE, RESTRICTED, SECRET, Access, Key, Permissions, Tried
from ops.stack.stripe_access import key_livemode
from recon.config import Settings
from recon.errors import KeyNotAllowed, KeyRejected, SyncError
from recon.retry import STRIPE_TIMEOUT_SECONDS, Deadline

if TYPE_CHECKING:
    from recon.stripe.source import FetchedSession

_KINDS = {"sk_": SECRET, "rk_": RESTRICTED, "pk_": PUBLISHABLE}
# What there is of events does not matter here, only whether they may be read.
EVENTS_BACK_SECONDS = 60


def key_of(value: str) -> Key:
    """By its prefix, https://docs.stripe.com/keys; an organisation's key does not say its mode."""
    return Key(_KINDS.get(value[:3]), key_livemode(value))


def permissions_of(settings: Settings, now: int, deadline: Deadline) -> Permissions:
    """`settings` hold the key itself. Writes nothing at Stripe."""
    from recon.bootstrap import connect_stripe  # noqa: PLC0415 - the stripe library takes longer to load than the rest
    from recon.stripe.source import DISPUTES, StripeSource  # noqa: PLC0415

    connection = connect_stripe(
        settings, requests_per_second=settings.stripe_max_rps, timeout=STRIPE_TIMEOUT_SECONDS
    )
    source = StripeSource(connection, deadline, lambda: None)
    newest: list[str] = []

    def list_one() -> None:
        newest.extend(session["id"] for session in source.list_sessions(0, now, limit=1).sessions)

    try:
        sessions = _tried(list_one)
        items, charges = _of_a_session(source.fetch, newest)
        return Permissions(
            sessions=sessions,
            line_items=items,
            charges=charges,
            disputes=_tried(lambda: connection.get(DISPUTES, {"limit": 1}, connection.key.read())),
            events=_tried(lambda: next(source.list_events(now - EVENTS_BACK_SECONDS), None)),
        )
    finally:
        connection.close()


def _of_a_session(fetch: "Callable[[str], FetchedSession]", newest: list[str]) -> tuple[Tried, Tried]:
    """Line items with their products, and the charge, as the consumer asks for them."""
    if not newest:
        untried = Tried(Access.UNTRIED, "Stripe lists no complete session to try it with")
        return untried, untried
    charges_known: list[bool] = []
    items = _tried(lambda: charges_known.append(fetch(newest[0]).charges_known))
    if not charges_known:
        return items, Tried(Access.UNTRIED, "it comes with the line items, which could not be read")
    return items, Tried(Access.ALLOWED if charges_known[0] else Access.NOT_ALLOWED)


def _tried(ask: Callable[[], object]) -> Tried:
    try:
        ask()
    except KeyNotAllowed as error:
        return Tried(Access.NOT_ALLOWED, str(error))
    except KeyRejected as error:
        return Tried(Access.REJECTED, str(error))
    except SyncError as error:
        return Tried(Access.FAILED, str(error))
    return Tried(Access.ALLOWED)
