"""The outcomes of several runs combined by session. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ops.format.money import Money
from ops.report.model import DriftedOrder, FailedSession, ReportedOrder, RunLine
from recon.domain.outcome import Outcome, SkipReason


@dataclass(frozen=True)
class StoredOutcome:
    """The outcome of one session in one run."""

    session_id: str
    outcome: str
    reason: str | None = None
    order_number: str | None = None
    money: Money | None = None
    error_type: str = "-"
    error_message: str = ""
    attempts: int | None = None
    drift: tuple[str, ...] = ()

    @property
    def fate(self) -> str:
        """Return the reason of a skip, otherwise the outcome; values of other versions are kept."""
        return self.reason or self.outcome


@dataclass
class SessionHistory:
    """Collects the last outcome of each session. Add the runs oldest first."""

    _created: dict[str, ReportedOrder] = field(default_factory=dict)
    _existing: dict[str, int] = field(default_factory=dict)  # the day when its order was first found
    _failed: dict[str, FailedSession] = field(default_factory=dict)
    _drifted: dict[str, DriftedOrder] = field(default_factory=dict)
    _latest: dict[str, str] = field(default_factory=dict)

    def add(self, run: RunLine, outcomes: Iterable[StoredOutcome]) -> Counter[str]:
        """Add the outcomes of a run and return how many of each kind it still has."""
        counts: Counter[str] = Counter()
        for outcome in outcomes:
            counts[outcome.outcome] += 1
            self._add(run, outcome)
        return counts

    def _add(self, run: RunLine, one: StoredOutcome) -> None:
        name = one.session_id
        self._latest[name] = one.fate
        if one.outcome == Outcome.CREATED:
            order = ReportedOrder(name, run.day, run.run_id, one.order_number, one.money)
            self._created.setdefault(name, order)
        elif one.fate == SkipReason.EXISTS:
            self._existing.setdefault(name, run.day)
        elif one.outcome == Outcome.ERROR:
            self._failed[name] = FailedSession(
                name,
                run.day,
                run.run_id,
                one.error_type,
                one.error_message,
                one.attempts,
                one.fate,
                one.money,
            )
        if one.drift:
            self._drifted[name] = DriftedOrder(name, run.day, run.run_id, one.drift)

    def _find_fate(self, session_id: str) -> str:
        """Return the latest fate; an order that was once written or found exists, whatever came later."""
        if session_id in self._created:
            return Outcome.CREATED
        return SkipReason.EXISTS if session_id in self._existing else self._latest[session_id]

    @property
    def recovered(self) -> tuple[ReportedOrder, ...]:
        """Return the orders that runs wrote, newest first."""
        return _newest_first(self._created.values())

    @property
    def failed(self) -> tuple[FailedSession, ...]:
        """Return the sessions that a run gave up, newest first."""
        failed = (replace(one, fate=self._find_fate(one.session_id)) for one in self._failed.values())
        return _newest_first(failed)

    @property
    def drifted(self) -> tuple[DriftedOrder, ...]:
        """Return the orders that differ from Stripe, newest first."""
        return _newest_first(self._drifted.values())

    @property
    def fates(self) -> Counter[str]:
        """Return how many sessions have each fate."""
        return Counter(str(self._find_fate(name)) for name in self._latest)

    @property
    def existing_by_day(self) -> Counter[int]:
        """Return how many orders existed without a run writing them, by the day they were first found."""
        return Counter(day for name, day in self._existing.items() if name not in self._created)


def _newest_first[Row: (ReportedOrder, FailedSession, DriftedOrder)](rows: Iterable[Row]) -> tuple[Row, ...]:
    by_session = sorted(rows, key=lambda row: row.session_id)
    return tuple(sorted(by_session, key=lambda row: (row.day, row.run_id), reverse=True))
