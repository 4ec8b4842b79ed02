"""The description of a failed or stalled run, and the command to start with."""

from dataclasses import dataclass

from ops.format.money import Money
from ops.format.text import format_time, quantity
from ops.runs.history import PastRun
from recon.domain.run import RunStatus
from recon.dynamodb.records import Sample
from recon.errors import ConfigError, KeyNotAllowed, KeyRejected, KeyUnavailable, NotAllowed

DOCTOR = "nightly-sync doctor"
_KEY_ERRORS = frozenset(kind.__name__ for kind in (KeyRejected, KeyNotAllowed, KeyUnavailable))
_ADVICE = dict.fromkeys(
    _KEY_ERRORS, "check the Stripe key in its SSM parameter: its value, its account, its permissions"
) | {
    NotAllowed.__name__: "the producer's role lacks the permission that is named",
    ConfigError.__name__: "correct the producer's settings",
}


@dataclass(frozen=True)
class StatusFinding:
    """A problem and the command to start with."""

    what: str
    command: str


def describe_failure(run: PastRun) -> StatusFinding | None:
    """Return the finding of a failed, stalled or held run, and None for any other."""
    logs = f"nightly-sync logs {run.run_id}"
    if run.stalled_since:
        since = f"since {format_time(run.stalled_since)} UTC, longer than an invocation can last"
        return StatusFinding(f"run {run.run_id} has made no progress {since}: its producer was killed", logs)
    if run.status == RunStatus.HELD:
        return StatusFinding(f"run {run.run_id} was held: {_describe_sample(run.sample)}", DOCTOR)
    if run.status != RunStatus.FAILED:
        return None
    if run.failure is None:
        return StatusFinding(f"run {run.run_id} failed: its listing stopped", logs)
    attempt = f" in attempt {run.failure.attempts}" if run.failure.attempts > 1 else ""
    cause = describe_cause(run.failure.error_type, run.failure.message)
    command = next_command(run.failure.error_type, run.run_id)
    return StatusFinding(f"run {run.run_id} failed{attempt}: {cause}", command)


def _describe_sample(sample: Sample | None) -> str:
    nothing = "nothing was sent or written"
    if sample is None:
        return nothing
    money = ", ".join(str(Money(currency, amount)) for currency, amount in sorted(sample.amounts.items()))
    worth = f", {money}" if money else ""
    return (
        f"{nothing}. Of {quantity(sample.size, 'paid session')} that it looked up, it would have created "
        f"{quantity(sample.missing, 'order')}{worth}"
    )


def describe_cause(error_type: str, message: str) -> str:
    """Return an error's type, its message and what to check."""
    advice = _ADVICE.get(error_type)
    return ": ".join(filter(None, (error_type, message))) + (f"; {advice}" if advice else "")


def next_command(error_type: str, run_id: str | None) -> str:
    """Return the command that finds the cause. `run_id` is None if the failure left no record."""
    if run_id is None or error_type in _KEY_ERRORS or error_type == ConfigError.__name__:
        return DOCTOR
    return f"nightly-sync logs {run_id}"
