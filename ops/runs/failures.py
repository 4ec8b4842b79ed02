"""A run that failed or stalled: what to say about it, and the command to begin with."""

from ops.format.text import when
from ops.runs.history import PastRun
from recon.domain.run import RunStatus
from recon.errors import ConfigError, KeyNotAllowed, KeyRejected, KeyUnavailable, NotAllowed

DOCTOR = "nightly-sync doctor"
_OF_THE_KEY = frozenset(kind.__name__ for kind in (KeyRejected, KeyNotAllowed, KeyUnavailable))
_ADVICE = dict.fromkeys(
    _OF_THE_KEY, "check the Stripe key in its SSM parameter: its value, its account, its permissions"
) | {
    NotAllowed.__name__: "the producer's role lacks the permission that is named",
    ConfigError.__name__: "correct the producer's settings",
}


def describe_trouble(run: PastRun) -> tuple[str, str] | None:
    """Return what is wrong with a run that failed or stalled, and the command to begin with. Return None for
    any other run."""
    if run.stalled_since:
        since = f"since {when(run.stalled_since)} UTC, longer than an invocation can last"
        what = f"run {run.run_id} has made no progress {since}: its producer was killed"
        return what, f"nightly-sync logs {run.run_id}"
    if run.status != RunStatus.FAILED:
        return None
    if run.failure is None:
        return f"run {run.run_id} failed: its listing stopped", f"nightly-sync logs {run.run_id}"
    attempt = f" in attempt {run.failure.attempts}" if run.failure.attempts > 1 else ""
    return (
        f"run {run.run_id} failed{attempt}: {in_words(run.failure.error_type, run.failure.message)}",
        next_command(run.failure.error_type, run.run_id),
    )


def in_words(error_type: str, message: str) -> str:
    """Return an error's type, its text and what to check."""
    advice = _ADVICE.get(error_type)
    return ": ".join(filter(None, (error_type, message))) + (f"; {advice}" if advice else "")


def next_command(error_type: str, run_id: str | None) -> str:
    """Return the command that finds the cause. `run_id` is None where the failure left no record."""
    if run_id is None or error_type in _OF_THE_KEY or error_type == ConfigError.__name__:
        return DOCTOR
    return f"nightly-sync logs {run_id}"
