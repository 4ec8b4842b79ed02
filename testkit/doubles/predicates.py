"""What each comparison and function of a condition means, as functions of an item.

A missing attribute, or one of another type, is unequal, and neither less nor greater.
"""

from collections.abc import Callable
from typing import Any

from testkit.doubles.errors import Refused, invalid
from testkit.doubles.operands import Bound, refuse_repeated, require_kind
from testkit.doubles.values import ORDERED_TYPES, TYPES, Item, Value, kind_of, order_key

type Predicate = Callable[[Item], bool]

_SIZED = frozenset({"S", "B", "SS", "NS", "BS", "L", "M"})


# Comparisons


def _equals(operands: list[Bound]) -> Predicate:
    left, right = operands
    return lambda item: _same(left.get(item), right.get(item))


def _differs(operands: list[Bound]) -> Predicate:
    left, right = operands
    return lambda item: not _same(left.get(item), right.get(item))


def _same(one: Value | None, other: Value | None) -> bool:
    return one is not None and one == other


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[list[Bound]], Predicate]:
    def bind(operands: list[Bound]) -> Predicate:
        left, right = operands
        return lambda item: _compares(compare, left.get(item), right.get(item))

    return bind


def _compares(compare: Callable[[Any, Any], bool], one: Value | None, other: Value | None) -> bool:
    if one is None or other is None or kind_of(one) != kind_of(other) or kind_of(one) not in ORDERED_TYPES:
        return False
    return compare(order_key(one), order_key(other))


def _between(operands: list[Bound]) -> Predicate:
    value, low, high = operands
    _check_bounds(low, high)
    return lambda item: (
        _compares(lambda a, b: a >= b, value.get(item), low.get(item))
        and _compares(lambda a, b: a <= b, value.get(item), high.get(item))
    )


def _check_bounds(low: Bound, high: Bound) -> None:
    if low.constant is None or high.constant is None:
        return
    bounds = (
        f"lower bound operand: AttributeValue: {_shown(low.constant)}, "
        f"upper bound operand: AttributeValue: {_shown(high.constant)}"
    )
    if low.kind != high.kind:
        raise invalid(f"The BETWEEN operator requires same data type for lower and upper bounds; {bounds}")
    if order_key(low.constant) > order_key(high.constant):
        raise invalid(
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; " + bounds
        )


def _shown(value: Value) -> str:
    ((kind, content),) = value.items()
    return f"{{{kind}:{content}}}"


def _among(operands: list[Bound]) -> Predicate:
    value, *choices = operands
    return lambda item: any(_same(value.get(item), choice.get(item)) for choice in choices)


COMPARISONS: dict[str, Callable[[list[Bound]], Predicate]] = {
    "=": _equals,
    "<>": _differs,
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "BETWEEN": _between,
    "IN": _among,
}


# Functions


def size_of(operand: Bound) -> Bound:
    require_kind("size", operand, _SIZED)

    def get(item: Item) -> Value | None:
        value = operand.get(item)
        if value is None or kind_of(value) not in _SIZED:
            return None
        content = value[kind_of(value)]
        return {"N": str(len(content.encode() if isinstance(content, str) else content))}

    return Bound(get, kind="N")


def _exists(operands: list[Bound]) -> Predicate:
    (operand,) = operands
    if operand.trail is None:
        raise _needs_path("attribute_exists")
    return lambda item: operand.get(item) is not None


def _not_exists(operands: list[Bound]) -> Predicate:
    (operand,) = operands
    if operand.trail is None:
        raise _needs_path("attribute_not_exists")
    return lambda item: operand.get(item) is None


def _needs_path(function: str) -> Refused:
    return invalid(f"Operator or function requires a document path; operator or function: {function}")


def _has_type(operands: list[Bound]) -> Predicate:
    value, wanted = operands
    if value.trail is None:
        raise _needs_path("attribute_type")
    if wanted.constant is None or wanted.kind != "S":
        raise _wrong_type("attribute_type", wanted.kind)
    name = wanted.constant["S"]
    if name not in TYPES:
        raise invalid(
            f"Invalid attribute type name found; type: {name}, valid types: {{{','.join(sorted(TYPES))}}}"
        )
    return lambda item: kind_of(value.get(item) or {"": None}) == name


def _wrong_type(function: str, kind: str | None) -> Refused:
    return invalid(
        "Incorrect operand type for operator or function; "
        f"operator or function: {function}, operand type: {kind}"
    )


def _begins_with(operands: list[Bound]) -> Predicate:
    for operand in operands:
        require_kind("begins_with", operand, frozenset({"S", "B"}))
    refuse_repeated("begins_with", operands)
    value, prefix = operands
    return lambda item: _starts(value.get(item), prefix.get(item))


def _starts(value: Value | None, prefix: Value | None) -> bool:
    if value is None or prefix is None or kind_of(value) != kind_of(prefix) or kind_of(value) not in "SB":
        return False
    return bool(value[kind_of(value)].startswith(prefix[kind_of(prefix)]))


def _contains(operands: list[Bound]) -> Predicate:
    refuse_repeated("contains", operands)
    container, element = operands
    return lambda item: _holds(container.get(item), element.get(item))


def _holds(container: Value | None, element: Value | None) -> bool:
    if container is None or element is None:
        return False
    kind, content = next(iter(container.items()))
    if kind == "L":
        return element in content
    inner = {"S": "S", "B": "B", "SS": "S", "NS": "N", "BS": "B"}.get(kind)
    return inner == kind_of(element) and element[kind_of(element)] in content


PREDICATES: dict[str, Callable[[list[Bound]], Predicate]] = {
    "attribute_exists": _exists,
    "attribute_not_exists": _not_exists,
    "attribute_type": _has_type,
    "begins_with": _begins_with,
    "contains": _contains,
}
