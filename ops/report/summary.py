"""Pure: runs, and what they saw of sessions, become a report."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from ops.format.money import Money, totals
from ops.report.model import Day, Gone, Report, RunLine, Share
from ops.report.sessions import Sessions
from recon.domain.reconcile import Outcome

type Known = Mapping[str, Counter[str]]  # how many outcomes of each kind a run still has, by its id


def report_of(
    period: range, runs: Sequence[RunLine], sessions: Sessions, known: Known, *, stack: str, generated_at: int
) -> Report:
    """`period`: the midnights of its days; `runs`, oldest first, are those that `sessions` has taken in."""
    gone = {run.run_id: _gone(run, known[run.run_id]) for run in runs}
    recovered = sessions.recovered
    return Report(
        stack=stack,
        generated_at=generated_at,
        start=period.start,
        days=_days(period, runs, sessions, gone),
        runs=tuple(reversed(runs)),
        recovered=recovered,
        failed=sessions.failed,
        drifted=sessions.drifted,
        fates=tuple(sorted(sessions.fates.items(), key=lambda fate: (-fate[1], fate[0]))),
        missed=Share(len(recovered), len(recovered) + sessions.existing_by_day.total()),
        gone=Gone(
            runs=sum(one.runs for one in gone.values()),
            created=sum(one.created for one in gone.values()),
            errors=sum(one.errors for one in gone.values()),
        ),
    )


def _gone(run: RunLine, known: Counter[str]) -> Gone:
    """What the run has counted and has no outcome of any more."""
    return Gone(
        runs=int(run.processed > known.total()),
        created=max(0, run.created - known[Outcome.CREATED]),
        errors=max(0, run.errors - known[Outcome.ERROR]),
    )


def _days(
    period: range, runs: Sequence[RunLine], sessions: Sessions, gone: Mapping[str, Gone]
) -> tuple[Day, ...]:
    begun = Counter(run.day for run in runs)
    created = Counter(order.day for order in sessions.recovered)
    existing = sessions.existing_by_day
    failed = Counter(one.day for one in sessions.failed)
    unlisted, longest = _of_records(runs, gone)
    money = _money_by_day(sessions)
    return tuple(
        Day(
            day=day,
            runs=begun[day],
            recovered=created[day] + unlisted[day],
            money=tuple(totals(money[day])),
            missed=Share(created[day], created[day] + existing[day]),
            errors=failed[day],
            longest=longest.get(day),
        )
        for day in period
    )


def _of_records(runs: Sequence[RunLine], gone: Mapping[str, Gone]) -> tuple[Counter[int], dict[int, int]]:
    """By day: orders that are only counted any more, and the seconds of the longest run that has ended."""
    unlisted: Counter[int] = Counter()
    longest: dict[int, int] = {}
    for run in runs:
        unlisted[run.day] += gone[run.run_id].created
        if run.seconds is not None:
            longest[run.day] = max(run.seconds, longest.get(run.day, 0))
    return unlisted, longest


def _money_by_day(sessions: Sessions) -> defaultdict[int, list[Money]]:
    money: defaultdict[int, list[Money]] = defaultdict(list)
    for order in sessions.recovered:
        if order.money:
            money[order.day].append(order.money)
    return money
