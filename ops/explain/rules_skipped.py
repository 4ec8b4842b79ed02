"""Rules for sessions that the consumer skips: no order is due, or not yet, or it has no user. Pure."""

from typing import assert_never

from ops.explain.facts import SessionFacts
from ops.explain.next_run import backfill_command, describe_next, will_be_processed
from ops.explain.payment_words import describe_failure, describe_hold, describe_unpaid
from ops.explain.verdict_types import SessionVerdict, VerdictCase
from ops.format.text import format_utc
from ops.runs.prediction import PredictedAction
from recon.domain.outcome import SkipReason


def explain_skip(facts: SessionFacts) -> SessionVerdict | None:  # noqa: C901, PLR0911 - one case per reason
    """Return the verdict on a session that the consumer would skip although its order does not exist."""
    if facts.stripe and facts.stripe.left_out_by:
        why = f"It is left out by the filter (SessionFilter): it does not meet {facts.stripe.left_out_by}."
        return SessionVerdict(VerdictCase.FILTERED, why, describe_next(facts))
    prospect = facts.prospect
    reason = prospect.reason if prospect and prospect.would is PredictedAction.SKIP else None
    match reason:
        case SkipReason.NOT_A_SALE:
            why = "It saves a payment method and sells nothing."
            return SessionVerdict(VerdictCase.NOT_A_SALE, why, describe_next(facts))
        case SkipReason.NO_USER:
            return _explain_no_user(facts)
        case SkipReason.UNPAID:
            return _explain_unpaid(facts)
        case SkipReason.REFUNDED:
            why = "It was refunded in full or lost in a dispute before its order existed, so none is written."
            return SessionVerdict(VerdictCase.REFUNDED, why, describe_next(facts))
        case SkipReason.PAYMENT_FAILED:
            why = describe_failure(facts.stripe)
            return SessionVerdict(VerdictCase.PAYMENT_FAILED, why, describe_next(facts))
        case SkipReason.AWAITING_CAPTURE:
            return _explain_hold(facts)
        case SkipReason.GONE:
            why = "Stripe no longer finds it with the shop's key, so no order can be written."
            return SessionVerdict(VerdictCase.NOT_AT_STRIPE, why, describe_next(facts))
        case SkipReason.REMOVED:
            why = "The sync wrote its order once and the order was removed since, so it is not written again."
            return SessionVerdict(VerdictCase.REMOVED, why, describe_next(facts))
        case SkipReason.EXPIRED:
            why = "It is older than orders are kept (ORDER_TTL_DAYS), so its order is not written any more."
            return SessionVerdict(VerdictCase.EXPIRED, why, describe_next(facts))
        case SkipReason.NO_KEY:
            why = "It lacks what the key in shape.toml needs, so it is taken for no order of this shop."
            return SessionVerdict(VerdictCase.NO_KEY, why, describe_next(facts))
        case SkipReason.EXISTS | SkipReason.DISMISSED | SkipReason.FILTERED | None:
            return None
    assert_never(reason)


def _explain_no_user(facts: SessionFacts) -> SessionVerdict:
    return SessionVerdict(
        VerdictCase.NO_USER,
        "None of the sources (UserIdSources) gives a user id with a letter or digit for its order.",
        describe_next(facts),
        "If an order is due, write it manually; have the shop set metadata.userId when it opens a checkout, "
        "or deploy with UserIdSources that name where the user id is.",
    )


def _explain_hold(facts: SessionFacts) -> SessionVerdict:
    why = f"{describe_hold(facts.stripe)} Its order is written after the capture."
    to_do = "Capture the payment or cancel it, in Stripe's Dashboard or by your own program."
    if not facts.pending and not will_be_processed(facts):
        why = f"{why} It is not stored as pending, so no run would notice the capture."
        to_do = f"{to_do} Then process it in a run: {backfill_command(facts)}"
    return SessionVerdict(VerdictCase.AWAITING_CAPTURE, why, describe_next(facts), to_do)


def _explain_unpaid(facts: SessionFacts) -> SessionVerdict:
    why = describe_unpaid(facts.stripe)
    if facts.pending:
        until = f" (until {format_utc(facts.pending.asked_until)})" if facts.pending.asked_until else ""
        return SessionVerdict(
            VerdictCase.UNPAID, f"{why} It is stored as pending{until}.", describe_next(facts)
        )
    if will_be_processed(facts):
        why = f"{why} It is not stored as pending yet; the next run does that."
        return SessionVerdict(VerdictCase.UNPAID, why, describe_next(facts))
    return SessionVerdict(
        VerdictCase.UNPAID_UNSEEN,
        f"{why} It is not stored as pending, so no run would notice its payment.",
        describe_next(facts),
        f"Process it in a run, which stores it: {backfill_command(facts)}",
    )
