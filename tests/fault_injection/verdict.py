"""What a storm left in the table, read with plain boto3 and judged by the shop's truth alone.

Nothing of the product is asked: a verdict that believed it would share its mistakes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from testkit.shop import Expected, Shop

type Item = dict[str, Any]
type Key = tuple[str, str]

COUNTERS = ("enqueued", "processed", "created", "skipped", "errors")
_RUN, _STATE = "STRIPE_ORDER_SYNC#", ("SYSTEM", "STRIPE_ORDER_SYNC")
_ORDERED = (Expected.ORDER_KEPT, Expected.ORDER_RECOVERED, Expected.DEAD)


@dataclass
class Verdict:
    """Sentences about what is wrong, by the harm. Right when all are empty."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.miscounted or self.touched)


def scanned(client: Any, table: str) -> dict[Key, Item]:
    """Items in DynamoDB's own form, by key."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {(item["PK"]["S"], item["SK"]["S"]): item for page in pages for item in page["Items"]}


def judged(table: Mapping[Key, Item], shops: Sequence[Shop], *, whole: bool = True) -> Verdict:
    """After everything that failed was redriven. `whole`: every run looked at every session there is."""
    verdict = Verdict()
    _judge_orders(table, shops, verdict)
    _judge_what_is_not_ours(table, shops, verdict)
    _judge_counts(table, shops, verdict, whole=whole)
    return verdict


def _judge_orders(table: Mapping[Key, Item], shops: Sequence[Shop], verdict: Verdict) -> None:
    orders: defaultdict[str, list[Key]] = defaultdict(list)
    for key, item in table.items():
        if key[1].startswith("ORDER#"):
            orders[item["stripeSessionId"]["S"]].append(key)
    for truth in (truth for shop in shops for truth in shop.truth):
        wanted, found = int(truth.expected in _ORDERED), len(orders.pop(truth.session_id, []))
        if found < wanted:
            verdict.lost.append(f"{truth.session_id} has no order")
        if found > wanted:
            verdict.doubled.append(f"{truth.session_id} has {found} orders and not {wanted}")
    verdict.doubled.extend(f"{session} is no session of the shop and has an order" for session in orders)


def _judge_what_is_not_ours(table: Mapping[Key, Item], shops: Sequence[Shop], verdict: Verdict) -> None:
    """Byte for byte."""
    for item in (item for shop in shops for item in (*shop.webhook_orders, *shop.webhook_events)):
        if table.get((item["PK"], item["SK"])) != _typed(item):
            verdict.touched.append(f"what the webhook wrote is not as it was: {item['SK']} of {item['PK']}")


def _judge_counts(table: Mapping[Key, Item], shops: Sequence[Shop], verdict: Verdict, *, whole: bool) -> None:
    outcomes = _outcomes(table)
    runs = {
        key[1].removeprefix(_RUN): _plain(item)
        for key, item in table.items()
        if key[0] == "SYSTEM" and key[1].startswith(_RUN)
    }
    sessions = sum(len(shop.truth) for shop in shops)
    for run_id, run in runs.items():
        counted = {name: run.get(name) for name in COUNTERS}
        enqueued = sessions if whole else run.get("enqueued")
        true = _counts(outcomes[run_id], enqueued)
        if counted != true:
            verdict.miscounted.append(f"run {run_id} counts {counted}; its outcomes are {true}")
        if run.get("status") != "done":
            verdict.miscounted.append(f"run {run_id} is {run.get('status')}")
        if true["processed"] != true["enqueued"]:
            verdict.miscounted.append(f"run {run_id} has {true['processed']} of {enqueued} outcomes")
    _judge_state(table, runs, verdict)
    if whole and runs:
        _judge_first_night(outcomes[min(runs)], shops, verdict)


def _judge_state(table: Mapping[Key, Item], runs: Mapping[str, Item], verdict: Verdict) -> None:
    state = _plain(table.get(_STATE, {}))
    run = runs.get(state.get("lastSyncRunId", ""), {})
    told = {name: state.get(f"lastSync{name.capitalize()}") for name in (*COUNTERS, "status")}
    if not run or told != {name: run.get(name) for name in told}:
        verdict.miscounted.append(f"the state says {told} of run {state.get('lastSyncRunId')}")


def _judge_first_night(outcomes: Mapping[str, str], shops: Sequence[Shop], verdict: Verdict) -> None:
    """The run that found each missing order says that it wrote it, and no other."""
    for truth in (truth for shop in shops for truth in shop.truth):
        was_missing = truth.expected in (Expected.ORDER_RECOVERED, Expected.DEAD)
        expected = "created" if was_missing else "skipped"
        if (said := outcomes.get(truth.session_id)) != expected:
            verdict.miscounted.append(f"{truth.session_id} is {said} and not {expected}")


def _outcomes(table: Mapping[Key, Item]) -> defaultdict[str, dict[str, str]]:
    """By run and session."""
    outcomes: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for (pk, sk), item in table.items():
        if pk.startswith("SYNC_RUN#"):
            outcomes[pk.removeprefix("SYNC_RUN#")][sk.removeprefix("SESSION#")] = item["outcome"]["S"]
    return outcomes


def _counts(outcomes: Mapping[str, str], enqueued: int | None) -> dict[str, int | None]:
    kinds = Counter(outcomes.values())
    numbers = (enqueued, kinds.total(), kinds["created"], kinds["skipped"], kinds["error"])
    return dict(zip(COUNTERS, numbers, strict=True))


def secrets_and_bugs(lines: Iterable[str], secrets: Sequence[str]) -> list[str]:
    """Lines of a log that no fault excuses."""
    return [
        line[:300].strip()
        for line in lines
        if '"message":"Unexpected' in line.replace(": ", ":") or any(secret in line for secret in secrets)
    ]


def _typed(item: Item) -> Item:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def _plain(item: Item) -> Item:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}
