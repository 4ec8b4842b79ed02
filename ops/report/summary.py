"""Runs and the history of sessions combined into a report. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from ops.format.money import Money, totals
from ops.report.model import DayTotals, ExpiredOutcomes, RunLine, Share, SyncReport
from ops.report.sessions import SessionHistory
from ops.runs.system_state import SystemState
from recon.domain.outcome import Outcome

type OutcomeCounts = Mapping[str, Counter[str]]  # by run id: how many outcomes of each kind it still has


def build_report(
    period: range,
    runs: Sequence[RunLine],
    sessions: SessionHistory,
    known: OutcomeCounts,
    *,
    stack: str,
    state: SystemState,
    generated_at: int,
) -> SyncReport:
    """Return the report of a period, given as the midnights of its days.

    `state` is that of the whole system. `runs` are those that were added to `sessions`, oldest first.
    """
    gone = {run.run_id: _count_expired(run, known[run.run_id]) for run in runs}
    recovered = sessions.recovered
    return SyncReport(
        stack=stack,
        state=state,
        generated_at=generated_at,
        start=period.start,
        days=_build_days(period, runs, sessions, gone),
        runs=tuple(reversed(runs)),
        recovered=recovered,
        failed=sessions.failed,
        drifted=sessions.drifted,
        fates=tuple(sorted(sessions.fates.items(), key=lambda fate: (-fate[1], fate[0]))),
        missed=Share(len(recovered), len(recovered) + sessions.existing_by_day.total()),
        gone=ExpiredOutcomes(
            runs=sum(one.runs for one in gone.values()),
            created=sum(one.created for one in gone.values()),
            errors=sum(one.errors for one in gone.values()),
        ),
    )


def _count_expired(run: RunLine, known: Counter[str]) -> ExpiredOutcomes:
    """Return what the run has counted but has no outcomes for any more."""
    return ExpiredOutcomes(
        runs=int(run.processed > known.total()),
        created=max(0, run.created - known[Outcome.CREATED]),
        errors=max(0, run.errors - known[Outcome.ERROR]),
    )


def _build_days(
    period: range, runs: Sequence[RunLine], sessions: SessionHistory, gone: Mapping[str, ExpiredOutcomes]
) -> tuple[DayTotals, ...]:
    begun = Counter(run.day for run in runs)
    created = Counter(order.day for order in sessions.recovered)
    existing = sessions.existing_by_day
    failed = Counter(one.day for one in sessions.failed)
    unknown = Counter(order.day for order in sessions.recovered if order.money is None)
    unlisted, longest = _read_records(runs, gone)
    money = _group_money(sessions)
    troubles: defaultdict[int, list[str]] = defaultdict(list)
    for run in runs:
        troubles[run.day] += [run.trouble] if run.trouble else []
    return tuple(
        DayTotals(
            day=day,
            runs=begun[day],
            recovered=created[day] + unlisted[day],
            money=tuple(totals(money[day])),
            unknown_amounts=unknown[day] + unlisted[day],
            missed=Share(created[day], created[day] + existing[day]),
            errors=failed[day],
            longest=longest.get(day),
            troubles=tuple(dict.fromkeys(troubles[day])),
        )
        for day in period
    )


def _read_records(
    runs: Sequence[RunLine], gone: Mapping[str, ExpiredOutcomes]
) -> tuple[Counter[int], dict[int, int]]:
    """Return by day the orders without an outcome, and the seconds of the longest run that has ended."""
    unlisted: Counter[int] = Counter()
    longest: dict[int, int] = {}
    for run in runs:
        unlisted[run.day] += gone[run.run_id].created
        if run.seconds is not None:
            longest[run.day] = max(run.seconds, longest.get(run.day, 0))
    return unlisted, longest


def _group_money(sessions: SessionHistory) -> defaultdict[int, list[Money]]:
    money: defaultdict[int, list[Money]] = defaultdict(list)
    for order in sessions.recovered:
        if order.money:
            money[order.day].append(order.money)
    return money
