"""`expand[]`: the paths that Stripe follows, their greatest depth, and the errors for other paths."""

from collections.abc import Iterable, Mapping
from typing import Final

from testkit.fake_stripe import errors

MAX_DEPTH: Final = 4

type ExpandedFields = Mapping[str, "ExpandedFields"]

NOTHING: Final[ExpandedFields] = {}

# The fields that can be expanded in each kind of object, and the kind of their value; only those that the
# product expands. A line item contains its price anyway, so that it is only a step to its product. A
# session's discounts, shipping cost and totals are such steps too. `data` counts as a level.
_FOLLOWED: Final[Mapping[str, Mapping[str, str]]] = {
    "sessions": {"data": "checkout.session"},
    "items": {"data": "item"},
    "events": {},
    "disputes": {},
    "products": {},
    "checkout.session": {
        "discounts": "session_discount",
        "line_items": "items",
        "payment_intent": "payment_intent",
        "shipping_cost": "shipping_cost",
        "total_details": "total_details",
    },
    "session_discount": {"coupon": "coupon", "promotion_code": "promotion_code"},
    "shipping_cost": {"shipping_rate": "shipping_rate"},
    "total_details": {"breakdown": "breakdown"},
    "item": {"price": "price"},
    "price": {"product": "product"},
    "payment_intent": {"latest_charge": "charge", "review": "review"},
    "charge": {"balance_transaction": "balance_transaction"},
    "invoice_payments": {"data": "invoice_payment"},
    # An invoice payment contains what it was paid with anyway, so that it is only a step.
    "invoice_payment": {"payment": "payment"},
    "payment": {"payment_intent": "payment_intent", "charge": "charge"},
}


def parse_expansion(paths: Iterable[str], kind: str) -> ExpandedFields:
    """Return the paths as a tree. Raise an error response if an object of this kind cannot expand them."""
    tree: dict[str, ExpandedFields] = {}
    for path in paths:
        if path.count(".") + 1 > MAX_DEPTH:
            raise errors.expanded_too_deep(path)
        _check(path, kind)
        _plant(tree, path.split("."))
    return tree


def _check(path: str, kind: str) -> None:
    reached = kind
    for step in path.split("."):
        followed = _FOLLOWED.get(reached, {})
        if step not in followed:
            inside = _FOLLOWED.get(followed.get("data", ""), {})
            raise errors.not_expandable(step, on_list=step in inside)
        reached = followed[step]


def _plant(tree: dict[str, ExpandedFields], steps: list[str]) -> None:
    branch = tree
    for step in steps:
        grown = dict(branch.get(step, NOTHING))
        branch[step] = grown
        branch = grown
