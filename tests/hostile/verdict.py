"""The permitted results of a hostile session: a complete order, a named skip, or a named error."""

from decimal import Decimal
from typing import Any

import recon.errors
from recon.domain.outcome import SkipReason
from recon.errors import SyncError
from testkit.builders import RUN
from testkit.invariants import TableRecords, find_leaked_secrets
from testkit.shop import Record
from tests.hostile.field_mutations import SECRET
from tests.hostile.field_paths import FieldPath
from tests.hostile.hostile_shop import BUYER, HostileShop

NAMED_ERRORS = {
    name
    for name, kind in vars(recon.errors).items()
    if isinstance(kind, type) and issubclass(kind, SyncError) and name not in ("Unexpected", "Unfinished")
}
_USED_METADATA = ("userId", "user_id", "quoteSignature", "quote_signature")


def check_session(
    shop: HostileShop, records: TableRecords, session_id: str, fetched: Any, path: FieldPath
) -> list[str]:
    """Return what is wrong with a session of which the field at `path` was mutated."""
    outcome, orders = records.outcomes[RUN].get(session_id), records.read_orders(session_id)
    if outcome is None:
        return _check_retry(shop, session_id, orders)
    match outcome["outcome"]:
        case "created":
            return _check_order(orders, fetched)
        case "skipped":
            is_known = outcome["reason"] in set(SkipReason) and not orders
            return [] if is_known else [f"skipped for {outcome.get('reason')}, {len(orders)} orders"]
        case _:
            return _check_error(outcome, orders, path)


def _check_retry(shop: HostileShop, session_id: str, orders: list[Record]) -> list[str]:
    """Check that the session is retried for a named error."""
    lines = [line for line in shop.log.lines if session_id in line and "tried again later" in line]
    is_named = any(f"'error_type': '{name}'" in line for line in lines for name in NAMED_ERRORS)
    return [] if is_named and not orders else [f"no outcome, {len(orders)} orders, and the log says {lines}"]


def _check_error(outcome: Record, orders: list[Record], path: FieldPath) -> list[str]:
    error, message = outcome["errorType"], outcome.get("errorMessage", "")
    if error not in NAMED_ERRORS or orders:
        return [f"{error}, {len(orders)} orders"]
    if error == "MalformedSession" and not any(str(step) in message for step in path):
        return [f"the message does not name the field: {message}"]
    return []


def check_secrets(shop: HostileShop) -> list[str]:
    """Search log lines, and all items except orders, for what the mutations and the buyer put in."""
    kept = [str(item) for (_, sk), item in shop.records().items.items() if not sk.startswith("ORDER#")]
    return list(find_leaked_secrets([*shop.log.lines, *kept], (SECRET, *BUYER)))


def _check_order(orders: list[Record], fetched: Any) -> list[str]:
    """Compare the order with Stripe's answer, field by field, without the product's rules."""
    if len(orders) != 1:
        return [f"{len(orders)} orders"]
    (order,) = orders
    lines, currency = fetched["line_items"]["data"], fetched.get("currency")
    metadata = fetched.get("metadata") or {}
    other_metadata = {key: value for key, value in metadata.items() if value and key not in _USED_METADATA}
    pairs = [
        ("amount", order.get("amount"), fetched.get("amount_total")),
        ("amountSubtotal", order.get("amountSubtotal"), fetched.get("amount_subtotal")),
        ("currency", order.get("currency"), currency.lower() if isinstance(currency, str) else currency),
        *_list_totals(order, fetched),
        ("itemCount", order["itemCount"], len(lines)),
        ("items", len(order["items"]), len(lines)),
        ("metadata", order.get("metadata") or {}, other_metadata),
    ]
    for item, line in zip(order["items"], lines, strict=False):
        price = line.get("price") or {}
        pairs += [
            ("name", item.get("name"), line.get("description") or _product_name(price)),
            ("quantity", item.get("quantity"), line.get("quantity")),
            ("amountTotal", item.get("amountTotal"), line.get("amount_total")),
            ("amountTax", item.get("amountTax"), line.get("amount_tax") or None),
            ("amountDiscount", item.get("amountDiscount"), line.get("amount_discount") or None),
            ("unitPrice", item.get("unitPrice"), _unit_price(line)),
            ("stripePriceId", item.get("stripePriceId"), price.get("id")),
        ]
    return [
        f"{name} is {ours!r} and Stripe says {theirs!r}"
        for name, ours, theirs in pairs
        if not _is_same(ours, theirs)
    ]


def _list_totals(order: Record, fetched: Any) -> list[tuple[str, Any, Any]]:
    totals = fetched.get("total_details") or {}
    shown = fetched.get("presentment_details") or {}
    presentment = order.get("presentment") or {}
    known = shown.get("presentment_amount") if shown.get("presentment_currency") else None
    return [
        ("amountDiscount", order.get("amountDiscount"), totals.get("amount_discount") or None),
        ("amountShipping", order.get("amountShipping"), totals.get("amount_shipping") or None),
        ("amountTax", order.get("amountTax"), totals.get("amount_tax") or None),
        *([("presentment", presentment.get("amount"), known or None)] if shown else []),
    ]


def _product_name(price: Any) -> Any:
    """Return the name of a product, which an order has only if it is a text that can be stored."""
    product = price.get("product")
    name = product.get("name") if isinstance(product, dict) else None
    return name if isinstance(name, str) else None


def _unit_price(line: Any) -> Any:
    """Return what one piece costs if that is a whole number. The quantity of a hostile line may be 0."""
    subtotal, quantity = line.get("amount_subtotal"), line.get("quantity")
    if subtotal is None or quantity is None:
        return None
    if quantity == 0:
        price = line.get("price") or {}
        same = str(price.get("currency")).lower() == str(line.get("currency")).lower()
        return price.get("unit_amount") if subtotal == 0 and same else None
    return None if subtotal % quantity else subtotal // quantity


def _is_same(ours: Any, theirs: Any) -> bool:
    """Compare values: empty ones are absent from an order, and a number is not a boolean."""
    if theirs in (None, "") and not isinstance(theirs, bool):
        return ours is None
    if isinstance(ours, Decimal):
        return type(theirs) is int and int(ours) == theirs
    return type(ours) is type(theirs) and bool(ours == theirs)
