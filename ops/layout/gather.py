"""Reads recent sessions and what the table holds of them. Writes nothing."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ops.layout.keys import USER_PREFIX, list_sources, list_spellings
from ops.layout.model import Evidence, ReadCounts
from ops.layout.table_sample import TableSample
from producer.sample import draw_sample
from recon.domain.order_keys import ORDER_PREFIX
from recon.domain.stripe_values import is_storable
from recon.domain.table_decision import find_own_orders
from recon.dynamodb.table import Item, Key
from recon.dynamodb.user_orders import find_orders_by_session
from recon.errors import NotAllowed, SyncError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from recon.config import Settings
    from recon.dynamodb.table import Table
    from recon.retry import Deadline
    from recon.stripe.source import StripeSource

# Items that carry a session's id and are no orders: the sync's own records and the webhook's markers.
_RECORDS = ("SYSTEM", "SYNC_RUN#", "SESSION#", "EVENT#")
# Long values are no ids, and a key takes 2,048 bytes.
LONGEST_ID = 256
# Key prefixes that the scanned part of the table shows, tried with the ids of the sessions.
MOST_PREFIXES = 3


@dataclass(frozen=True)
class Sources:
    """The sources to read. `dynamodb` is the client behind `table`."""

    stripe: "StripeSource"
    table: "Table"
    dynamodb: "DynamoDBClient"
    settings: "Settings"
    pool: Executor
    deadline: "Deadline"


@dataclass(frozen=True)
class GatheredEvidence:
    """The evidence of all sessions, the part of the table, and whether the operator may not scan it."""

    evidence: tuple[Evidence, ...]
    sample: TableSample
    is_scan_denied: bool = False

    @property
    def read(self) -> ReadCounts:
        """Return what was read."""
        return self.sample.counts


def gather_evidence(sources: Sources, now: int) -> GatheredEvidence:
    """Read up to 50 recent paid sessions and their orders. `now` is in epoch seconds.

    First the sync's own lookup. The orders that it does not find are searched under the keys that each
    session's values give, then in one sample of the table, and then under the key prefixes that the sample
    shows. Raise the error of a lookup that failed.
    """
    sampled = draw_sample(sources.stripe, sources.pool, sources.settings, now, needs_user=False)
    evidence = [Evidence(session, message) for session, message in sampled]
    evidence = _add_found(sources, evidence)
    sample = TableSample(sources.dynamodb, sources.settings.table, sources.pool)
    keys = [*_list_user_keys(evidence, [USER_PREFIX]), *_list_session_keys(evidence)]
    evidence = _search(evidence, sample.query(keys))
    if not any(map(_is_lost, evidence)):
        return GatheredEvidence(tuple(evidence), sample)
    try:
        scanned = sample.scan()
    except NotAllowed:
        return GatheredEvidence(tuple(evidence), sample, is_scan_denied=True)
    evidence = _search(evidence, scanned)
    evidence = _search(evidence, sample.query(_list_user_keys(evidence, _find_prefixes(scanned))))
    return GatheredEvidence(tuple(evidence), sample)


def _add_found(sources: Sources, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Add the orders that the sync's own lookup finds, each with all of its attributes."""
    found = find_orders_by_session(
        sources.table,
        [one.message for one in evidence],
        sources.pool,
        sources.deadline,
        sort_key=sources.settings.order_sort_key,
    )
    keys: dict[str, list[Key]] = {}
    for message, orders in found.items():
        if isinstance(orders, SyncError):
            raise orders
        own = find_own_orders(message, orders)
        keys[message.session_id] = [(order.pk, order.sk) for order in own]
    wanted = dict.fromkeys(key for each in keys.values() for key in each)
    items = sources.table.get_many(list(wanted), sources.deadline)
    by_key = {(item["PK"], item["SK"]): item for item in items}
    return [
        replace(one, found=tuple(by_key[key] for key in keys[one.message.session_id] if key in by_key))
        for one in evidence
    ]


def _is_lost(one: Evidence) -> bool:
    """Return whether no order of the shop was seen. One of the sync's may hide that it does not find any."""
    return one.order is None


def _list_user_keys(evidence: Sequence[Evidence], prefixes: Sequence[str]) -> Iterator[str]:
    """Yield the partition keys that the lost sessions' values give as user ids."""
    for one in filter(_is_lost, evidence):
        ids = [
            text for source in list_sources(one.session) for text, _ in list_spellings(one.session, source)
        ]
        usable = [each for each in ids if each and len(each) <= LONGEST_ID and is_storable(each)]
        yield from (f"{prefix}{each}" for prefix in prefixes for each in usable)


def _list_session_keys(evidence: Sequence[Evidence]) -> Iterator[str]:
    """Yield the partition keys that a shop may give the order itself."""
    for one in filter(_is_lost, evidence):
        ids = filter(None, (one.message.session_id, one.message.payment_intent))
        yield from (f"{prefix}{each}" for each in ids for prefix in ("", "ORDER#"))


def _search(evidence: Sequence[Evidence], items: Sequence[Item]) -> list[Evidence]:
    """Add to each lost session the items that are its order, those that look like the sync's first."""
    orders = [item for item in items if not item["PK"].startswith(_RECORDS)]
    orders.sort(
        key=lambda item: (not item["PK"].startswith(USER_PREFIX), not item["SK"].startswith(ORDER_PREFIX))
    )
    by_mark: dict[str, list[Item]] = {}
    for item in orders:
        for mark in _list_marks(item):
            by_mark.setdefault(mark, []).append(item)
    return [
        replace(one, elsewhere=(*one.elsewhere, *_find_own(one, by_mark))) if _is_lost(one) else one
        for one in evidence
    ]


def _find_own(one: Evidence, by_mark: dict[str, list[Item]]) -> list[Item]:
    message = one.message
    marks = (message.session_id, message.payment_intent)
    found = [item for mark in marks if mark for item in by_mark.get(mark, [])]
    return sorted(found, key=lambda item: not item["PK"].startswith(USER_PREFIX))


def _list_marks(item: Item) -> set[str]:
    """Return all ids of sessions and payment intents in an item's attributes and keys."""
    texts = [value for value in item.values() if isinstance(value, str)]
    texts += [part for name in ("PK", "SK") for part in item[name].split("#")]
    return {text for text in texts if text.startswith(("cs_", "pi_"))}


def _find_prefixes(items: Sequence[Item]) -> list[str]:
    """Return the partition key prefixes of items with an id of Stripe's, the most frequent ones first."""
    counts: dict[str, int] = {}
    for item in items:
        prefix, separator, _ = item["PK"].rpartition("#")
        if _list_marks(item) and not item["PK"].startswith((*_RECORDS, USER_PREFIX)):
            counts[prefix + separator] = counts.get(prefix + separator, 0) + 1
    return sorted(counts, key=lambda prefix: -counts[prefix])[:MOST_PREFIXES]
