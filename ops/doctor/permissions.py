"""What the Stripe key is and may read: one cheap request each, with the code that the nightly run uses."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ops.doctor.facts import (
    PUBLISHABLE,
    RESTRICTED,
    SECRET,
    Access,
    AccessProbe,
    KeyPermissions,
    KeyPrefix,
    RecentSessions,
)
from ops.stack.stripe_access import key_livemode
from recon.config import Settings
from recon.domain.stripe_objects import SETUP, Json
from recon.domain.user_ids import find_candidates
from recon.errors import KeyNotAllowed, KeyRejected, SyncError
from recon.retry import STRIPE_TIMEOUT_SECONDS, Deadline

if TYPE_CHECKING:
    from recon.stripe.source import FetchedSession

_KINDS = {"sk_": SECRET, "rk_": RESTRICTED, "pk_": PUBLISHABLE}
# Only the permission to read events matters, not how many there are.
EVENTS_BACK_SECONDS = 60


def classify_key(value: str) -> KeyPrefix:
    """Read kind and mode from a key's prefix, https://docs.stripe.com/keys.

    An organisation's key does not name its mode.
    """
    return KeyPrefix(_KINDS.get(value[:3]), key_livemode(value))


def probe_permissions(
    settings: Settings, now: int, deadline: Deadline, proof_id: str | None = None
) -> KeyPermissions:
    """Try what the key in `settings.stripe_secret` may read. Nothing is written at Stripe.

    `proof_id` is the session that proves account and mode, if one is known.
    """
    from recon.bootstrap import connect_stripe  # noqa: PLC0415 - the stripe library loads slowly
    from recon.stripe.source import DISPUTES, StripeSource  # noqa: PLC0415

    connection = connect_stripe(
        settings, requests_per_second=settings.stripe_max_rps, timeout=STRIPE_TIMEOUT_SECONDS
    )
    source = StripeSource(connection, deadline, lambda: None)
    latest: list[Json] = []
    try:
        sessions = _probe(lambda: latest.extend(source.list_sessions(0, now).sessions))
        items, charges = _probe_session(source.fetch, [session["id"] for session in latest])
        return KeyPermissions(
            sessions=sessions,
            line_items=items,
            charges=charges,
            disputes=_probe(lambda: connection.get(DISPUTES, {"limit": 1}, connection.key.read())),
            events=_probe(lambda: next(source.list_events(now - EVENTS_BACK_SECONDS), None)),
            recent=_count_sessions(latest, settings) if sessions.access is Access.ALLOWED else None,
            proof=_probe_proof(source.has_session, proof_id),
        )
    finally:
        connection.close()


def _count_sessions(latest: "Sequence[Json]", settings: Settings) -> RecentSessions:
    passed = [session for session in latest if settings.session_filter.passes(session)]
    sales = [session for session in passed if session.get("mode") != SETUP]
    # A shop with its own layout needs no user.
    named = [one for one in sales if settings.shape or find_candidates(one, settings.user_ids).chosen]
    return RecentSessions(len(latest), len(passed), len(sales) - len(named))


def _probe_session(
    fetch: "Callable[[str], FetchedSession]", newest: list[str]
) -> tuple[AccessProbe, AccessProbe]:
    """Fetch line items with their products, and the charge, as the consumer does."""
    if not newest:
        untried = AccessProbe(Access.UNTRIED, "Stripe lists no complete session to try it with")
        return untried, untried
    charges_known: list[bool] = []
    items = _probe(lambda: charges_known.append(fetch(newest[0]).charges_known))
    if not charges_known:
        return items, AccessProbe(Access.UNTRIED, "it comes with the line items, which could not be read")
    return items, AccessProbe(Access.ALLOWED if charges_known[0] else Access.NOT_ALLOWED)


def _probe_proof(has_session: Callable[[str], bool], proof_id: str | None) -> AccessProbe:
    if proof_id is None:
        return AccessProbe(Access.UNTRIED)
    found: list[bool] = []
    probe = _probe(lambda: found.append(has_session(proof_id)))
    return probe if found != [False] else AccessProbe(Access.NOT_FOUND)


def _probe(call: Callable[[], object]) -> AccessProbe:
    try:
        call()
    except KeyNotAllowed as error:
        return AccessProbe(Access.NOT_ALLOWED, str(error))
    except KeyRejected as error:
        return AccessProbe(Access.REJECTED, str(error))
    except SyncError as error:
        return AccessProbe(Access.FAILED, str(error))
    return AccessProbe(Access.ALLOWED)
