"""What a report says. Times are epoch seconds, a day is its midnight in UTC, amounts are `Money`."""

from collections import Counter
from dataclasses import dataclass

from ops.format.money import Money, totals
from recon.domain.reconcile import Outcome
from recon.dynamodb.records import FAILED, RUNNING
from recon.timestamps import DAY

_ALL_TENTHS = 1_000  # of a percent


@dataclass(frozen=True)
class Share:
    """`part` of `whole`, both counts."""

    part: int
    whole: int

    @property
    def basis_points(self) -> int:
        """Hundredths of a percent, rounded down; 0 of nothing."""
        return self.part * 10_000 // self.whole if self.whole else 0

    def __str__(self) -> str:
        """`2.3%`. What is not none is never shown as none, nor what is not all as all."""
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
    """A run by its own record. `seconds` is None until it has ended. `failure` is the type of the error that
    a failed run ended with, where its record says so."""

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
    failure: str | None = None

    @property
    def day(self) -> int:
        return midnight(self.started_at)


@dataclass(frozen=True)
class Recovered:
    """An order that a run wrote. `money` is None where its outcome names no amount."""

    session_id: str
    day: int
    run_id: str
    order_number: str | None = None
    money: Money | None = None


@dataclass(frozen=True)
class Failed:
    """A session that a run gave up, by the latest of these outcomes. `fate` is what has become of it since:
    `error` as long as it is open."""

    session_id: str
    day: int
    run_id: str
    error_type: str
    error_message: str
    attempts: int | None
    fate: str

    @property
    def is_open(self) -> bool:
        return self.fate == Outcome.ERROR


@dataclass(frozen=True)
class Drifted:
    """A session whose order says something else than Stripe, by the latest look at it."""

    session_id: str
    day: int
    run_id: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Gone:
    """What only the counters of runs still know, since the outcomes have expired: of `runs` runs so many
    orders and errors."""

    runs: int = 0
    created: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Day:
    """A day of the period, by the start of its runs; each session belongs to one day, so that days add up.

    `longest` is its longest run that has ended, in seconds; None where there is none.
    """

    day: int
    runs: int = 0
    recovered: int = 0
    money: tuple[Money, ...] = ()
    missed: Share = Share(0, 0)
    errors: int = 0
    longest: int | None = None


@dataclass(frozen=True)
class Report:
    """A period of whole days up to the moment it was made. Runs and sessions come newest first.

    `fates`: how many sessions ended as what (`created`, the reason of a skip, `error`), most first; each
    session once, however many runs saw it.
    """

    stack: str
    generated_at: int
    start: int
    days: tuple[Day, ...]
    runs: tuple[RunLine, ...]
    recovered: tuple[Recovered, ...]
    failed: tuple[Failed, ...]
    drifted: tuple[Drifted, ...]
    fates: tuple[tuple[str, int], ...]
    missed: Share
    gone: Gone

    @property
    def recovered_count(self) -> int:
        """Also those whose outcomes have expired."""
        return len(self.recovered) + self.gone.created

    @property
    def money(self) -> list[Money]:
        """One total for each currency, those of most orders first."""
        money = [order.money for order in self.recovered if order.money]
        orders = Counter(one.currency for one in money)
        return sorted(totals(money), key=lambda total: -orders[total.currency])

    @property
    def without_amount(self) -> int:
        """Listed orders of which no amount is known."""
        return sum(order.money is None for order in self.recovered)

    @property
    def unknown_amounts(self) -> int:
        """Recovered orders that `money` is without."""
        return self.without_amount + self.gone.created

    @property
    def open_errors(self) -> int:
        return sum(failed.is_open for failed in self.failed)

    @property
    def unfinished_runs(self) -> int:
        return sum(run.status == RUNNING for run in self.runs)

    @property
    def failed_runs(self) -> int:
        return sum(run.status == FAILED for run in self.runs)


def midnight(epoch: int) -> int:
    """The beginning of its day in UTC."""
    return epoch - epoch % DAY
