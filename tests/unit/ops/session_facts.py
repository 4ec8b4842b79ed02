"""Facts of a session for tests: a paid session whose order is missing, and changes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ops.dlq.dead_letters import DeadLetter
from ops.explain.facts import (
    Coverage,
    CurrentSession,
    EventDelivery,
    EventMarker,
    NextRun,
    OutcomeInRun,
    PendingEntry,
    SessionFacts,
    StoredOrder,
    StripeProblem,
)
from ops.format.money import Money
from ops.runs.prediction import PredictedAction, PredictedOutcome
from recon.domain.outcome import SkipReason
from testkit.builders import NOW, RUN

NOW_AT = datetime.fromtimestamp(NOW, UTC)
CREATED = NOW_AT - timedelta(hours=1)
SESSION = "cs_test_a1B2c3D4"

PAID = CurrentSession(
    "complete", "paid", "payment", False, CREATED, Money("eur", 4999), "user-1", 1, False, False
)
UNPAID = replace(PAID, payment_status="unpaid")
NEXT = NextRun(
    enabled=True,
    due=NOW_AT + timedelta(days=1),
    dry_run=False,
    window_from=NOW_AT - timedelta(hours=1, minutes=10),
    window_to=NOW_AT + timedelta(hours=23, minutes=50),
    looks=Coverage.IN_WINDOW,
)
CREATE = PredictedOutcome(PredictedAction.CREATE, Money("eur", 4999), "BC-A1B2C3D4")
FAIL = PredictedOutcome(
    PredictedAction.FAIL, error_type="MalformedSession", error_message="currency must be a string"
)
WEBHOOK_ORDER = StoredOrder(
    "USER#user-1/ORDER#1#x", "BC-1", "webhook", None, "completed", None, None, "2024-11-27T01:05:00Z"
)
SYNC_ORDER = StoredOrder(
    "USER#user-1/ORDER#2#x", "BC-1", "nightly_sync", RUN, "completed", None, None, "2024-11-27T02:00:08Z"
)
PENDING = PendingEntry("2024-11-27T02:00:08Z", NOW_AT + timedelta(days=90))
DEAD = DeadLetter(
    message_id="m-1",
    sent_at=NOW_AT,
    age_seconds=60,
    expires_at=NOW_AT + timedelta(days=14),
    run_id=RUN,
    session_id=SESSION,
    error_type="SessionNotFound",
    error_message="Stripe: InvalidRequestError (status 404)",
    outcome="error",
    attempts=3,
)
NO_ORDER = EventMarker("webhook", "processed", False, None)


def skip(reason):
    return PredictedOutcome(PredictedAction.SKIP, reason=reason)


def in_run(outcome="skipped", reason=None, **fields):
    empty = dict.fromkeys(OutcomeInRun.__annotations__) | {"run_id": RUN, "attempts": 1, "drift": ()}
    return OutcomeInRun(**empty | {"outcome": outcome, "reason": reason} | fields)


FAILED = in_run("error", error_type="StripeUnavailable", error_message="Stripe: APIError (status 500)")
WRITTEN = in_run("created", order_number="BC-1")
DISMISSED = in_run(reason="dismissed", dismissed_by="ops", dismissed_because="refunded manually")


def event(*, delivered=True, marker=None):
    return EventDelivery("evt_1", "checkout.session.completed", CREATED, delivered, marker)


def facts(**changes):
    fields = {
        "session_id": SESSION,
        "asked_at": NOW_AT,
        "stripe": PAID,
        "stripe_problem": None,
        "session_created": CREATED,
        "orders": (),
        "orders_known": True,
        "drift": (),
        "runs": (),
        "open_run": None,
        "pending": None,
        "events": (),
        "dead_letters": (),
        "next_run": NEXT,
        "prospect": CREATE,
        "missing": (),
    }
    return SessionFacts(**fields | changes)


def next_run(**changes):
    """Return the fields of a session with another next run."""
    return {"next_run": replace(NEXT, **changes)}


TOO_OLD = next_run(looks=Coverage.TOO_OLD)


def unknown_at_stripe(**changes):
    problem = StripeProblem("SessionNotFound", "Stripe: InvalidRequestError (status 404)")
    return facts(stripe=None, stripe_problem=problem, prospect=None, **changes)


def unreadable_at_stripe(**changes):
    problem = StripeProblem("KeyUnavailable", "the SSM parameter /shop/stripe cannot be read: AccessDenied")
    return facts(stripe=None, stripe_problem=problem, prospect=None, session_created=None, **changes)


def with_orders(*orders, **changes):
    return facts(orders=orders, prospect=skip(SkipReason.EXISTS), **changes)
