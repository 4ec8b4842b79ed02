"""The description of a failed, stalled or held run, and the command to start with."""

from ops.format.text import format_time, quantity
from ops.runs.finding import StatusFinding
from ops.runs.history import PastRun
from recon.domain.run import RunStatus
from recon.errors import ConfigError, KeyNotAllowed, KeyRejected, KeyUnavailable, NotAllowed

DOCTOR = "nightly-sync doctor"
# The warnings that say why a run is held.
HOLD_WARNINGS = ("wrong_key", "unproven")
_HELD = "nothing was sent or written; compare account, mode, layout and filter"
_KEY_ERRORS = frozenset(kind.__name__ for kind in (KeyRejected, KeyNotAllowed, KeyUnavailable))
_ADVICE = dict.fromkeys(
    _KEY_ERRORS, "check the Stripe key in its SSM parameter: its value, its account, its permissions"
) | {
    NotAllowed.__name__: "the producer's role lacks the permission that is named",
    ConfigError.__name__: "correct the producer's settings",
}


def describe_failure(run: PastRun) -> StatusFinding | None:
    """Return the finding of a failed, stalled or held run, and None for any other."""
    logs = f"nightly-sync logs {run.run_id}"
    if run.stalled_since:
        since = f"since {format_time(run.stalled_since)} UTC, longer than an invocation can last"
        what = f"run {run.run_id} has made no progress {since}: its producer was killed"
        return StatusFinding("producer_died", what, logs)
    if run.status == RunStatus.HELD:
        return _describe_hold(run)
    if run.status != RunStatus.FAILED:
        return None
    if run.failure is None:
        return StatusFinding("run_failed", f"run {run.run_id} failed: its listing stopped", logs)
    attempt = f" in attempt {run.failure.attempts}" if run.failure.attempts > 1 else ""
    cause = describe_cause(run.failure.error_type, run.failure.message)
    command = next_command(run.failure.error_type, run.run_id)
    return StatusFinding("run_failed", f"run {run.run_id} failed{attempt}: {cause}", command)


def _describe_hold(run: PastRun) -> StatusFinding:
    why = next((one for one in run.warnings if one.partition(":")[0] in HOLD_WARNINGS), _HELD)
    what = f"run {run.run_id} was held: {why}"
    if run.sample is None:
        return StatusFinding("run_held", what, DOCTOR)
    what += (
        f". Of {quantity(run.sample.size, 'paid session')} that it looked up, it would have created "
        f"{quantity(run.sample.missing, 'order')}"
    )
    return StatusFinding("run_held", what, DOCTOR, run.sample.missing, run.sample.money)


def describe_cause(error_type: str, message: str) -> str:
    """Return an error's type, its message and what to check."""
    advice = _ADVICE.get(error_type)
    return ": ".join(filter(None, (error_type, message))) + (f"; {advice}" if advice else "")


def next_command(error_type: str, run_id: str | None) -> str:
    """Return the command that finds the cause. `run_id` is None if the failure left no record."""
    if run_id is None or error_type in _KEY_ERRORS or error_type == ConfigError.__name__:
        return DOCTOR
    return f"nightly-sync logs {run_id}"
