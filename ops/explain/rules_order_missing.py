"""Rules for sessions whose order does not exist or could not be searched. Pure."""

from ops.explain.facts import OutcomeInRun, SessionFacts
from ops.explain.next_run import (
    backfill_command,
    describe_failure,
    describe_next,
    describe_predicted_skip,
    will_be_processed,
)
from ops.explain.payment_words import describe_attention
from ops.explain.rules_skipped import explain_skip
from ops.explain.verdict_types import SessionVerdict, VerdictCase
from ops.explain.webhook_diagnosis import diagnose_webhook
from ops.format.skip_reasons import describe_stored_skip
from ops.format.text import format_utc
from ops.runs.missing import resend_command
from ops.runs.prediction import PredictedAction
from recon.domain.outcome import Outcome, SkipReason


def _explain_incomplete(facts: SessionFacts) -> SessionVerdict | None:
    status = facts.stripe.status if facts.stripe else "complete"
    if status == "complete":
        return None
    if status == "open":
        why = "The customer has not finished the checkout: it is still open, so there is nothing to write."
        coming = "Once it is completed, the webhook writes its order, or else the next run after that does."
        return SessionVerdict(VerdictCase.OPEN, why, coming)
    why = f"The customer never finished the checkout (its status is {status}), so there is no order."
    return SessionVerdict(VerdictCase.ABANDONED, why, describe_next(facts))


def _explain_dead(facts: SessionFacts) -> SessionVerdict | None:
    if not facts.dead_letters:
        return None
    letter = facts.dead_letters[-1]
    run = f"Run {letter.run_id}" if letter.run_id else "A run"
    attempts = f" after {letter.attempts} attempts" if (letter.attempts or 0) > 1 else ""
    why = (
        f"{run} gave it up{attempts} ({letter.why}). Its message is in the dead-letter queue until "
        f"{format_utc(letter.expires_at)}, when SQS deletes it."
    )
    return SessionVerdict(VerdictCase.DEAD, why, describe_next(facts), _advise_dead(facts))


def _advise_dead(facts: SessionFacts) -> str:
    redrive = f"nightly-sync dlq redrive --session {facts.session_id}"
    purge = f"nightly-sync dlq purge --session {facts.session_id}"
    if facts.prospect is None:
        return f"Fix the cause, then: {redrive} (or dismiss it permanently: {purge})"
    match facts.prospect.would:
        case PredictedAction.CREATE:
            return f"The cause is fixed, and the order would be written now: {redrive}"
        case PredictedAction.SKIP:
            return f"It would be skipped now, because {describe_predicted_skip(facts.prospect)}: {redrive}"
        case PredictedAction.FAIL:
            return (
                f"It would fail again ({describe_failure(facts)}). Fix that first, then: {redrive} "
                f"(or dismiss it permanently: {purge})"
            )
        case PredictedAction.MISSING:
            return f"The shop's order of it is missing, which a run would report: {redrive}"


def _explain_dismissed(facts: SessionFacts) -> SessionVerdict | None:
    if one := facts.dismissal:
        by = f" by {one.by}" if one.by else ""
        because = f": {one.because}" if one.because else ""
        why = f"It was dismissed{by}{because}. No run writes its order."
        coming = f"Runs skip it. To write its order after all: nightly-sync allow {facts.session_id}"
        return SessionVerdict(VerdictCase.DISMISSED, why, f"{coming} --because TEXT")
    latest = facts.latest_run
    if latest is None or latest.reason != SkipReason.DISMISSED:
        return None
    by = f" by {latest.dismissed_by}" if latest.dismissed_by else ""
    because = f": {latest.dismissed_because}" if latest.dismissed_because else ""
    why = f"It failed in run {latest.run_id} and was dismissed{by}{because}."
    return SessionVerdict(VerdictCase.DISMISSED, why, describe_next(facts))


def _explain_not_at_stripe(facts: SessionFacts) -> SessionVerdict | None:
    if facts.is_at_stripe is not False:
        return None
    latest = facts.latest_run
    outcome = f" In run {latest.run_id} it was {_describe_outcome(latest)}." if latest else ""
    return SessionVerdict(
        VerdictCase.NOT_AT_STRIPE,
        f"Stripe does not know it under the key of the sync.{outcome}",
        describe_next(facts),
        "Check that the Stripe key belongs to the account and the mode in which it was sold.",
    )


def _explain_unknown_at_stripe(facts: SessionFacts) -> SessionVerdict | None:
    if facts.stripe:
        return None
    latest, to_do = facts.latest_run, None
    if latest is None:
        why = "It was complete and not paid when a run last saw it."
    else:
        why = f"In run {latest.run_id} it was {_describe_outcome(latest)}."
        if latest.outcome == Outcome.ERROR:
            to_do = "See below why Stripe could not be read, fix that, and explain it again."
    why = f"{why} Stripe could not be read."
    return SessionVerdict(VerdictCase.STRIPE_UNKNOWN, why, describe_next(facts), to_do)


