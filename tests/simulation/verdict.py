"""What must be true of a shop at the end, whatever happened on the way, and the trace where it is not."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from testkit.shapes import JsonObject
from testkit.world import wire
from tests.simulation.history import History, iso
from tests.simulation.plans import Sale

LONG_STORY = 40  # lines
RUN_PREFIX = "STRIPE_ORDER_SYNC#"


@dataclass(frozen=True)
class Wrong:
    """`session_id`: whose trace tells the story, None where it is nobody's."""

    sentence: str
    session_id: str | None = None


@dataclass(frozen=True)
class Books:
    """The table, sorted out once."""

    orders: dict[str, list[JsonObject]]
    runs: dict[str, JsonObject]
    outcomes: dict[str, list[JsonObject]]
    pending: frozenset[str]


def wrong_of(history: History) -> list[Wrong]:
    books = _books(history.world.items())
    found = [wrong for sale in history.plan.sales if (wrong := _wrong_order(sale, books))]
    found += _changed_orders(history)
    found += [
        Wrong(f"{sale.id} still waits for its payment", sale.id) for sale in _left_waiting(history, books)
    ]
    found += [wrong for run_id in books.runs if (wrong := _wrong_run(run_id, books))]
    found += [Wrong(f"a message is left in the dead-letter queue: {body}") for body in history.world.dead()]
    return found


def lost_or_doubled(found: list[Wrong]) -> list[Wrong]:
    return [wrong for wrong in found if "orders and not" in wrong.sentence]


def report(history: History, found: list[Wrong]) -> str:
    """What is wrong, how to see it once more, and the story of the first few sessions concerned."""
    seed = history.plan.seed
    concerned = list(dict.fromkeys(wrong.session_id for wrong in found if wrong.session_id))[:3]
    lines = [
        f"seed {seed}: {len(found)} wrong. Once more: SIMULATION_SEED={seed} pytest tests/simulation",
        *(f"  {wrong.sentence}" for wrong in found[:20]),
        f"  {history.plan.calendar}",
    ]
    for session_id in concerned:
        lines += ["", f"{session_id}:", *_story(history, session_id)]
    return "\n".join(lines)


def _story(history: History, session_id: str) -> list[str]:
    told = [
        (moment, words if of else f"[{words}]")
        for moment, of, words in history.lines
        if of in (None, session_id)
    ]
    mine = [index for index, (_, words) in enumerate(told) if not words.startswith("[")]
    # What every session shares is told from the first line that is its own to a few after the last.
    shared = told[mine[0] : mine[-1] + 4] if mine else told
    lines = [f"  {iso(moment)} {words}" for moment, words in shared]
    if len(lines) > LONG_STORY:
        lines[LONG_STORY // 2 : -LONG_STORY // 2] = ["  …"]
    kept = [item for item in history.world.items() if _concerns(item, session_id)]
    return lines + [f"  {_short(item)}" for item in kept]


def _concerns(item: JsonObject, session_id: str) -> bool:
    return item["SK"] == f"SESSION#{session_id}" or session_id in (item.get("orderId"), item.get("sessionId"))


def _short(item: JsonObject) -> dict[str, Any]:
    shown = ("PK", "SK", "source", "syncRunId", "outcome", "reason", "errorType", "updatedAt")
    return {name: item[name] for name in shown if name in item}


def _books(items: list[JsonObject]) -> Books:
    orders: dict[str, list[JsonObject]] = {}
    outcomes: dict[str, list[JsonObject]] = {}
    for item in items:
        if item["SK"].startswith("ORDER#"):
            orders.setdefault(item["orderId"], []).append(item)
        if item["PK"].startswith("SYNC_RUN#"):
            outcomes.setdefault(item["PK"].removeprefix("SYNC_RUN#"), []).append(item)
    system = {item["SK"]: item for item in items if item["PK"] == "SYSTEM"}
    runs = {key.removeprefix(RUN_PREFIX): item for key, item in system.items() if key.startswith(RUN_PREFIX)}
    pending = frozenset(key.removeprefix("PENDING#") for key in system if key.startswith("PENDING#"))
    return Books(orders, runs, outcomes, pending)


def _wrong_order(sale: Sale, books: Books) -> Wrong | None:
    count = len(books.orders.get(sale.id, ()))
    expected = int(sale.wants_order)
    return None if count == expected else Wrong(f"{sale.id} has {count} orders and not {expected}", sale.id)


def _changed_orders(history: History) -> list[Wrong]:
    world = history.world
    changed = []
    for (pk, sk), written in history.webhook.written.items():
        there = world.memory.get_item(TableName=world.table, Key=wire({"PK": pk, "SK": sk}))
        if there.get("Item") != written:
            changed.append(Wrong(f"the webhook's order {pk} {sk} is changed", sk.split("#")[2]))
    return changed


def _left_waiting(history: History, books: Books) -> list[Sale]:
    return [sale for sale in history.plan.sales if sale.paid is not None and sale.id in books.pending]


def _wrong_run(run_id: str, books: Books) -> Wrong | None:
    run = books.runs[run_id]
    kinds = Counter(item["outcome"] for item in books.outcomes.get(run_id, []))
    counted = [run.get(name, 0) for name in ("processed", "created", "skipped", "errors")]
    if counted != [kinds.total(), kinds["created"], kinds["skipped"], kinds["error"]]:
        return Wrong(f"run {run_id} counts {counted}, its outcomes are {dict(kinds)}")
    if run["status"] == "done" and run["enqueued"] != kinds.total():
        return Wrong(f"run {run_id} is done with {run['enqueued']} enqueued and {kinds.total()} outcomes")
    if run["status"] == "running":
        return Wrong(f"run {run_id} never ends")
    return None
