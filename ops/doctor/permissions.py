"""The kind and the permissions of the Stripe key: one cheap request each, with the nightly run's own code."""

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
    from recon.stripe.source import StripeSource

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
    from recon.stripe.source import DISPUTES, INVOICE_PAYMENTS, StripeSource  # noqa: PLC0415

    connection = connect_stripe(
        settings, requests_per_second=settings.stripe_max_rps, timeout=STRIPE_TIMEOUT_SECONDS
    )
    source = StripeSource(connection, deadline, lambda: None)
    latest: list[Json] = []
    try:
        sessions = _probe(lambda: latest.extend(source.list_sessions(0, now).sessions))
        items, charges, details = _probe_session(source, [session["id"] for session in latest])
        return KeyPermissions(
            sessions=sessions,
            line_items=items,
            charges=charges,
            disputes=_probe(lambda: connection.get(DISPUTES, {"limit": 1}, connection.key.read())),
            invoices=_probe(lambda: connection.get(INVOICE_PAYMENTS, {"limit": 1}, connection.key.read())),
            details=details,
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
    source: "StripeSource", newest: list[str]
) -> tuple[AccessProbe, AccessProbe, dict[str, AccessProbe]]:
    """Fetch a session as the consumer does. Return the probes of line items, the charge and the details."""
    from recon.stripe.expansions import SESSION_EXPANSIONS  # noqa: PLC0415 - the stripe library loads slowly

    if not newest:
        untried = AccessProbe(Access.UNTRIED, "Stripe lists no complete session to try it with")
        return untried, untried, {}
    items = _probe(lambda: source.fetch(newest[0]))
    if items.access is not Access.ALLOWED:
        why = "it comes with the line items, which could not be read"
        return items, AccessProbe(Access.UNTRIED, why), {}
    denied = source.list_denied()
    untried = AccessProbe(Access.UNTRIED, "it comes with the payment, which cannot be read")
    details = {
        each.permission: AccessProbe(Access.NOT_ALLOWED)
        if each in denied
        else untried
        if each.is_inside(denied)
        else AccessProbe(Access.ALLOWED)
        for each in SESSION_EXPANSIONS
        if each.is_detail
    }
    charges = Access.ALLOWED if all(each.is_detail for each in denied) else Access.NOT_ALLOWED
    return items, AccessProbe(charges), details


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
