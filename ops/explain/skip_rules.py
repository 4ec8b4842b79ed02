"""Pure: a session that the consumer leaves alone by design: nothing is owed, or not yet, or to nobody."""

from ops.explain.facts import Facts
from ops.explain.next_run import backfill, looks_again, utc, what_comes
from ops.explain.verdict_types import Case, Verdict
from ops.runs.prediction import PredictedAction
from recon.domain.reconcile import SkipReason


def to_be_skipped(facts: Facts) -> Verdict | None:
    reason = (
        facts.prospect.reason if facts.prospect and facts.prospect.would is PredictedAction.SKIP else None
    )
    match reason:
        case SkipReason.NOT_A_SALE:
            return Verdict(Case.NOT_A_SALE, "It saves a payment method and sells nothing.", what_comes(facts))
        case SkipReason.NO_USER:
            return _no_user(facts)
        case SkipReason.UNPAID:
            return _unpaid(facts)
        case SkipReason.REFUNDED:
            why = "There is no order, and its money went back, in full or by a lost dispute: none is written."
            return Verdict(Case.REFUNDED, why, what_comes(facts))
        case SkipReason.EXPIRED:
            why = "It is older than orders are kept (ORDER_TTL_DAYS), so its order is not written any more."
            return Verdict(Case.EXPIRED, why, what_comes(facts))
    return None


def _no_user(facts: Facts) -> Verdict:
    return Verdict(
        Case.NO_USER,
        "Neither its metadata (userId, user_id) nor an e-mail address says whose order it would be.",
        what_comes(facts),
        "Write its order by hand if one is owed; have the shop set metadata.userId when it opens a checkout.",
    )


def _unpaid(facts: Facts) -> Verdict:
    why = "It is completed and not paid: a delayed payment method that has not settled yet."
    if facts.pending:
        until = f" (until {utc(facts.pending.asked_until)})" if facts.pending.asked_until else ""
        return Verdict(Case.UNPAID, f"{why} It is kept as pending{until}.", what_comes(facts))
    if looks_again(facts):
        return Verdict(
            Case.UNPAID, f"{why} It is not kept as pending yet; the next run does that.", what_comes(facts)
        )
    return Verdict(
        Case.UNPAID_UNSEEN,
        f"{why} It is not kept as pending, so no run would see it paid.",
        what_comes(facts),
        f"Have a run look at it, which keeps it: {backfill(facts)}",
    )
