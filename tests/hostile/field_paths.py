"""Every field that Stripe's types give the objects that the product reads, as paths into a session.

Paths are generated from the annotations of the pinned stripe library, so a new field is covered at once.
"""

import inspect
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import stripe
from stripe.checkout import Session

from testkit.stripe_types import properties

# The objects that the product expands; all other references are ids.
EXPANDED = (
    stripe.PaymentIntent,
    stripe.Charge,
    stripe.BalanceTransaction,
    stripe.Price,
    stripe.Product,
    stripe.LineItem,
    stripe.ShippingRate,
    stripe.PromotionCode,
)
type FieldPath = tuple[str | int, ...]


def list_session_paths() -> list[FieldPath]:
    """Return all paths through the session and the objects that are expanded in it."""
    return list_paths(Session)


def list_paths(cls: type[Any]) -> list[FieldPath]:
    """Return all paths through an object of one of the library's classes and what is expanded in it."""
    return list(_walk_object(cls, (), frozenset()))


def _walk_object(cls: type[Any], at: FieldPath, above: frozenset[type[Any]]) -> Iterator[FieldPath]:
    for name, hint in properties(cls).items():
        yield from _walk_element(hint, (*at, name), above | {cls})


def _walk_element(hint: Any, path: FieldPath, above: frozenset[type[Any]]) -> Iterator[FieldPath]:
    yield path
    yield from _walk_inside(hint, path, above)


def _walk_inside(hint: Any, path: FieldPath, above: frozenset[type[Any]]) -> Iterator[FieldPath]:
    if get_origin(hint) is Union:
        for member in get_args(hint):
            yield from _walk_inside(member, path, above)
    elif get_origin(hint) is stripe.ListObject:
        yield from ((*path, name) for name in ("object", "data", "has_more", "url"))
        yield from _walk_element(get_args(hint)[0], (*path, "data", 0), above)
    elif get_origin(hint) is list:
        yield from _walk_element(get_args(hint)[0], (*path, 0), above)
    elif inspect.isclass(hint) and issubclass(hint, stripe.StripeObject) and _is_part(hint, above):
        yield from _walk_object(hint, path, above)


def _is_part(cls: type[Any], above: frozenset[type[Any]]) -> bool:
    """Return whether a class is a part of an object or expanded; an object is never inside itself."""
    if cls in above or not hasattr(cls, "__annotations__"):
        return False
    return cls in EXPANDED or not hasattr(cls, "OBJECT_NAME")
