"""Each row of the decision table: facts of one session, and what an operator is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.dlq.dead_letters import DeadLetter
from ops.explain.facts import (
    AtStripe,
    EventThere,
    Facts,
    InRun,
    Look,
    Marker,
    NextRun,
    OrderThere,
    Pending,
    Problem,
)
from ops.explain.verdict import RULES, verdict_of
from ops.explain.verdict_types import Case
from ops.format.money import Money
from ops.runs.prediction import PredictedAction, PredictedOutcome
from recon.domain.reconcile import SkipReason
from testkit.builders import NOW, RUN

NOW_AT = datetime.fromtimestamp(NOW, UTC)
CREATED = NOW_AT - timedelta(hours=1)
SESSION = "cs_test_a1B2c3D4"
BACKFILL = "nightly-sync run --from 2024-11-27T01:00:00Z --to 2024-11-27T01:01:00Z"
REDRIVE = f"nightly-sync dlq redrive --session {SESSION}"
PURGE = f"nightly-sync dlq purge --session {SESSION}"

PAID = AtStripe("complete", "paid", "payment", False, CREATED, Money("eur", 4999), "user-1", 1, False, False)
UNPAID = replace(PAID, payment_status="unpaid")
NEXT = NextRun(
    enabled=True,
    due=NOW_AT + timedelta(days=1),
    dry_run=False,
    window_from=NOW_AT - timedelta(hours=1, minutes=10),
    window_to=NOW_AT + timedelta(hours=23, minutes=50),
    looks=Look.IN_WINDOW,
)
TOO_OLD, OFF = replace(NEXT, looks=Look.TOO_OLD), replace(NEXT, enabled=False, due=None)
PREVIEWS, LATER = replace(NEXT, dry_run=True), replace(NEXT, looks=Look.LATER)
CREATE = PredictedOutcome(PredictedAction.CREATE, 4999, "eur", "BC-A1B2C3D4")
FAIL = PredictedOutcome(
    PredictedAction.FAIL, error_type="MalformedSession", error_message="currency must be a string"
)
WEBHOOKS = OrderThere(
    "USER#user-1/ORDER#1#x", "BC-1", "webhook", None, "completed", None, None, "2024-11-27T01:05:00Z"
)
OURS = OrderThere(
    "USER#user-1/ORDER#2#x", "BC-1", "nightly_sync", RUN, "completed", None, None, "2024-11-27T02:00:08Z"
)
WAITS = Pending("2024-11-27T02:00:08Z", NOW_AT + timedelta(days=90))
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


def skip(reason):
    return PredictedOutcome(PredictedAction.SKIP, reason=reason)


def in_run(outcome="skipped", reason=None, **fields):
    nothing = dict.fromkeys(
        ("order_number", "error_type", "error_message", "updated_at", "dismissed_by", "dismissed_because")
    )
    return InRun(
        **{"run_id": RUN, "outcome": outcome, "reason": reason, "attempts": 1, "drift": ()} | nothing | fields
    )


FAILED = in_run("error", error_type="StripeUnavailable", error_message="Stripe: APIError (status 500)")
WROTE = in_run("created", order_number="BC-1")
DISMISSED = in_run(reason="dismissed", dismissed_by="ops", dismissed_because="refunded by hand")


def event(*, delivered=True, marker=None):
    return EventThere("evt_1", "checkout.session.completed", CREATED, delivered, marker)


def facts(**changes):
    """A paid session whose order is missing, and that the next run looks at."""
    return Facts(
        **{
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
        | changes
    )


def at_stripe_no_more(**changes):
    problem = Problem("SessionNotFound", "Stripe: InvalidRequestError (status 404)")
    return facts(stripe=None, stripe_problem=problem, prospect=None, **changes)


def stripe_unasked(**changes):
    problem = Problem("KeyUnavailable", "the SSM parameter /shop/stripe cannot be read: AccessDenied")
    return facts(stripe=None, stripe_problem=problem, prospect=None, session_created=None, **changes)


def there(*orders, **changes):
    return facts(orders=orders, prospect=skip(SkipReason.EXISTS), **changes)


# (what is known, the row, words of why, of what comes, and of what to do: None where nothing is to be done)
ROWS = [
    (there(WEBHOOKS), Case.WEBHOOK, "The webhook wrote its order BC-1", "leaves the order as it is", None),
    (
        there(OURS),
        Case.RECOVERED,
        f"Run {RUN} wrote its order BC-1 at 2024-11-27 02:00 UTC, since the webhook's was missing",
        "leaves the order as it is",
        None,
    ),
    (there(OURS, next_run=TOO_OLD), Case.RECOVERED, "wrote its order", "No run looks at it again", None),
    (
        there(WEBHOOKS, OURS, drift=("duplicate: …",)),
        Case.DUPLICATE,
        "It has 2 orders: USER#user-1/ORDER#1#x, USER#user-1/ORDER#2#x.",
        "No run changes or deletes an order",
        "usually the sync's, USER#user-1/ORDER#2#x",
    ),
    (
        there(WEBHOOKS, drift=("amount: the order says 1, Stripe 2",)),
        Case.DRIFT,
        "amount: the order says 1, Stripe 2",
        "No run changes",
        "correct the order by hand",
    ),
    (
        there(OURS, dead_letters=(DEAD,)),
        Case.LEFT_OVER,
        "still lies in",
        "dropped or counts as skipped",
        REDRIVE,
    ),
    (there(WEBHOOKS, stripe=UNPAID), Case.UNPAID_ORDER, "not paid", "leaves the order", "Ship nothing"),
    (
        there(WEBHOOKS, stripe=replace(PAID, refunded=True)),
        Case.REFUNDED_ORDER,
        "Its money went back since",
        "leaves the order",
        None,
    ),
    (
        facts(
            stripe=replace(PAID, status="open"),
            prospect=None,
            next_run=replace(NEXT, looks=Look.NOT_COMPLETE),
        ),
        Case.OPEN,
        "still open",
        "Once it is completed",
        None,
    ),
    (
        facts(
            stripe=replace(PAID, status="expired"),
            prospect=None,
            next_run=replace(NEXT, looks=Look.NOT_COMPLETE),
        ),
        Case.ABANDONED,
        "never finished",
        "Runs look at completed sessions only",
        None,
    ),
    (
        facts(runs=(FAILED,), dead_letters=(DEAD,)),
        Case.DEAD,
        f"Run {RUN} gave it up after 3 attempts (SessionNotFound: Stripe",
        "writes the order",
        f"now the order would be written: {REDRIVE}",
    ),
    (
        facts(dead_letters=(DEAD,), prospect=skip(SkipReason.REFUNDED), next_run=TOO_OLD),
        Case.DEAD,
        "in the dead-letter queue until 2024-12-11 02:00 UTC",
        "No run looks",
        f"skipped, since its money went back: {REDRIVE}",
    ),
    (
        facts(dead_letters=(DEAD,), prospect=FAIL),
        Case.DEAD,
        "when SQS deletes it",
        "would fail as things are: MalformedSession",
        PURGE,
    ),
    (at_stripe_no_more(dead_letters=(DEAD,), runs=(FAILED,)), Case.DEAD, "gave it up", "none looks", PURGE),
    (
        facts(runs=(DISMISSED,), next_run=TOO_OLD),
        Case.DISMISSED,
        "was dismissed by ops: refunded by hand",
        "No run looks at it again",
        None,
    ),
    (
        at_stripe_no_more(runs=(in_run(reason="unpaid"),)),
        Case.NOT_AT_STRIPE,
        f"Stripe does not know it under the key of the sync. Run {RUN} saw it (skipped, since it is not paid",
        "none looks at it again",
        "the account and the mode",
    ),
    (
        at_stripe_no_more(pending=WAITS),
        Case.NOT_AT_STRIPE,
        "does not know it",
        "every scheduled run",
        "the account",
    ),
    (
        stripe_unasked(runs=(WROTE,)),
        Case.STRIPE_UNKNOWN,
        f"In run {RUN} it was written as order BC-1. Stripe could not be asked",
        "",
        None,
    ),
    (stripe_unasked(runs=(FAILED,)), Case.STRIPE_UNKNOWN, "given up (StripeUnavailable", "", "mend that"),
    (stripe_unasked(pending=WAITS), Case.STRIPE_UNKNOWN, "complete and not paid", "", None),
    (
        facts(prospect=skip(SkipReason.NOT_A_SALE)),
        Case.NOT_A_SALE,
        "sells nothing",
        "skips it: it sells nothing",
        None,
    ),
    (facts(prospect=skip(SkipReason.NO_USER)), Case.NO_USER, "whose order", "skips it", "metadata.userId"),
    (facts(prospect=skip(SkipReason.REFUNDED)), Case.REFUNDED, "its money went back", "skips it", None),
    (facts(prospect=skip(SkipReason.EXPIRED)), Case.EXPIRED, "ORDER_TTL_DAYS", "skips it", None),
    (
        facts(prospect=skip(SkipReason.EXPIRED), runs=(WROTE,)),
        Case.EXPIRED,
        "older than orders are kept",
        "",
        None,
    ),
    (
        facts(
            stripe=UNPAID,
            prospect=skip(SkipReason.UNPAID),
            pending=WAITS,
            next_run=replace(NEXT, looks=Look.PENDING),
        ),
        Case.UNPAID,
        "kept as pending (until 2025-02-25 02:00 UTC)",
        "as every scheduled run does, and skips it: it is not paid yet",
        None,
    ),
    (
        facts(stripe=UNPAID, prospect=skip(SkipReason.UNPAID)),
        Case.UNPAID,
        "the next run does that",
        "skips it",
        None,
    ),
    (
        facts(stripe=UNPAID, prospect=skip(SkipReason.UNPAID), next_run=TOO_OLD),
        Case.UNPAID_UNSEEN,
        "no run would see it paid",
        "No run looks",
        BACKFILL,
    ),
    (facts(open_run=RUN), Case.IN_PROGRESS, f"Run {RUN} is going on", "main queue cannot be looked at", None),
    (
        facts(runs=(WROTE,)),
        Case.GONE,
        f"Run {RUN} wrote its order BC-1, and it is there no more",
        "writes the order",
        "it is written again",
    ),
    (facts(runs=(WROTE,), next_run=TOO_OLD), Case.GONE, "deleted", "No run looks", BACKFILL),
    (facts(runs=(in_run(reason="exists"),)), Case.GONE, f"Run {RUN} found its order", "", "Find out who"),
    (facts(runs=(FAILED,)), Case.RETRYING, "not in the dead-letter queue", "writes the order", None),
    (facts(runs=(FAILED,), next_run=TOO_OLD), Case.RETRYING, "StripeUnavailable", "No run looks", BACKFILL),
    (facts(runs=(FAILED,), prospect=FAIL), Case.RETRYING, "failed", "would fail", "Mend what fails"),
    (
        facts(prospect=FAIL),
        Case.FAILING,
        "writing it would fail: MalformedSession: currency must be a string",
        "would fail",
        "Mend what fails",
    ),
    (
        facts(),
        Case.WRITTEN_NEXT,
        "no run has an outcome of it",
        "The next run (2024-11-28 02:00 UTC) looks at it and writes the order.",
        None,
    ),
    (
        facts(next_run=LATER),
        Case.WRITTEN_NEXT,
        "no run",
        "too young for the next run; the one after that",
        None,
    ),
    (
        facts(runs=(in_run(reason="unpaid"),), pending=WAITS, next_run=replace(NEXT, looks=Look.PENDING)),
        Case.WRITTEN_NEXT,
        f"In run {RUN} it was skipped, since it is not paid yet, which holds no longer",
        "asks Stripe about it again",
        None,
    ),
    (
        facts(next_run=TOO_OLD),
        Case.OVERLOOKED,
        "no run has an outcome",
        "No run looks at it again: the next window begins at 2024-11-27 00:50 UTC.",
        BACKFILL,
    ),
    (facts(next_run=OFF), Case.OVERLOOKED, "no order", "The schedule is off", BACKFILL),
    (facts(next_run=PREVIEWS), Case.OVERLOOKED, "no order", "previews", BACKFILL),
    (
        facts(next_run=replace(NEXT, enabled=None, due=None)),
        Case.WRITTEN_NEXT,
        "",
        "The next scheduled run",
        None,
    ),
]


@pytest.mark.parametrize(("known", "case", "why", "coming", "to_do"), ROWS, ids=[str(row[1]) for row in ROWS])
def test_what_is_known_of_a_session_becomes_sentences(known, case, why, coming, to_do):
    said = verdict_of(known)
    assert said.case is case
    assert why in said.why
    assert coming in said.next
    assert (said.to_do is None) == (to_do is None)
    assert (to_do or "") in (said.to_do or "")
    assert said.needs_attention is (to_do is not None)


def test_each_case_has_a_row():
    assert {row[1] for row in ROWS} == set(Case)


def test_some_rule_applies_to_whatever_is_known():
    assert all(any(rule(row[0]) for rule in RULES) for row in ROWS)
    assert RULES[-1](facts(stripe=None, prospect=None)) is not None


@pytest.mark.parametrize(
    ("heard", "sentence"),
    [
        (event(delivered=False), "has not been able to deliver its event evt_1"),
        (
            event(marker=Marker("webhook", "processed", False, None)),
            "handled its event evt_1 and wrote no order",
        ),
        (event(), "counts as delivered, and the webhook has no record of it"),
        (event(marker=Marker("nightly_sync", "completed", True, None)), "had not been delivered"),
        (event(marker=Marker("webhook", "processed", True, None)), "no run has an outcome of it."),
    ],
)
def test_a_missing_order_is_told_with_what_the_webhook_did(heard, sentence):
    assert sentence in verdict_of(facts(events=(heard,))).why


def test_a_recovered_order_is_told_with_what_the_webhook_did():
    lost = event(marker=Marker("webhook", "processed", False, None))
    assert "handled its event evt_1 and wrote no order" in verdict_of(there(OURS, events=(lost,))).why


def test_an_order_whose_time_cannot_be_read_is_told_without_it():
    said = verdict_of(there(replace(WEBHOOKS, updated_at="yesterday")))
    assert said.why == "The webhook wrote its order BC-1."
