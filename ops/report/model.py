"""The content of a report. Times are epoch seconds, a day is its midnight in UTC, amounts are `Money`."""

from collections import Counter
from dataclasses import dataclass

from ops.format.money import Money, totals
from ops.runs.attention import AttentionGroup
from ops.runs.system_state import SystemState
from recon.domain.outcome import Outcome
from recon.domain.run import RunStatus
from recon.timestamps import DAY

_ALL_TENTHS = 1_000  # of a percent


@dataclass(frozen=True)
class Share:
    """A part of a whole, both as counts."""

    part: int
    whole: int

    @property
    def basis_points(self) -> int:
        """Return the share in hundredths of a percent, rounded down; 0 if the whole is 0."""
        return self.part * 10_000 // self.whole if self.whole else 0

    def __str__(self) -> str:
        """Return `2.3%`; only exact shares are shown as `0%` and `100%`."""
        if not self.whole:
            return "-"
        if self.part in (0, self.whole):
            return "100%" if self.part else "0%"
        tenths = (2 * _ALL_TENTHS * self.part + self.whole) // (2 * self.whole)
        if tenths == 0:
            return "under 0.1%"
        return "over 99.9%" if tenths == _ALL_TENTHS else f"{tenths // 10}.{tenths % 10}%"


@dataclass(frozen=True)
class RunLine:
    """A run as its own record describes it. `seconds` is None until it has ended.

    `status` is that of the command: running, success, completed_with_errors, held or failed. `failure` is the
    type of the error that a failed run ended with, if its record has one. `is_stalled` is True if the run is
    open and its producer was killed. `warnings` counts its warnings.
    """

    run_id: str
    trigger: str
    started_at: int
    status: str
    seconds: int | None = None
    enqueued: int = 0
    processed: int = 0
    created: int = 0
    skipped: int = 0
    errors: int = 0
    drifted: int = 0
    filtered: int = 0
    failure: str | None = None
    is_stalled: bool = False
    warnings: int = 0

    @property
    def trouble(self) -> str | None:
        """Return why the run did not succeed, such as `failed: KeyRejected`, or None."""
        if self.is_stalled:
            return "its producer was killed"
        if self.status not in (RunStatus.FAILED, RunStatus.HELD):
            return None
        return f"{self.status}: {self.failure}" if self.failure else self.status

    @property
    def day(self) -> int:
        return find_midnight(self.started_at)


@dataclass(frozen=True)
class ReportedOrder:
    """An order that a run wrote. `money` is None if its amount is unknown."""

    session_id: str
    day: int
    run_id: str
    order_number: str | None = None
    money: Money | None = None


@dataclass(frozen=True)
class FailedSession:
    """A session that a run gave up, from the latest such outcome.

    `fate` is what became of it since then: `error` as long as it is open.
    """

    session_id: str
    day: int
    run_id: str
    error_type: str
    error_message: str
    attempts: int | None
    fate: str
    money: Money | None = None

    @property
    def is_open(self) -> bool:
        return self.fate == Outcome.ERROR


@dataclass(frozen=True)
class DriftedOrder:
    """An order that differs from Stripe, from the latest outcome that says so."""

    session_id: str
    day: int
    run_id: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class ExpiredOutcomes:
    """Orders and errors that only the counters of `runs` runs show, because the outcomes have expired."""

    runs: int = 0
    created: int = 0
    errors: int = 0


@dataclass(frozen=True)
class DayTotals:
    """The runs that began on one day. Each session belongs to one day, so the days add up to the totals.

    `money` is that of the recovered orders but `unknown_amounts`. `longest` is the longest run that has
    ended, in seconds, or None if there is none. `troubles` says of each run that did not succeed why.
    """

    day: int
    runs: int = 0
    recovered: int = 0
    money: tuple[Money, ...] = ()
    unknown_amounts: int = 0
    missed: Share = Share(0, 0)
    errors: int = 0
    longest: int | None = None
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True)
class SyncReport:
    """A period of whole days up to `generated_at`. Runs and sessions are newest first.

    `state` is that of the whole system now. `days` begin with the first run if the period begins before it.

    `fates` is how many sessions have each result (`created`, the reason of a skip, `error`), highest number
    first; each session is counted once, however many runs processed it. `attention` has the sessions that
    wait for a person now, whenever they were sold.
    """

    stack: str
    state: SystemState
    generated_at: int
    start: int
    days: tuple[DayTotals, ...]
    runs: tuple[RunLine, ...]
    recovered: tuple[ReportedOrder, ...]
    failed: tuple[FailedSession, ...]
    drifted: tuple[DriftedOrder, ...]
    fates: tuple[tuple[str, int], ...]
    missed: Share
    gone: ExpiredOutcomes
    attention: tuple[AttentionGroup, ...] = ()

    @property
    def recovered_count(self) -> int:
        """Return how many orders runs wrote, including those whose outcomes have expired."""
        return len(self.recovered) + self.gone.created

    @property
    def money(self) -> list[Money]:
        """Return one total per currency."""
        return totals(order.money for order in self.recovered if order.money)

    def list_leading(self, count: int) -> list[Money]:
        """Return the totals of the currencies with the most orders, so many at most, in their usual order."""
        orders = Counter(order.money.currency for order in self.recovered if order.money)
        ranked = sorted(self.money, key=lambda one: (-orders[one.currency], one.currency))
        return [one for one in self.money if one in ranked[:count]]

    @property
    def without_amount(self) -> int:
        """Return how many listed orders have an unknown amount. A free one is known."""
        return sum(order.money is None for order in self.recovered)

    @property
    def unknown_amounts(self) -> int:
        """Return how many recovered orders `money` does not include."""
        return self.without_amount + self.gone.created

    @property
    def open_errors(self) -> int:
        return sum(failed.is_open for failed in self.failed)

    @property
    def unfinished_runs(self) -> int:
        return sum(run.status == RunStatus.RUNNING for run in self.runs)

    @property
    def stopped_runs(self) -> int:
        """Return how many runs did not succeed."""
        return sum(run.trouble is not None for run in self.runs)


def find_midnight(epoch: int) -> int:
    """Return the beginning of the day in UTC."""
    return epoch - epoch % DAY
