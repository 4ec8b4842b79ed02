"""Is the table what it must be? Read with plain boto3 and judged by the seeder's truth alone.

Problems name sessions and attributes, never a value that could be somebody's name, address or e-mail.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from testkit.shop import Counters, Expected, Shop, Truth

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Typed = Mapping[str, Any]
type Item = dict[str, Any]
type Key = tuple[str, str]

_STATE: Final[Key] = ("SYSTEM", "STRIPE_ORDER_SYNC")
_STATE_COUNTERS: Final = {
    "enqueued": "lastSyncEnqueued",
    "processed": "lastSyncProcessed",
    "created": "lastSyncCreated",
    "skipped": "lastSyncSkipped",
    "errors": "lastSyncErrors",
}

# What a recovered order has besides what the truth says: when it was written, and by which run.
_WRITTEN_AT: Final = ("updatedAt", "completedAt", "syncedAt")
_RUN_ID: Final = "syncRunId"
_OPTIONAL: Final = frozenset({"expiresAt"})
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

# Only these values may be shown: numbers, codes and states.
_PUBLIC: Final = frozenset(
    {"amount", "amountSubtotal", "currency", "itemCount", "orderNumber", "source", "status", "createdAt"}
)
_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_]{1,100}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the session (or record) that it is wrong with."""

    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


def verify(client: "DynamoDBClient", table_name: str, shop: Shop, *, healed: bool) -> list[Problem]:
    """All that is not as the first run over this shop must have left it; an empty list is right.

    `healed` says whether the dead sessions have been healed and redriven.
    """
    check = _Check(_Table(_scan(client, table_name)), shop, healed=healed)
    return [*check.seeded_items(), *check.orders(), *check.strangers(), *check.outcomes(), *check.counters()]


def _scan(client: "DynamoDBClient", table_name: str) -> Iterator[Typed]:
    pages = client.get_paginator("scan").paginate(TableName=table_name, ConsistentRead=True)
    for page in pages:
        yield from page["Items"]


class _Table:
    """All items by key, and the orders among them by the session that they belong to."""

    def __init__(self, items: Iterable[Typed]) -> None:
        self.typed: dict[Key, Typed] = {(item["PK"]["S"], item["SK"]["S"]): item for item in items}
        self.orders: dict[str, set[Key]] = defaultdict(set)
        for key, item in self.typed.items():
            for session_id in _sessions_of_order(key, item):
                self.orders[session_id].add(key)

    def item(self, key: Key) -> Item | None:
        typed = self.typed.get(key)
        return None if typed is None else _plain(typed)

    def in_partition(self, partition: str) -> dict[str, Item]:
        """By sort key."""
        return {sort: _plain(typed) for (pk, sort), typed in self.typed.items() if pk == partition}


