"""Reading the records of runs, the sync state and the pending entries."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from recon.domain.outcome import Outcome
from recon.domain.run import RunStatus, Trigger
from recon.dynamodb.attention import find_attention
from recon.dynamodb.keys import PENDING_PREFIX, RUN_PREFIX, STATE_KEY, WATERMARK_KEY, guard_key, run_key
from recon.dynamodb.outcomes import find_found_sessions, find_outcomes, find_settled_pending
from recon.dynamodb.records import Run, State, parse_run, parse_state
from recon.dynamodb.table import Item, Table
from recon.dynamodb.watermark import Watermark, parse_watermark, take_over
from recon.retry import Deadline
from recon.timestamps import to_run_id


class RunReader:
    """The runs of one table, read consistently and retried until a deadline."""

    def __init__(self, table: Table, deadline: Deadline) -> None:
        self._table = table
        self._deadline = deadline

    @property
    def table(self) -> Table:
        """Return the table of the runs."""
        return self._table

    def get(self, run_id: str) -> Run | None:
        """Return a run by a consistent read, or None."""
        item = self._table.get(run_key(run_id), self._deadline)
        return parse_run(item) if item else None

    def state(self) -> State:
        """Return the sync state by a consistent read."""
        return parse_state(self._table.get(STATE_KEY, self._deadline))

    def watermark(self) -> Watermark:
        """Return the watermark item by a consistent read, or what a new one takes over."""
        item = self._table.get(WATERMARK_KEY, self._deadline)
        stored = parse_watermark(item) if item is not None else Watermark()
        return stored if stored.has_times else take_over(stored, self.state(), self._scheduled)

    def is_state_foreign(self, state: State, new_run: str | None = None) -> bool:
        """Return True if another program has put the sync state since the latest run of this one.

        Every run takes over the state, so the state names a run whose record exists. `new_run` is the id of a
        run that was started after `state` was read.
        """
        if all(run.run_id == new_run for run in self.latest(2)):
            return False
        return state.run_id is None or self.get(state.run_id) is None

    def was_held(self, covered_through: int) -> bool:
        """Return True if a run was held whose window ends after the watermark (epoch seconds).

        Runs that were done since then may have covered less. Records of runs are kept for 90 days.
        """
        return any(run.lookback_end > covered_through for run in self._list_with("status", RunStatus.HELD))

    def find_found_session(self) -> str | None:
        """Return the newest session that a run found with an order of another writer.

        Runs of earlier versions store no proof. Outcomes are kept for 30 days.
        """
        runs = list(map(parse_run, self._query(RUN_PREFIX, newest_first=True)))
        for run in runs:
            if run.skipped:
                for session_id in find_found_sessions(self._table, run.run_id, self._deadline):
                    if not self._is_own(session_id, runs):
                        return session_id
        return None

    def _is_own(self, session_id: str, runs: list[Run]) -> bool:
        """Return True if one of the runs wrote the session's order, by its guard or by an outcome."""
        if self._table.get(guard_key(session_id), self._deadline):
            return True
        keys = [(run.run_id, session_id) for run in runs]
        outcomes = find_outcomes(self._table, keys, self._deadline).values()
        return any(outcome.outcome == Outcome.CREATED for outcome in outcomes)

    def pending(self) -> Iterator[Item]:
        """Yield the entries of the sessions that were complete and unpaid when they were last read."""
        return self._query(PENDING_PREFIX)

    def count_open_attention(self) -> int:
        """Return how many sessions wait for a person who acts or acknowledges."""
        return sum(1 for _ in find_attention(self._table, self._deadline, only_open=True))

    def find_settled_pending(self, run_id: str, after: str = "", through: str | None = None) -> set[str]:
        """Return the pending sessions in (after, through] that a run has an outcome of already."""
        return find_settled_pending(self._table, run_id, self._deadline, after, through)

    def find_by_request(self, request: str, since: int) -> str | None:
        """Return the id of the manual run with this suffix that started at `since` (epoch) or later."""
        items = self._table.query(
            "PK = :pk AND SK BETWEEN :since AND :end",
            {
                ":pk": STATE_KEY[0],
                ":since": f"{RUN_PREFIX}{to_run_id(since)}",
                ":end": f"{RUN_PREFIX}9",
            },
            projection="SK",
            deadline=self._deadline,
        )
        ids = [item["SK"].removeprefix(RUN_PREFIX) for item in items]
        return next((run_id for run_id in ids if run_id.endswith(f"-{request}")), None)

    def scheduled_before(self, run_id: str, count: int) -> list[Run]:
        """Return the latest scheduled runs except this one, newest first."""
        others = (run for run in self._scheduled() if run.run_id != run_id)
        return list(islice(others, count))

    def _scheduled(self) -> Iterator[Run]:
        return self._list_with("trigger", Trigger.SCHEDULED)

    def _list_with(self, attribute: str, value: str) -> Iterator[Run]:
        """Return an iterator over the runs with this value, newest first."""
        items = self._query(
            RUN_PREFIX,
            {":value": value},
            names={"#attribute": attribute},
            only="#attribute = :value",
            newest_first=True,
        )
        return map(parse_run, items)

    def latest(self, count: int) -> list[Run]:
        """Return the latest runs of both triggers, newest first."""
        return [parse_run(item) for item in islice(self._query(RUN_PREFIX, newest_first=True), count)]

    def find_by_time(self, moment: int) -> list[str]:
        """Return the ids of the manual runs that were requested in that second."""
        items = self._query(f"{RUN_PREFIX}{to_run_id(moment)}-", projection="SK")
        return [item["SK"].removeprefix(RUN_PREFIX) for item in items]

    def _query(self, prefix: str, values: Item | None = None, **options: Any) -> Iterator[Item]:  # noqa: ANN401 - as `Table.query` takes them
        condition = "PK = :pk AND begins_with(SK, :prefix)"
        values = {":pk": STATE_KEY[0], ":prefix": prefix} | (values or {})
        return self._table.query(condition, values, deadline=self._deadline, **options)
