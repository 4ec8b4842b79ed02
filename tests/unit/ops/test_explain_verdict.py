"""Each row of the decision table: the facts of a session and the sentences for an operator."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ops.explain.facts import Coverage, EventMarker
from ops.explain.verdict import RULES, decide_verdict
from ops.explain.verdict_types import VerdictCase
from ops.runs.prediction import PredictedAction, PredictedOutcome
from recon.domain.outcome import SkipReason
from testkit.builders import RUN
from tests.unit.ops.session_facts import (
    DEAD,
    DISMISSED,
    FAIL,
    FAILED,
    NO_ORDER,
    NOW_AT,
    PAID,
    PENDING,
    SESSION,
    SYNC_ORDER,
    TOO_OLD,
    UNPAID,
    WEBHOOK_ORDER,
    WRITTEN,
    event,
    facts,
    in_run,
    next_run,
    skip,
    unknown_at_stripe,
    unreadable_at_stripe,
    with_orders,
)

BACKFILL = "nightly-sync run --from 2024-11-27T01:00:00Z --to 2024-11-27T01:01:00Z"
REDRIVE = f"nightly-sync dlq redrive --session {SESSION}"
PURGE = f"nightly-sync dlq purge --session {SESSION}"
UNLISTED = next_run(looks=Coverage.NOT_COMPLETE)
IS_PENDING = next_run(looks=Coverage.PENDING)
UNPAID_SKIP = {"stripe": UNPAID, "prospect": skip(SkipReason.UNPAID)}
KEYS = "It has 2 orders: USER#user-1/ORDER#1#x, USER#user-1/ORDER#2#x."
SYNC_WROTE = f"Run {RUN} wrote its order BC-1 at 2024-11-27 02:00 UTC, because the webhook's was missing"
WINDOW_BEGINS = "No run processes it again: the next window begins at 2024-11-27 00:50 UTC."
WRITES = "The next run (2024-11-28 02:00 UTC) processes it and writes the order."
DIFFERENCE = "amount: the order says 1, Stripe 2"
HELD = {"payment_intent_status": "requires_capture", "capture_before": NOW_AT + timedelta(days=7)}
CANCELED = {"payment_intent_status": "canceled"}
UNPAID_RUN = in_run(reason="unpaid")
# Orders of the sync before this system, which stores no run.
BEFORE = replace(SYNC_ORDER, run_id=None)
FALLBACK = replace(SYNC_ORDER, run_id=None, source="stripe_fallback")

# Facts, and words of: why, what happens next, and what to do (None if there is nothing to do)
ROWS = {
    VerdictCase.WEBHOOK: [(with_orders(WEBHOOK_ORDER), "webhook wrote its order BC-1", "unchanged", None)],
    VerdictCase.OTHER_PROGRAM: [
        (with_orders(BEFORE), "The sync before this system (source nightly_sync) wrote", "unchanged", None),
        (with_orders(FALLBACK), "Another program (source stripe_fallback) wrote", "unchanged", None),
    ],
    VerdictCase.RECOVERED: [
        (with_orders(SYNC_ORDER), SYNC_WROTE, "leaves the order unchanged", None),
        (with_orders(SYNC_ORDER, **TOO_OLD), "wrote its order", "No run processes it again", None),
    ],
    VerdictCase.DUPLICATE: [
        (with_orders(WEBHOOK_ORDER, BEFORE), "has 2 orders", "deletes", f"the other program's, {BEFORE.key}"),
        (
            with_orders(WEBHOOK_ORDER, SYNC_ORDER, drift=("duplicate: …",)),
            KEYS,
            "No run changes or deletes an order",
            "usually the sync's, USER#user-1/ORDER#2#x",
        ),
    ],
    VerdictCase.DRIFT: [
        (with_orders(WEBHOOK_ORDER, drift=(DIFFERENCE,)), DIFFERENCE, "No run changes", "correct the order")
    ],
    VerdictCase.LEFT_OVER: [
        (with_orders(SYNC_ORDER, dead_letters=(DEAD,)), "still holds", "dropped or counted as", REDRIVE)
    ],
    VerdictCase.UNPAID_ORDER: [
        (with_orders(WEBHOOK_ORDER, stripe=session), why, "leaves the order", "Do not ship it")
        for session, why in (
            (UNPAID, "At Stripe it is not paid."),
            (replace(UNPAID, **HELD), "authorised and not captured; the hold lapses at 2024-12-04"),
            (replace(PAID, **HELD, skip_reason="awaiting_capture"), "authorised and not captured"),
            (replace(PAID, **CANCELED, skip_reason="payment_failed"), "At Stripe its payment was cancelled."),
            (
                replace(UNPAID, payment_intent_status="requires_payment_method"),
                "At Stripe its payment failed.",
            ),
        )
    ],
    VerdictCase.REFUNDED_ORDER: [
        (
            with_orders(WEBHOOK_ORDER, stripe=replace(PAID, refunded=True)),
            "It was refunded in full or lost in a dispute since",
            "leaves the order",
            None,
        )
    ],
    VerdictCase.OPEN: [
        (
            facts(stripe=replace(PAID, status="open"), prospect=None, **UNLISTED),
            "still open",
            "Once it is completed",
            None,
        )
    ],
    VerdictCase.ABANDONED: [
        (
            facts(stripe=replace(PAID, status="expired"), prospect=None, **UNLISTED),
            "never finished",
            "Runs process completed sessions only",
            None,
        )
    ],
    VerdictCase.DEAD: [
        (
            facts(runs=(FAILED,), dead_letters=(DEAD,)),
            f"Run {RUN} gave it up after 3 attempts (SessionNotFound: Stripe",
            "writes the order",
            f"the order would be written now: {REDRIVE}",
        ),
        (
            facts(dead_letters=(DEAD,), prospect=skip(SkipReason.REFUNDED), **TOO_OLD),
            "in the dead-letter queue until 2024-12-11 02:00 UTC",
            "No run processes",
            f"skipped now, because it was refunded or lost in a dispute: {REDRIVE}",
        ),
        (
            facts(dead_letters=(DEAD,), prospect=FAIL),
            "when SQS deletes it",
            "would currently fail: MalformedSession",
            PURGE,
        ),
        (unknown_at_stripe(dead_letters=(DEAD,), runs=(FAILED,)), "gave it up", "currently no run", PURGE),
    ],
    VerdictCase.DISMISSED: [
        (
            facts(runs=(DISMISSED,), **TOO_OLD),
            "was dismissed by ops: refunded manually",
            "No run processes it again",
            None,
        )
    ],
    VerdictCase.NOT_AT_STRIPE: [
        (
            unknown_at_stripe(runs=(UNPAID_RUN,)),
            f"under the key of the sync. In run {RUN} it was skipped, because it is not paid",
            "currently no run processes it",
            "the account and the mode",
        ),
        (unknown_at_stripe(pending=PENDING), "does not know it", "every scheduled run", "the account"),
    ],
    VerdictCase.STRIPE_UNKNOWN: [
        (
            unreadable_at_stripe(runs=(WRITTEN,)),
            f"In run {RUN} it was written as order BC-1. Stripe could not be read",
            "",
            None,
        ),
        (unreadable_at_stripe(runs=(FAILED,)), "given up (StripeUnavailable", "", "fix that"),
        (unreadable_at_stripe(pending=PENDING), "complete and not paid", "", None),
    ],
    VerdictCase.NOT_A_SALE: [
        (facts(prospect=skip(SkipReason.NOT_A_SALE)), "sells nothing", "skips it: it sells nothing", None)
    ],
    VerdictCase.NO_KEY: [
        (facts(prospect=skip(SkipReason.NO_KEY)), "lacks what the key", "skips it: it lacks what", None)
    ],
    VerdictCase.MISSING: [
        (
            facts(prospect=PredictedOutcome(PredictedAction.MISSING)),
            "paid, and the shop has not done its order",
            "looks for its order, and writes none",
            "nightly-sync missing",
        ),
        (
            facts(prospect=PredictedOutcome(PredictedAction.MISSING), events=(event(),)),
            "paid",
            "looks for its order",
            "stripe events resend",
        ),
    ],
    VerdictCase.NO_USER: [
        (
            facts(prospect=skip(SkipReason.NO_USER)),
            "None of the sources (UserIdSources)",
            "skips it",
            "UserIdSources",
        )
    ],
    VerdictCase.FILTERED: [
        (
            facts(stripe=replace(PAID, left_out_by="metadata.shop=a"), prospect=skip(SkipReason.FILTERED)),
            "It is left out by the filter (SessionFilter): it does not meet metadata.shop=a.",
            "Runs leave it out.",
            None,
        ),
        (
            facts(
                stripe=replace(PAID, left_out_by="mode"), prospect=skip(SkipReason.NO_USER), pending=PENDING
            ),
            "it does not meet mode.",
            "Runs leave it out. It goes on waiting, so that they notice a change of the filter.",
            None,
        ),
    ],
    VerdictCase.PAYMENT_FAILED: [
        (facts(prospect=skip(SkipReason.PAYMENT_FAILED)), "Its payment failed", "skips it", None),
        (
            facts(prospect=skip(SkipReason.PAYMENT_FAILED), stripe=replace(UNPAID, **CANCELED)),
            "a hold is released or lapses",
            "skips it",
            None,
        ),
    ],
    VerdictCase.AWAITING_CAPTURE: [
        (
            facts(prospect=skip(SkipReason.AWAITING_CAPTURE), stripe=replace(UNPAID, **HELD)),
            "not captured; the hold lapses at 2024-12-04 02:00 UTC.",
            "skips it",
            "Capture the payment or cancel it",
        ),
        (
            facts(prospect=skip(SkipReason.AWAITING_CAPTURE), **TOO_OLD),
            "lapses after about seven days. Its order is written after the capture. It is not stored",
            "No run processes",
            BACKFILL,
        ),
    ],
    VerdictCase.REMOVED: [(facts(prospect=skip(SkipReason.REMOVED)), "removed since", "skips it", None)],
    VerdictCase.REFUNDED: [(facts(prospect=skip(SkipReason.REFUNDED)), "refunded in full", "skips it", None)],
    VerdictCase.EXPIRED: [
        (facts(prospect=skip(SkipReason.EXPIRED)), "ORDER_TTL_DAYS", "skips it", None),
        (facts(prospect=skip(SkipReason.EXPIRED), runs=(WRITTEN,)), "older than orders are kept", "", None),
    ],
    VerdictCase.UNPAID: [
        (
            facts(pending=PENDING, **UNPAID_SKIP, **IS_PENDING),
            "stored as pending (until 2025-02-25 02:00 UTC)",
            "as every scheduled run does, and skips it: it is not paid yet",
            None,
        ),
        (facts(**UNPAID_SKIP), "the next run does that", "skips it", None),
    ],
    VerdictCase.UNPAID_UNSEEN: [
        (facts(**UNPAID_SKIP, **TOO_OLD), "no run would notice its payment", "No run processes", BACKFILL)
    ],
    VerdictCase.IN_PROGRESS: [
        (facts(open_run=RUN), f"Run {RUN} is in progress", "main queue cannot be read", None)
    ],
    VerdictCase.GONE: [
        (
            facts(runs=(WRITTEN,)),
            f"Run {RUN} wrote its order BC-1, which does not exist any more",
            "writes the order",
            "it is written again",
        ),
        (facts(runs=(WRITTEN,), **TOO_OLD), "deleted", "No run processes", BACKFILL),
        (facts(runs=(in_run(reason="exists"),)), f"Run {RUN} found its order", "", "Find out what"),
    ],
    VerdictCase.RETRYING: [
        (facts(runs=(FAILED,)), "not in the dead-letter queue", "writes the order", None),
        (facts(runs=(FAILED,), **TOO_OLD), "StripeUnavailable", "No run processes", BACKFILL),
        (facts(runs=(FAILED,), prospect=FAIL), "failed", "would currently fail", "Fix the error"),
    ],
    VerdictCase.FAILING: [
        (
            facts(prospect=FAIL),
            "writing it would fail: MalformedSession: currency must be a string",
            "would currently fail",
            "Fix the error",
        )
    ],
    VerdictCase.WRITTEN_NEXT: [
        (facts(), "no run has an outcome of it", WRITES, None),
        (
            facts(**next_run(looks=Coverage.LATER)),
            "no run",
            "too recent for the next run; the one after",
            None,
        ),
        (
            facts(runs=(UNPAID_RUN,), pending=PENDING, **IS_PENDING),
            f"In run {RUN} it was skipped, because it is not paid yet, which does not apply any more",
            "checks it again",
            None,
        ),
        (facts(**next_run(enabled=None, due=None)), "", "The next scheduled run", None),
    ],
    VerdictCase.OVERLOOKED: [
        (facts(**TOO_OLD), "no run has an outcome", WINDOW_BEGINS, BACKFILL),
        (facts(**next_run(enabled=False, due=None)), "no order", "The schedule is off", BACKFILL),
        (facts(**next_run(dry_run=True)), "no order", "dry runs", BACKFILL),
    ],
}


@pytest.mark.parametrize("case", VerdictCase)
def test_facts_have_the_verdict_and_its_sentences(case):
    assert ROWS[case]
    for known, why, coming, to_do in ROWS[case]:
        verdict = decide_verdict(known)
        assert verdict.case is case
        assert why in verdict.why
        assert coming in verdict.next
        assert (verdict.to_do is None) == (to_do is None)
        assert (to_do or "") in (verdict.to_do or "")
        assert verdict.needs_attention is (to_do is not None)


def test_last_rule_always_applies():
    assert RULES[-1](facts(stripe=None, prospect=None)) is not None


@pytest.mark.parametrize(
    ("delivery", "sentence"),
    [
        (event(delivered=False), "has not been able to deliver its event evt_1"),
        (event(marker=NO_ORDER), "handled its event evt_1 but wrote no order"),
        (event(), "marked as delivered, but the webhook has no record of it"),
        (event(marker=EventMarker("nightly_sync", "completed", True, None)), "had not been delivered"),
        (event(marker=EventMarker("webhook", "processed", True, None)), "no run has an outcome of it."),
        (event(marker=EventMarker("stripe_fallback", "done", True, None)), "no run has an outcome of it."),
        (
            event(marker=EventMarker("stripe_fallback", "done", False, None)),
            "Another program (stripe_fallback) handled its event evt_1 but wrote no order",
        ),
    ],
)
def test_missing_order_is_explained_by_the_event(delivery, sentence):
    assert sentence in decide_verdict(facts(events=(delivery,))).why


def test_recovered_order_is_explained_by_the_event():
    recovered = with_orders(SYNC_ORDER, events=(event(marker=NO_ORDER),))
    assert "handled its event evt_1 but wrote no order" in decide_verdict(recovered).why


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (None, "its payment has not arrived yet."),
        ("processing", "its payment is still being processed"),
        ("requires_action", "the customer has still to act"),
        ("requires_confirmation", "its payment was not confirmed yet."),
        ("succeeded", "Stripe is still updating the session."),
    ],
)
def test_unpaid_session_is_explained_by_its_payment(status, sentence):
    unpaid = replace(UNPAID, payment_intent_status=status)
    verdict = decide_verdict(facts(stripe=unpaid, prospect=skip(SkipReason.UNPAID)))
    assert sentence in verdict.why


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("partly_captured", " Only a part of its payment was captured."),
        ("partly_refunded", " A part of it was refunded."),
        ("disputed", " Its payment is disputed."),
        ("under_review", " Stripe's review of its payment is open."),
        ("fraud_reported", " Its payment was reported as fraudulent."),
        ("a_later_word", ""),
    ],
)
def test_order_is_explained_with_what_its_payment_needs(word, sentence):
    noted = replace(PAID, attention=(word,))
    found, missing = decide_verdict(with_orders(WEBHOOK_ORDER, stripe=noted)), facts(stripe=noted)
    plain = decide_verdict(with_orders(WEBHOOK_ORDER))
    assert found.why == plain.why + sentence
    assert decide_verdict(missing).why == decide_verdict(facts()).why + sentence


def test_order_with_unreadable_time_is_explained_without_it():
    verdict = decide_verdict(with_orders(replace(WEBHOOK_ORDER, updated_at="yesterday")))
    assert verdict.why == "The webhook wrote its order BC-1."
