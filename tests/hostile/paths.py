"""Every field that Stripe's types give the objects we read, as paths into them. Generated from the pinned
stripe library's annotations: a field that Stripe adds is hostile at once."""

import inspect
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import stripe
from stripe.checkout import Session

from testkit.stripe_types import properties

# What the product has expanded; all other references are ids.
EXPANDED = (stripe.PaymentIntent, stripe.Charge, stripe.Price, stripe.Product, stripe.LineItem)
type Path = tuple[str | int, ...]


def paths_of_a_session() -> list[Path]:
    """Through line items, price, product, payment and charge, as deep as they go."""
    return list(_of_object(Session, (), frozenset()))


def _of_object(cls: type[Any], at: Path, above: frozenset[type[Any]]) -> Iterator[Path]:
    for name, hint in properties(cls).items():
        path = (*at, name)
        yield path
        yield from _inside(hint, path, above | {cls})


def _inside(hint: Any, path: Path, above: frozenset[type[Any]]) -> Iterator[Path]:
    if get_origin(hint) is Union:
        for member in get_args(hint):
            yield from _inside(member, path, above)
    elif get_origin(hint) is stripe.ListObject:
        yield from ((*path, name) for name in ("object", "data", "has_more", "url"))
        yield from _element(get_args(hint)[0], (*path, "data", 0), above)
    elif get_origin(hint) is list:
        yield from _element(get_args(hint)[0], (*path, 0), above)
    elif inspect.isclass(hint) and issubclass(hint, stripe.StripeObject) and _is_part(hint, above):
        yield from _of_object(hint, path, above)


def _element(hint: Any, path: Path, above: frozenset[type[Any]]) -> Iterator[Path]:
    yield path
    yield from _inside(hint, path, above)


def _is_part(cls: type[Any], above: frozenset[type[Any]]) -> bool:
    """A part of an object, or one that is expanded; never an object inside of itself."""
    if cls in above or not hasattr(cls, "__annotations__"):
        return False
    return cls in EXPANDED or not hasattr(cls, "OBJECT_NAME")
