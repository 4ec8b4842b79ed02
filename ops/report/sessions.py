"""Pure: what several runs saw of the same sessions, taken together. A session is one session."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ops.format.money import Money
from ops.report.model import Drifted, Failed, Recovered, RunLine
from recon.domain.reconcile import Outcome, SkipReason


@dataclass(frozen=True)
class Sighting:
    """One session in one run, as its outcome says."""

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
        """The reason of a skip, else the outcome; words of another version stay as they are."""
        return self.reason or self.outcome


@dataclass
class Sessions:
    """Takes the runs in, oldest first."""

    _created: dict[str, Recovered] = field(default_factory=dict)
    _existing: dict[str, int] = field(default_factory=dict)  # the day it was found first
    _failed: dict[str, Failed] = field(default_factory=dict)
    _drifted: dict[str, Drifted] = field(default_factory=dict)
    _latest: dict[str, str] = field(default_factory=dict)

    def add(self, run: RunLine, sightings: Iterable[Sighting]) -> Counter[str]:
        """How many outcomes of each kind this run still has."""
        outcomes: Counter[str] = Counter()
        for seen in sightings:
            outcomes[seen.outcome] += 1
            self._add(run, seen)
        return outcomes

    def _add(self, run: RunLine, seen: Sighting) -> None:
        name = seen.session_id
        self._latest[name] = seen.fate
        if seen.outcome == Outcome.CREATED:
            order = Recovered(name, run.day, run.run_id, seen.order_number, seen.money)
            self._created.setdefault(name, order)
        elif seen.fate == SkipReason.EXISTS:
            self._existing.setdefault(name, run.day)
        elif seen.outcome == Outcome.ERROR:
            self._failed[name] = Failed(
                name, run.day, run.run_id, seen.error_type, seen.error_message, seen.attempts, seen.fate
            )
        if seen.drift:
            self._drifted[name] = Drifted(name, run.day, run.run_id, seen.drift)

    def _fate(self, session_id: str) -> str:
        """An order that was written or found once is there, whatever a later run met."""
        if session_id in self._created:
            return Outcome.CREATED
        return SkipReason.EXISTS if session_id in self._existing else self._latest[session_id]

    @property
    def recovered(self) -> tuple[Recovered, ...]:
        return _newest_first(self._created.values())

    @property
    def failed(self) -> tuple[Failed, ...]:
        return _newest_first(replace(one, fate=self._fate(one.session_id)) for one in self._failed.values())

    @property
    def drifted(self) -> tuple[Drifted, ...]:
        return _newest_first(self._drifted.values())

    @property
    def fates(self) -> Counter[str]:
        return Counter(str(self._fate(name)) for name in self._latest)

    @property
    def existing_by_day(self) -> Counter[int]:
        """Sessions whose order was there without any run's doing, by the day they were found first."""
        return Counter(day for name, day in self._existing.items() if name not in self._created)


def _newest_first[Row: (Recovered, Failed, Drifted)](rows: Iterable[Row]) -> tuple[Row, ...]:
    by_session = sorted(rows, key=lambda row: row.session_id)
    return tuple(sorted(by_session, key=lambda row: (row.day, row.run_id), reverse=True))
