"""`expand[]`: which paths Stripe follows, how deep, and what it says about the others."""

from collections.abc import Iterable, Mapping
from typing import Final

from testkit.fake_stripe import errors

MAX_DEPTH: Final = 4

type Expansion = Mapping[str, "Expansion"]

NOTHING: Final[Expansion] = {}

# What can be followed from each kind of object, and the kind it leads to. A price stands inside its line
# item already, so it is only a step on the way to its product. `data` counts as a level.
_FOLLOWED: Final[Mapping[str, Mapping[str, str]]] = {
    "sessions": {"data": "checkout.session"},
    "items": {"data": "item"},
    "events": {},
    "disputes": {"data": "dispute"},
    "checkout.session": {"line_items": "items", "payment_intent": "payment_intent"},
    "item": {"price": "price"},
    "price": {"product": "product", "currency_options": "nothing", "tiers": "nothing"},
    "payment_intent": {"latest_charge": "charge"},
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
}


def expansion(paths: Iterable[str], kind: str) -> Expansion:
    """The paths as a tree, checked against what an answer of this kind can expand."""
    tree: dict[str, Expansion] = {}
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


def _plant(tree: dict[str, Expansion], steps: list[str]) -> None:
    branch = tree
    for step in steps:
        grown = dict(branch.get(step, NOTHING))
        branch[step] = grown
        branch = grown
