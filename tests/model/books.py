"""The safety invariants, checked at every single write to the table.

A write that breaks one is noted and not stopped: the code under test must not be able to swallow the finding.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from testkit.doubles.dynamodb import MemoryDynamoDB
from tests.model.customers import Sale
from tests.model.sendings import Sendings

type Wire = dict[str, Any]
type Change = tuple[str, str, Wire | None, Wire | None]  # PK, SK, before, after

RUN, STATE, PENDING = "STRIPE_ORDER_SYNC#", "STRIPE_ORDER_SYNC", "PENDING#"
COUNTERS = {"created": "created", "skipped": "skipped", "errors": "error"}
FINAL = ("created", "skipped")


class ObservedDynamoDB(MemoryDynamoDB):
    """Tells `observe` of everything that one request changes, together, once it is there."""

    observe: Callable[[list[Change]], None] | None = None

    def _commit(self, writes: Any) -> None:
        changes = [(*write.key, write.before(), after) for write, after in writes]
        super()._commit(writes)
        if self.observe:
            self.observe(changes)


class Books:
    """What the table must say at every moment. `sales` is the truth, by session id."""

    def __init__(self, sales: Mapping[str, Sale], sendings: Sendings) -> None:
        self.wrong: list[str] = []
        self.orders: dict[str, list[Wire]] = defaultdict(list)
        self.outcomes: dict[str, dict[str, str]] = defaultdict(dict)
        self.kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self.runs: dict[str, Wire] = {}
        self.pending: set[str] = set()
        self.state: Wire = {}
        # Sessions that any run has an outcome of.
        self.looked_at: set[str] = set()
        # By run, its sessions that waited for their payment before, in the order of their outcomes.
        self._asked_again: dict[str, list[str]] = defaultdict(list)
        self._sales = sales
        self._sendings = sendings

    def __call__(self, changes: list[Change]) -> None:
        """The changes of one request: they are there together or not at all."""
        # Orders first: outcomes are held against them.
        for change in sorted(changes, key=lambda change: not change[1].startswith("ORDER#")):
            self.wrong += self._wrong(*change)
        runs = {run_id for pk, sk, *_ in changes if (run_id := _run_of(pk, sk))}
        for _, sk, before, _ in changes:
            if sk == STATE:
                self.wrong += self._wrong_watermark(before or {}, runs)
        for run_id in runs:
            self.wrong += self._wrong_counters(run_id)
        if runs or any(sk == STATE for _, sk, *_ in changes):
            self.wrong += self._wrong_state()

    def _wrong(self, pk: str, sk: str, before: Wire | None, after: Wire | None) -> Iterator[str]:
        if sk.startswith("ORDER#"):
            yield from self._wrong_order(f"{pk} {sk}", before, after)
        elif pk.startswith("SYNC_RUN#"):
            yield from self._wrong_outcome(str(_run_of(pk, sk)), sk.removeprefix("SESSION#"), before, after)
        elif sk.startswith(RUN):
            yield from self._wrong_run(sk.removeprefix(RUN), before or {}, after or {})
        elif sk == STATE:
            self.state = after or {}
        elif sk.startswith(PENDING):
            (self.pending.add if after else self.pending.discard)(sk.removeprefix(PENDING))

    def _wrong_order(self, key: str, before: Wire | None, after: Wire | None) -> Iterator[str]:
        if before is not None or after is None:
            yield f"the order {key} is changed"
            return
        session_id = text(after, "orderId")
        sale, orders = self._sales[session_id], self.orders[session_id]
        orders.append(after)
        if len(orders) > 1:
            yield f"{session_id} is doubled by {'us' if is_ours(after) else 'its webhook'}: {key}"
        if not sale.wants_order:
            yield f"{session_id} has an order that nobody paid for: {key}"
        if text(after, "PK") != f"USER#{sale.user}":
            yield f"{session_id} has its order under somebody else: {key}"

    def _wrong_outcome(
        self, run_id: str, session_id: str, before: Wire | None, after: Wire | None
    ) -> Iterator[str]:
        was, now = text(before or {}, "outcome"), text(after or {}, "outcome")
        self.outcomes[run_id][session_id] = now
        if not was and after and "pending" in after:
            self._asked_again[run_id].append(session_id)
        self.looked_at.add(session_id)
        self.kinds[run_id][now] += 1
        if was:
            self.kinds[run_id][was] -= 1
        if was in FINAL or not now:
            yield f"the outcome of {session_id} in {run_id} goes from {was} to {now}"
        if now == "created" and not any(text(o, "syncRunId") == run_id for o in self.orders[session_id]):
            yield f"{session_id} is created in {run_id} and has no order of it"

    # Counters

    def _wrong_run(self, run_id: str, before: Wire, after: Wire) -> Iterator[str]:
        self.runs[run_id] = after
        if any(before.get(name) != after.get(name) for name in ("cursor", "listed", "enqueued")) and before:
            more = number(after, "enqueued") - number(before, "enqueued")
            settled = [] if "cursor" in before else self._asked_again[run_id]
            yield from self._sendings.counts(run_id, more, settled)
        if text(after, "status") == "done" and not (
            after["listed"]["BOOL"] and number(after, "processed") >= number(after, "enqueued")
        ):
            yield f"run {run_id} is done and is not through"

    def _wrong_counters(self, run_id: str) -> Iterator[str]:
        run, kinds = self.runs.get(run_id, {}), self.kinds[run_id]
        counted = [number(run, name) for name in COUNTERS]
        written = [kinds[kind] for kind in COUNTERS.values()]
        if counted != written or number(run, "processed") != sum(written):
            yield (
                f"run {run_id} counts {number(run, 'processed')} processed and {counted}, "
                f"its outcomes are {written}"
            )

    def _wrong_state(self) -> Iterator[str]:
        """It says what the record of the run says that holds it."""
        run = self.runs.get(text(self.state, "lastSyncRunId"))
        for name in () if run is None else ("enqueued", "processed", *COUNTERS):
            shown, counted = number(self.state, f"lastSync{name.capitalize()}"), number(run or {}, name)
            if shown != counted:
                yield f"the state says {name} {shown}, its run {counted}"

    def _wrong_watermark(self, before: Wire, runs: set[str]) -> Iterator[str]:
        """`runs`: whose records changed together with the state."""
        was, now = number(before, "lastCoveredThrough"), number(self.state, "lastCoveredThrough")
        if now < was:
            yield f"the watermark goes back from {was} to {now}"
        if now <= was:
            return
        coming = set().union(*map(self._on_their_way, runs))
        for sale in self._sales.values():
            completed = sale.spec.completed_at
            if completed is None or completed > now or sale.id in coming:
                continue
            if not self._is_looked_after(sale, now):
                yield f"{sale.id}, completed at {completed}, is behind the watermark {now} and nobody saw it"

    def _on_their_way(self, run_id: str) -> set[str]:
        """Counted, not worked on, and the message is there: a run may be done so much too early as it has
        outcomes of sessions that it does not count."""
        counted, outcomes = self._sendings.counted[run_id], self.outcomes[run_id].keys()
        missing = counted - outcomes
        if len(missing) > len(outcomes - counted):
            return set()
        return missing & self._sendings.on_their_way(run_id)

    def _is_looked_after(self, sale: Sale, moment: int) -> bool:
        """Some run has looked at it; what was paid by then has its order, an error that somebody is told of,
        or waits to be asked about again."""
        if sale.id not in self.looked_at:
            return False
        paid = sale.spec.async_paid_at or sale.spec.completed_at
        if not sale.wants_order or paid is None or paid > moment:
            return True
        errors = (outcomes.get(sale.id) == "error" for outcomes in self.outcomes.values())
        return bool(self.orders[sale.id]) or sale.id in self.pending or any(errors)


def text(item: Wire, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def number(item: Wire, name: str) -> int:
    return int(item.get(name, {}).get("N", 0))


def is_ours(order: Wire) -> bool:
    return text(order, "source") == "nightly_sync"


def _run_of(pk: str, sk: str) -> str | None:
    if pk.startswith("SYNC_RUN#"):
        return pk.removeprefix("SYNC_RUN#")
    return sk.removeprefix(RUN) if sk.startswith(RUN) else None
