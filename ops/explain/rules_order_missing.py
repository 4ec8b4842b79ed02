"""Pure: a session whose order is not there, or of which nobody can tell."""

from ops.explain.facts import Facts, InRun
from ops.explain.next_run import backfill, because, failure, looks_again, utc, what_comes
from ops.explain.skip_rules import to_be_skipped
from ops.explain.verdict_types import Case, Verdict
from ops.explain.webhook_diagnosis import cause
from ops.runs.prediction import PredictedAction
from recon.domain.reconcile import Outcome, SkipReason

_ASK_AGAIN = "See below why Stripe could not be asked, mend that, and explain it again."


def _not_complete(facts: Facts) -> Verdict | None:
    status = facts.stripe.status if facts.stripe else "complete"
    if status == "complete":
        return None
    if status == "open":
        why = "The customer has not finished the checkout: it is still open, so there is nothing to write."
        coming = "Once it is completed, the webhook writes its order, or else the next run after that does."
        return Verdict(Case.OPEN, why, coming)
    why = f"The customer never finished the checkout (its status is {status}), so there is no order."
    return Verdict(Case.ABANDONED, why, what_comes(facts))


def _dead(facts: Facts) -> Verdict | None:
    if not facts.dead_letters:
        return None
    letter = facts.dead_letters[-1]
    run = f"Run {letter.run_id}" if letter.run_id else "A run"
    tries = f" after {letter.attempts} attempts" if (letter.attempts or 0) > 1 else ""
    why = (
        f"{run} gave it up{tries} ({letter.why}). Its message lies in the dead-letter queue until "
        f"{utc(letter.expires_at)}, when SQS deletes it."
    )
    return Verdict(Case.DEAD, why, what_comes(facts), _mend_dead(facts))


def _mend_dead(facts: Facts) -> str:
    redrive = f"nightly-sync dlq redrive --session {facts.session_id}"
    purge = f"nightly-sync dlq purge --session {facts.session_id}"
    if facts.prospect is None:
        return f"Mend the cause, then: {redrive} (or give it up for good: {purge})"
    match facts.prospect.would:
        case PredictedAction.CREATE:
            return f"The cause is gone, and now the order would be written: {redrive}"
        case PredictedAction.SKIP:
            return f"Now it would be skipped, since {because(facts.prospect.reason)}: {redrive}"
        case PredictedAction.FAIL:
            return (
                f"It would fail again ({failure(facts)}). Mend that first, then: {redrive} "
                f"(or give it up for good: {purge})"
            )


def _dismissed(facts: Facts) -> Verdict | None:
    latest = _latest(facts)
    if latest is None or latest.reason != SkipReason.DISMISSED:
        return None
    by = f" by {latest.dismissed_by}" if latest.dismissed_by else ""
    because_of = f": {latest.dismissed_because}" if latest.dismissed_because else ""
    why = f"It failed in run {latest.run_id} and was dismissed{by}{because_of}."
    return Verdict(Case.DISMISSED, why, what_comes(facts))


def _not_at_stripe(facts: Facts) -> Verdict | None:
    if facts.is_at_stripe is not False:
        return None
    latest = _latest(facts)
    seen = f" Run {latest.run_id} saw it ({_outcome(latest)})." if latest else ""
    to_do = "Check that the Stripe key is of the account and the mode in which it was sold."
    why = f"Stripe does not know it under the key of the sync.{seen}"
    return Verdict(Case.NOT_AT_STRIPE, why, what_comes(facts), to_do)


def _stripe_unknown(facts: Facts) -> Verdict | None:
    if facts.stripe:
        return None
    latest = _latest(facts)
    to_do = None
    if latest is None:
        why = "It was complete and not paid when a run saw it last."
    else:
        why = f"In run {latest.run_id} it was {_outcome(latest)}."
        to_do = _ASK_AGAIN if latest.outcome == Outcome.ERROR else None
    return Verdict(
        Case.STRIPE_UNKNOWN, f"{why} Stripe could not be asked how it is now.", what_comes(facts), to_do
    )


def _in_progress(facts: Facts) -> Verdict | None:
    if facts.open_run is None:
        return None
    why = f"Run {facts.open_run} is going on and holds it: it waits, is worked on, or is tried again."
    coming = "The run goes on by itself; what waits in the main queue cannot be looked at."
    return Verdict(Case.IN_PROGRESS, why, coming)


def _gone(facts: Facts) -> Verdict | None:
    seen = next((run for run in facts.runs if _had_order(run)), None)
    if seen is None:
        return None
    number = f" {seen.order_number}" if seen.order_number else ""
    did = "wrote" if seen.outcome == Outcome.CREATED else "found"
    why = (
        f"Run {seen.run_id} {did} its order{number}, and it is there no more: somebody has deleted it since."
    )
    return Verdict(Case.GONE, why, what_comes(facts), _mend_gone(facts))


def _mend_gone(facts: Facts) -> str:
    if looks_again(facts):
        return "Find out who deletes orders. If that was meant, refund the session, or it is written again."
    return f"Find out who deletes orders. To have it written again: {backfill(facts)}"


def _retrying(facts: Facts) -> Verdict | None:
    latest = _latest(facts)
    if latest is None or latest.outcome != Outcome.ERROR:
        return None
    why = (
        f"It failed in run {latest.run_id} ({latest.error_type}: {latest.error_message}). Its message is not "
        "in the dead-letter queue: it is on its way there, was moved back and is tried again, or was deleted."
    )
    return Verdict(Case.RETRYING, why, what_comes(facts), _mend_missing(facts))


def _failing(facts: Facts) -> Verdict | None:
    if facts.prospect is None or facts.prospect.would is not PredictedAction.FAIL:
        return None
    why = f"There is no order, and writing it would fail: {failure(facts)}.{cause(facts)}"
    return Verdict(Case.FAILING, why, what_comes(facts), _mend_missing(facts))


def _missing(facts: Facts) -> Verdict:
    latest = _latest(facts)
    if latest:
        why = f"There is no order. In run {latest.run_id} it was {_outcome(latest)}, which holds no longer."
    else:
        why = "There is no order, and no run has an outcome of it."
    to_do = _mend_missing(facts)
    case = Case.OVERLOOKED if to_do else Case.WRITTEN_NEXT
    return Verdict(case, why + cause(facts), what_comes(facts), to_do)


def _mend_missing(facts: Facts) -> str | None:
    """Nothing, where the next run writes the order by itself."""
    if facts.prospect and facts.prospect.would is PredictedAction.FAIL:
        return f"Mend what fails. Then have a run look at it: {backfill(facts)}"
    return None if looks_again(facts) else f"Have a run look at it: {backfill(facts)}"


def _latest(facts: Facts) -> InRun | None:
    return facts.runs[0] if facts.runs else None


def _had_order(run: InRun) -> bool:
    return run.outcome == Outcome.CREATED or run.reason == SkipReason.EXISTS


def _outcome(run: InRun) -> str:
    if run.reason:
        return f"skipped, since {because(run.reason)}"
    if run.outcome == Outcome.ERROR:
        return f"given up ({run.error_type}: {run.error_message})"
    return f"written as order {run.order_number}" if run.outcome == Outcome.CREATED else run.outcome


# The last one always applies.
RULES = (
    _not_complete,
    _dead,
    _dismissed,
    _not_at_stripe,
    _stripe_unknown,
    to_be_skipped,
    _in_progress,
    _gone,
    _retrying,
    _failing,
    _missing,
)