class _Check:
    def __init__(self, table: _Table, shop: Shop, *, healed: bool) -> None:
        self._table = table
        self._shop = shop
        self._healed = healed
        state = table.item(_STATE) or {}
        self._run_id = str(state.get("lastSyncRunId", ""))

    def seeded_items(self) -> Iterator[Problem]:
        """What the webhook wrote is the webhook's: byte for byte as it was."""
        for item in self._shop.webhook_orders:
            yield from self._unchanged(item["orderId"], "the webhook's order", item)
        for item in self._shop.webhook_events:
            yield from self._unchanged(item["sessionId"], "the webhook's event record", item)

    def _unchanged(self, session_id: str, name: str, item: Item) -> Iterator[Problem]:
        expected = _typed(item)
        found = self._table.typed.get((item["PK"], item["SK"]))
        if found is None:
            yield Problem(session_id, f"{name} is gone")
        elif found != expected:
            changed = sorted(
                part for part in expected.keys() | found if expected.get(part) != found.get(part)
            )
            yield Problem(session_id, f"{name} was changed: {', '.join(changed)}")

    def orders(self) -> Iterator[Problem]:
        for truth in self._shop.truth:
            found = self._table.orders.get(truth.session_id, set())
            wanted = self._wants_order(truth)
            if len(found) > 1:
                yield Problem(truth.session_id, f"{len(found)} orders instead of {int(wanted)}")
            if wanted and not found:
                yield Problem(truth.session_id, "the order is missing")
            if not wanted and found:
                yield Problem(truth.session_id, f"an order that must not be ({self._why_not(truth)})")
            if wanted and truth.order is not None:
                for key in found:
                    yield from self._recovered(truth.session_id, truth.order, _plain(self._table.typed[key]))

    def _wants_order(self, truth: Truth) -> bool:
        match truth.expected:
            case Expected.ORDER_KEPT | Expected.ORDER_RECOVERED:
                return True
            case Expected.DEAD:
                return self._healed
            case Expected.SKIPPED:
                return False

    def _why_not(self, truth: Truth) -> str:
        return truth.reason or "Stripe does not find the session"

    def _recovered(self, session_id: str, expected: Item, found: Item) -> Iterator[Problem]:
        for name, value in expected.items():
            if name not in found:
                yield Problem(session_id, f"{name} is missing")
            elif found[name] != value:
                yield Problem(session_id, _difference(name, value, found[name]))
        for name in _WRITTEN_AT:
            if not _MOMENT.fullmatch(str(found.get(name, ""))):
                yield Problem(session_id, f"{name} is no UTC time")
        if found.get(_RUN_ID) != self._run_id:
            yield Problem(session_id, f"{_RUN_ID} is not that of the run")
        for name in sorted(found.keys() - expected.keys() - {*_WRITTEN_AT, _RUN_ID} - _OPTIONAL):
            yield Problem(session_id, f"{name} should not be there")

    def strangers(self) -> Iterator[Problem]:
        """Orders of sessions that the shop never had."""
        known = {truth.session_id for truth in self._shop.truth}
        for session_id in sorted(self._table.orders.keys() - known):
            yield Problem(_showable(session_id), "an order of a session that the shop never had")

    def outcomes(self) -> Iterator[Problem]:
        outcomes = self._table.in_partition(f"SYNC_RUN#{self._run_id}")
        for truth in self._shop.truth:
            outcome = outcomes.pop(f"SESSION#{truth.session_id}", None)
            if outcome is None:
                yield Problem(truth.session_id, "no outcome")
            else:
                yield from self._outcome(truth, outcome)
        for sort_key in outcomes:
            yield Problem(_showable(sort_key.removeprefix("SESSION#")), "an outcome of an unknown session")

    def _outcome(self, truth: Truth, outcome: Item) -> Iterator[Problem]:
        expected = self._expected_outcome(truth)
        for name, value in expected.items():
            if outcome.get(name) != value:
                yield Problem(
                    truth.session_id, f"its outcome's {name} is {outcome.get(name)!r} and not {value!r}"
                )
        if expected["outcome"] == "error" and not outcome.get("errorType"):
            yield Problem(truth.session_id, "its outcome has no errorType")

    def _expected_outcome(self, truth: Truth) -> Item:
        if self._wants_order(truth) and truth.order is not None:
            return {"outcome": "created", "orderNumber": truth.order["orderNumber"]}
        if truth.expected is Expected.DEAD:
            return {"outcome": "error"}
        return {"outcome": "skipped", "reason": truth.reason}

    def counters(self) -> Iterator[Problem]:
        """The numbers of the sync state and of the run's own record, both against the truth."""
        expected = self._shop.counters(healed=self._healed)
        run = ("SYSTEM", f"STRIPE_ORDER_SYNC#{self._run_id}")
        yield from self._counted("sync state", _STATE, expected, _STATE_COUNTERS.__getitem__)
        yield from self._counted("run record", run, expected, lambda name: name)

    def _counted(
        self, subject: str, key: Key, expected: Counters, attribute: Callable[[str], str]
    ) -> Iterator[Problem]:
        record = self._table.item(key)
        if record is None:
            yield Problem(subject, "is missing")
            return
        for name, number in asdict(expected).items():
            found = record.get(attribute(name))
            if found != number:
                yield Problem(subject, f"{attribute(name)} is {found} and not {number}")


def _sessions_of_order(key: Key, item: Typed) -> set[str]:
    """Whose order an item is; by both attributes and by the key, so that a half-written one is seen, too."""
    named = {item[name]["S"] for name in ("orderId", "stripeSessionId") if "S" in item.get(name, {})}
    if not key[1].startswith("ORDER#"):
        return named
    return named or {key[1].rpartition("#")[2]}


def _difference(name: str, expected: object, found: object) -> str:
    if name in _PUBLIC:
        return f"{name} is {found} and not {expected}"
    return f"{name} is not what it must be"


def _showable(text: str) -> str:
    return text if _SESSION_ID.fullmatch(text) else "an item"


def _typed(item: Item) -> Typed:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def _plain(item: Typed) -> Item:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}
