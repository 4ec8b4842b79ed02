"""The safety invariants, checked at every single write to the table.

A violation is recorded and the write is not stopped, so that the code under test cannot swallow it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.invariants import (
    RawItem,
    RecordKey,
    TableRecords,
    check_attention_change,
    compare_attention,
    compare_counters,
    compare_order,
    compare_state,
    to_plain,
)
from testkit.shop import Record, build_recovered_order
from testkit.world import FUNCTION_TIMEOUT
from tests.model.customers import Sale
from tests.model.sendings import Sendings

if TYPE_CHECKING:
    from tests.model.invocations import Invocation

type ItemChange = tuple[RecordKey, RawItem | None, RawItem | None]  # key, before, after

RUN, STATE = "STRIPE_ORDER_SYNC#", ("SYSTEM", "STRIPE_ORDER_SYNC")
WATERMARK = ("SYSTEM", "STRIPE_SYNC_WATERMARK")
LEDGER_KEYS = ("SYSTEM", "SYNC_RUN#", "SESSION#")
ATTENTION, DISMISSED = "ATTENTION#", "DISMISSED#"
# Of the customers who took their orders along when they made an account.
ACCOUNT = "USER#account"
FINAL_OUTCOMES = ("created", "skipped", "missing")


class ObservedDynamoDB(MemoryDynamoDB):
    """Passes all changes of one request to `observe`, after they are applied.

    Those of the tables `unobserved` are left out.
    """

    observe: Callable[[list[ItemChange]], None] | None = None
    unobserved: Collection[str] = ()

    def _commit(self, writes: Any) -> None:
        observed = [(write, after) for write, after in writes if write.table.name not in self.unobserved]
        changes = [(write.key, write.before(), after) for write, after in observed]
        super()._commit(writes)
        if self.observe:
            self.observe(changes)


class LedgerChecks:
    """Checks the table against `sales`, the truth by session id, at every moment.

    `records` mirrors the table. `examined` are the sessions that any run has an outcome of, `other_runs` are
    runs of another stack on the table. `done` are the sessions whose order a shop with its own layout has
    done, and when; other shops have None.
    """

    def __init__(
        self, sales: Mapping[str, Sale], sendings: Sendings, done: Mapping[str, float] | None = None
    ) -> None:
        self.violations: list[str] = []
        self.records = TableRecords()
        self.examined: set[str] = set()
        self.other_runs: set[str] = set()
        # By run, the sessions that waited for their payment before, in the order of their outcomes.
        self._rechecked: dict[str, list[str]] = defaultdict(list)
        self._sales = sales
        self._sendings = sendings
        self._done = done
        # Invocations, each with a session whose attention changed after it was read: while the invocation was
        # paused, or by its own transaction for another run.
        self._unread: set[tuple[Invocation | None, str]] = set()

    def observe(self, changes: list[ItemChange]) -> None:
        """Check the changes of one request, which are all applied or none."""
        # Orders and guards first, since outcomes are compared with them.
        first = ("ORDER#", "SYNC_ORDER")
        for change in sorted(changes, key=lambda change: not change[0][1].startswith(first)):
            self.violations += self._check_change(*change)
        self.violations += self._check_attention(changes)
        runs = {run_id for key, *_ in changes if (run_id := _find_run(*key))}
        for key, before, _ in changes:
            if key == WATERMARK:
                self.violations += self._check_watermark(_plain(before), runs)
        for run_id in runs:
            self.violations += map(str, compare_counters(self.records, run_id))
        if runs or any(key == STATE for key, *_ in changes):
            self.violations += map(str, compare_state(self.records))

    def _check_change(self, key: RecordKey, before: RawItem | None, after: RawItem | None) -> Iterator[str]:
        if after is None:
            self.records.remove(key)
        else:
            self.records.put(after)
        pk, sk = key
        if self._done is not None and not pk.startswith(LEDGER_KEYS):
            if self._sendings.running:
                yield f"{pk} {sk} is written into the table of a shop with its own layout"
        elif sk.startswith("ORDER#"):
            yield from self._check_order(f"{pk} {sk}", before, _plain(after))
        elif pk.startswith("SYNC_RUN#"):
            run_id, session_id = pk.removeprefix("SYNC_RUN#"), sk.removeprefix("SESSION#")
            yield from self._check_outcome(run_id, session_id, _plain(before), _plain(after))
        elif sk.startswith(RUN):
            yield from self._check_run(sk.removeprefix(RUN), _plain(before), _plain(after))

    def _check_order(self, key: str, before: RawItem | None, order: Record) -> Iterator[str]:
        sale = self._sales.get(session_of(_plain(before) or order))
        if before is not None and not order and sale and (sale.is_removed or sale.is_claimed):
            return
        if _is_payment_noted(_plain(before), order):
            return
        if before is not None or not order:
            yield f"the order {key} is changed"
            return
        session_id, is_ours = session_of(order), is_from_sync(order)
        if sale is None:
            yield f"{session_id} of another account has an order"
            return
        if len(self.records.orders[session_id]) > 1:
            yield f"{session_id} is doubled by {'the sync' if is_ours else 'its webhook'}: {key}"
        # A webhook writes at once, whatever becomes of the money.
        is_early = not is_ours and order["stripePaymentStatus"] == "unpaid"
        if not sale.wants_order and not is_early and (is_ours or not sale.is_returned):
            yield f"{session_id} has an order without a payment: {key}"
        elif is_ours and not key.startswith(ACCOUNT):
            expected = build_recovered_order(sale.spec)
            runs = self.records.runs.keys() | self.other_runs
            yield from map(str, compare_order(session_id, expected, order, runs))

    def _check_outcome(self, run_id: str, session_id: str, before: Record, after: Record) -> Iterator[str]:
        was, now = before.get("outcome", ""), after.get("outcome", "")
        if not was and "pending" in after:
            self._rechecked[run_id].append(session_id)
        if session_id not in self._sales:
            yield f"{session_id} of another account is sent in {run_id}"
        self.examined.add(session_id)
        if was in FINAL_OUTCOMES or not now:
            yield f"the outcome of {session_id} in {run_id} goes from {was} to {now}"
        yield from self._check_guard(run_id, session_id, now)
        if now == "missing":
            yield from self._check_missing(run_id, session_id)
        runs = [order.get("syncRunId") for order in self.records.read_orders(session_id)]
        if now == "created" and run_id not in runs:
            yield f"{session_id} is created in {run_id} and has no order of that run"

    def _check_missing(self, run_id: str, session_id: str) -> Iterator[str]:
        """Check that the shop had not done the order before the consumer began."""
        running, at = self._sendings.running, (self._done or {}).get(session_id)
        if running and at is not None and at < running.deadline - FUNCTION_TIMEOUT:
            yield f"{session_id} is missing in {run_id}, and the shop had done its order"

    def _check_guard(self, run_id: str, session_id: str, outcome: str) -> Iterator[str]:
        guard = self.records.get(f"SESSION#{session_id}", "SYNC_ORDER") or {}
        if outcome == "created" and guard.get("syncRunId") != run_id:
            yield f"{session_id} is created in {run_id} and has no guard of that run"

    def _check_attention(self, changes: list[ItemChange]) -> Iterator[str]:
        """Check the attention items of one request with the outcomes and dismissals of the same request."""
        changed = {
            sk.removeprefix(ATTENTION): (_plain(before), _plain(after))
            for (_, sk), before, after in changes
            if sk.startswith(ATTENTION)
        }
        touched = list(changed)
        for (pk, sk), _, after in changes:
            if pk.startswith("SYNC_RUN#"):
                session_id = sk.removeprefix("SESSION#")
                stored = self.records.get("SYSTEM", f"{ATTENTION}{session_id}") or {}
                attention = changed.pop(session_id, (stored, stored))
                if attention == (stored, stored) and (self._sendings.running, session_id) in self._unread:
                    # Another run wrote the words, with the entry by which the next one ends them.
                    continue
                statuses = [
                    order.get("stripePaymentStatus") for order in self.records.read_orders(session_id)
                ]
                yield from map(
                    str,
                    compare_attention(
                        session_id,
                        attention[0],
                        _plain(after),
                        attention[1],
                        order_says_paid="paid" in statuses,
                    ),
                )
        known_by = [self._sendings.running, *self._sendings.paused]
        self._unread |= {(one, session_id) for one in known_by for session_id in touched}
        dismissed = {sk.removeprefix(DISMISSED) for (_, sk), _, after in changes if after}
        for session_id, attention in changed.items():
            is_dismissed = session_id in dismissed
            yield from map(str, check_attention_change(session_id, *attention, is_dismissed=is_dismissed))

    def _check_run(self, run_id: str, before: Record, after: Record) -> Iterator[str]:
        if before and any(before.get(name) != after.get(name) for name in ("cursor", "listed", "enqueued")):
            more = int(after.get("enqueued", 0) - before.get("enqueued", 0))
            settled = [] if "cursor" in before else self._rechecked[run_id]
            yield from self._sendings.count(run_id, more, settled)
        if after.get("status") == "done" and not (
            after["listed"] and after.get("processed", 0) >= after.get("enqueued", 0)
        ):
            yield f"run {run_id} is done with work left"

    def _check_watermark(self, before: Record, runs: set[str]) -> Iterator[str]:
        """Check a move of the watermark; `runs` are those whose records changed together with it."""
        was = before.get("lastCoveredThrough", 0)
        now = self.records.watermark.get("lastCoveredThrough", 0)
        if now < was:
            yield f"the watermark goes back from {was} to {now}"
        if now <= was:
            return
        coming = set().union(*map(self._list_coming, runs))
        for sale in self._sales.values():
            completed = sale.spec.completed_at
            if completed is None or completed > now or sale.id in coming or sale.is_foreign:
                continue
            if not self._is_covered(sale, int(now)):
                yield f"{sale.id}, completed at {completed}, is behind the watermark {now} and not examined"

    def _list_coming(self, run_id: str) -> set[str]:
        """Return the sessions that a run counts and whose outcome is missing while their message exists.

        A run may be done too early by as many messages as it has outcomes of sessions that it does not count.
        """
        counted, outcomes = self._sendings.counted[run_id], self.records.outcomes[run_id].keys()
        missing = counted - outcomes
        if len(missing) > len(outcomes - counted):
            return set()
        return missing & self._sendings.list_queued(run_id)

    def _is_covered(self, sale: Sale, moment: int) -> bool:
        """Return whether a run has examined the session, and its order exists if it was paid at the moment.

        Instead of the order, a reported error or a pending entry will do.
        """
        if sale.id not in self.examined:
            return False
        paid = sale.spec.async_paid_at or sale.spec.completed_at
        if not sale.wants_order or paid is None or paid > moment:
            return True
        errors = (
            outcomes.get(sale.id, {}).get("outcome") == "error" for outcomes in self.records.outcomes.values()
        )
        has_order = bool(self.records.orders[sale.id]) or sale.id in (self._done or ())
        return has_order or sale.id in self.records.pending or any(errors)


def session_of(order: Record) -> str:
    """Return the session of an order, whose attributes may not name it."""
    return str(order["SK"]).rpartition("#")[2]


def is_from_sync(order: Record) -> bool:
    return order.get("source") == "nightly_sync"


def _is_payment_noted(before: Record, order: Record) -> bool:
    """Return whether the webhook noted the payment in its own order."""
    is_own = bool(before and order) and not is_from_sync(before) and not is_from_sync(order)
    return is_own and (before["stripePaymentStatus"], order["stripePaymentStatus"]) == ("unpaid", "paid")


def _plain(item: RawItem | None) -> Record:
    return {} if item is None else to_plain(item)


def _find_run(pk: str, sk: str) -> str | None:
    if pk.startswith("SYNC_RUN#"):
        return pk.removeprefix("SYNC_RUN#")
    return sk.removeprefix(RUN) if sk.startswith(RUN) else None
