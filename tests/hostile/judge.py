"""What may become of a hostile session: an order that is whole, a named skip, or a named error."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import recon.errors
from recon.domain.reconcile import SkipReason
from recon.errors import SyncError
from testkit.shapes import JsonObject
from tests.hostile.mutations import SECRET
from tests.hostile.paths import Path
from tests.hostile.stage import BUYER, Stage

NAMED = {
    name
    for name, kind in vars(recon.errors).items()
    if isinstance(kind, type) and issubclass(kind, SyncError) and name not in ("Unexpected", "Unfinished")
}


@dataclass(frozen=True)
class Kept:
    """What the table holds, read once."""

    outcomes: dict[str, JsonObject]
    orders: dict[str, list[JsonObject]]


def kept_of(stage: Stage) -> Kept:
    kept = Kept({}, defaultdict(list))
    for item in stage.items():
        if item["SK"].startswith("SESSION#"):
            kept.outcomes[item["SK"].removeprefix("SESSION#")] = item
        elif item["SK"].startswith("ORDER#"):
            kept.orders[item["orderId"]].append(item)
    return kept


def wrongs_of(stage: Stage, kept: Kept, session_id: str, fetched: Any, path: Path) -> list[str]:
    outcome, orders = kept.outcomes.get(session_id), kept.orders[session_id]
    if outcome is None:
        return _wrong_wait(stage, session_id, orders)
    match outcome["outcome"]:
        case "created":
            return _wrong_order(orders, fetched)
        case "skipped":
            known = outcome["reason"] in set(SkipReason) and not orders
            return [] if known else [f"skipped for {outcome.get('reason')}, {len(orders)} orders"]
        case _:
            return _wrong_error(outcome, orders, path)


def _wrong_wait(stage: Stage, session_id: str, orders: list[JsonObject]) -> list[str]:
    """Tried again later, for a reason that has a name."""
    said = [line for line in stage.told.lines if session_id in line and "tried again later" in line]
    named = any(f"'error_type': '{name}'" in line for line in said for name in NAMED)
    return [] if named and not orders else [f"no outcome, {len(orders)} orders, and the log says {said}"]


def _wrong_error(outcome: JsonObject, orders: list[JsonObject], path: Path) -> list[str]:
    if outcome["errorType"] not in NAMED or orders:
        return [f"{outcome['errorType']}, {len(orders)} orders"]
    if outcome["errorType"] == "MalformedSession" and not any(
        str(step) in outcome["errorMessage"] for step in path
    ):
        return [f"the message does not name the field: {outcome['errorMessage']}"]
    return []


def secrets_told(stage: Stage) -> list[str]:
    """Of log lines and of what the sync keeps beside orders."""
    kept = [str(item) for item in stage.items() if not item["SK"].startswith("ORDER#")]
    words = (SECRET, *BUYER)
    said = stage.told.lines + kept
    return [f"says {word!r}: {line[:300]}" for line in said for word in words if word in line]


def _wrong_order(orders: list[JsonObject], fetched: Any) -> list[str]:
    """Compared with what Stripe said, field by field, by a rule of its own."""
    if len(orders) != 1:
        return [f"{len(orders)} orders"]
    (order,) = orders
    lines = fetched["line_items"]["data"]
    pairs = [
        ("amount", order.get("amount"), fetched.get("amount_total")),
        ("amountSubtotal", order.get("amountSubtotal"), fetched.get("amount_subtotal")),
        ("currency", order.get("currency"), _lower(fetched.get("currency"))),
        ("itemCount", order["itemCount"], len(lines)),
        ("items", len(order["items"]), len(lines)),
        ("metadata", order.get("metadata") or {}, _left_of(fetched.get("metadata"))),
    ]
    for item, line in zip(order["items"], lines, strict=False):
        price = line.get("price") or {}
        pairs += [
            ("name", item.get("name"), line.get("description")),
            ("quantity", item.get("quantity"), line.get("quantity")),
            ("amountTotal", item.get("amountTotal"), line.get("amount_total")),
            ("unitPrice", item.get("unitPrice"), price.get("unit_amount")),
            ("stripePriceId", item.get("stripePriceId"), price.get("id")),
        ]
    return [
        f"{name} is {ours!r} and Stripe says {theirs!r}"
        for name, ours, theirs in pairs
        if not _same(ours, theirs)
    ]


def _same(ours: Any, theirs: Any) -> bool:
    """Absent where Stripe says nothing; a number is a number and no boolean."""
    if theirs in (None, "") and not isinstance(theirs, bool):
        return ours is None
    if isinstance(ours, Decimal):
        return type(theirs) is int and int(ours) == theirs
    return type(ours) is type(theirs) and bool(ours == theirs)


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _left_of(metadata: Any) -> dict[str, str]:
    taken = ("userId", "user_id", "quoteSignature", "quote_signature")
    return {key: value for key, value in (metadata or {}).items() if value and key not in taken}