def _explain_in_progress(facts: SessionFacts) -> SessionVerdict | None:
    if facts.open_run is None:
        return None
    why = f"Run {facts.open_run} is in progress and includes it: it waits, is being processed or is retried."
    coming = "The run continues automatically; messages waiting in the main queue cannot be read."
    return SessionVerdict(VerdictCase.IN_PROGRESS, why, coming)


def _explain_missing_at_shop(facts: SessionFacts) -> SessionVerdict | None:
    if facts.prospect is None or facts.prospect.would is not PredictedAction.MISSING:
        return None
    why = "It is paid, and the shop has not done its order."
    if facts.events and not facts.events[-1].delivered:
        why += f" Stripe has not been able to deliver its event {facts.events[-1].id} to the webhook."
    if facts.events and not facts.pending:
        # Runs have not looked for it yet, or look no longer, so `missing` does not list it.
        to_do = f"Ask the shop's webhook again: {resend_command(facts.events[-1].id)}"
    else:
        to_do = "Ask the shop's webhook again: nightly-sync missing prints the command."
    return SessionVerdict(VerdictCase.MISSING, why, describe_next(facts), to_do)


def _explain_gone(facts: SessionFacts) -> SessionVerdict | None:
    run = next((run for run in facts.runs if _had_order(run)), None)
    if run is None:
        return None
    number = f" {run.order_number}" if run.order_number else ""
    did = "wrote" if run.outcome == Outcome.CREATED else "found"
    why = f"Run {run.run_id} {did} its order{number}, which does not exist any more: it was deleted since."
    if will_be_processed(facts):
        to_do = (
            "Find out what deletes orders. If it was intended, refund the session, or it is written again."
        )
    else:
        to_do = f"Find out what deletes orders. To write it again: {backfill_command(facts)}"
    return SessionVerdict(VerdictCase.GONE, why, describe_next(facts), to_do)


def _explain_retrying(facts: SessionFacts) -> SessionVerdict | None:
    latest = facts.latest_run
    if latest is None or latest.outcome != Outcome.ERROR:
        return None
    why = (
        f"It failed in run {latest.run_id} ({latest.error_type}: {latest.error_message}). Its message is not "
        "in the dead-letter queue: it is on its way there, was moved back and is retried, or was deleted."
    )
    return SessionVerdict(VerdictCase.RETRYING, why, describe_next(facts), _advise_missing(facts))


def _explain_failing(facts: SessionFacts) -> SessionVerdict | None:
    if facts.prospect is None or facts.prospect.would is not PredictedAction.FAIL:
        return None
    why = f"There is no order, and writing it would fail: {describe_failure(facts)}.{diagnose_webhook(facts)}"
    return SessionVerdict(VerdictCase.FAILING, why, describe_next(facts), _advise_missing(facts))


def _explain_missing(facts: SessionFacts) -> SessionVerdict:
    latest = facts.latest_run
    if latest:
        outcome = _describe_outcome(latest)
        why = f"There is no order. In run {latest.run_id} it was {outcome}, which does not apply any more."
    else:
        why = "There is no order, and no run has an outcome of it."
    to_do = _advise_missing(facts)
    case = VerdictCase.OVERLOOKED if to_do else VerdictCase.WRITTEN_NEXT
    why += diagnose_webhook(facts) + describe_attention(facts.stripe)
    return SessionVerdict(case, why, describe_next(facts), to_do)


def _advise_missing(facts: SessionFacts) -> str | None:
    """Return what to do, or None if the next run writes the order."""
    if facts.prospect and facts.prospect.would is PredictedAction.FAIL:
        return f"Fix the error. Then process it in a run: {backfill_command(facts)}"
    return None if will_be_processed(facts) else f"Process it in a run: {backfill_command(facts)}"


def _had_order(run: OutcomeInRun) -> bool:
    return run.outcome == Outcome.CREATED or run.reason == SkipReason.EXISTS


def _describe_outcome(run: OutcomeInRun) -> str:
    if run.reason:
        return f"skipped, because {describe_stored_skip(run.reason)}"
    if run.outcome == Outcome.ERROR:
        return f"given up ({run.error_type}: {run.error_message})"
    return f"written as order {run.order_number}" if run.outcome == Outcome.CREATED else run.outcome


# The last one always applies.
RULES = (
    _explain_incomplete,
    _explain_dead,
    _explain_dismissed,
    _explain_not_at_stripe,
    _explain_unknown_at_stripe,
    explain_skip,
    _explain_in_progress,
    _explain_missing_at_shop,
    _explain_gone,
    _explain_retrying,
    _explain_failing,
    _explain_missing,
)
