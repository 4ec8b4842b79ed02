"""Past runs in the form that the commands show."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ops.format.money import Money, to_money, totals
from ops.format.text import standard_time
from recon.domain.run import RunStatus
from recon.dynamodb.records import Failure, Run, Sample
from recon.dynamodb.runs import is_stalled

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class RunFailure:
    """The error that a run failed with, from its last failed invocation of `attempts`."""

    error_type: str
    message: str
    at: str | None
    attempts: int
    request_id: str | None


@dataclass(frozen=True)
class HeldSample:
    """Paid sessions that a held run looked up: how many, how many have no order, and their money."""

    size: int
    missing: int
    money: tuple[Money, ...]


@dataclass(frozen=True)
class PastRun:
    """The record of a run.

    `seconds` is how long the run took or has been open. `status` is that of the producer's response: running,
    success, completed_with_errors, held or failed. `filtered` sessions were left out by the filter. `failure`
    is the cause, if the producer could record it. `sample` is what a held run would have created.
    `stalled_since` is set if an open run makes no progress.
    `missing` counts the orders that another shop's layout lacks.
    """

    run_id: str
    trigger: str
    status: str
    started_at: str | None
    completed_at: str | None
    seconds: int | None
    window_from: datetime
    window_to: datetime
    enqueued: int
    processed: int
    created: int
    skipped: int
    errors: int
    drifted: int
    filtered: int
    truncated: bool
    warnings: tuple[str, ...]
    failure: RunFailure | None = None
    stalled_since: datetime | None = None
    sample: HeldSample | None = None
    missing: int = 0

    @property
    def needs_attention(self) -> bool:
        """Return True if an operator should inspect the run."""
        incomplete = self.status in (RunStatus.FAILED, RunStatus.HELD) or self.stalled_since
        found = self.errors or self.missing or self.drifted
        return bool(incomplete or found or self.truncated or self.warnings)


def past_run(run: Run, now: int) -> PastRun:
    """Convert a run's record. `now` is in epoch seconds."""
    return PastRun(
        run_id=run.run_id,
        trigger=run.trigger,
        status=display_status(run),
        started_at=standard_time(run.started_at),
        completed_at=standard_time(run.completed_at),
        seconds=_seconds(run, now),
        window_from=datetime.fromtimestamp(run.lookback_start, UTC),
        window_to=datetime.fromtimestamp(run.lookback_end, UTC),
        enqueued=run.enqueued,
        processed=run.processed,
        created=run.created,
        skipped=run.skipped,
        errors=run.errors,
        drifted=run.drifted,
        filtered=run.filtered,
        truncated=run.truncated,
        warnings=run.warnings,
        failure=_to_failure(run.failure) if run.failure else None,
        stalled_since=datetime.fromtimestamp(run.listing_moved_at, UTC) if is_stalled(run, now) else None,
        sample=_to_sample(run.sample) if run.sample else None,
        missing=run.missing,
    )


def _to_failure(failure: Failure) -> RunFailure:
    return RunFailure(
        failure.error_type,
        failure.message,
        standard_time(failure.at),
        failure.attempts,
        failure.request_id or None,
    )


def _to_sample(sample: Sample) -> HeldSample:
    money = (to_money(amount, currency) for currency, amount in sample.amounts.items())
    return HeldSample(sample.size, sample.missing, tuple(totals(one for one in money if one)))


def display_status(run: Run) -> str:
    """Return the status, with success or completed_with_errors in place of the record's `done`."""
    if run.status != RunStatus.DONE:
        return run.status
    return "completed_with_errors" if run.errors else "success"


def _seconds(run: Run, now: int) -> int | None:
    started, ended = run.started_epoch, run.completed_epoch if run.completed_at else now
    return None if started is None or ended is None else ended - started


def sparkline(numbers: list[int]) -> str:
    """Return one bar per number, scaled to the largest; empty if all are zero."""
    highest = max(numbers, default=0)
    if highest <= 0:
        return ""
    return "".join(_BARS[round(number / highest * (len(_BARS) - 1))] for number in numbers)
