"""Conditions and filters: a parsed tree and a request's placeholders, made into a function of an item.

Everything the service can refuse without looking at an item is refused while binding.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.doubles.errors import Refused, invalid
from tests.doubles.expressions import (
    And,
    Call,
    Condition,
    Literal,
    Not,
    Operand,
    Or,
    Parsed,
    Path,
    Sum,
    Test,
    parse_condition,
    parse_projection,
)
from tests.doubles.reserved_words import RESERVED_WORDS
from tests.doubles.values import ORDERED_TYPES, TYPES, Item, Value, kind_of, normalised, order_key

type Trail = tuple[str | int, ...]
type Predicate = Callable[[Item], bool]

_SIZED = frozenset({"S", "B", "SS", "NS", "BS", "L", "M"})
_ARITY = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
    "if_not_exists": 2,
    "list_append": 2,
}
_UPDATE_FUNCTIONS = frozenset({"if_not_exists", "list_append"})


@dataclass(frozen=True, slots=True)
class Bound:
    """An operand of this request: how to get it from an item, and what is known of it without one."""

    get: Callable[[Item], Value | None]
    kind: str | None = None
    trail: Trail | None = None
    constant: Value | None = None


class Placeholders:
    """`ExpressionAttributeNames` and `-Values` of one request; each one must be used."""

    def __init__(self, names: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> None:
        self._names: Mapping[str, str] = _checked("ExpressionAttributeNames", names, "#")
        self._values = {
            key: _normalised_placeholder(key, value)
            for key, value in _checked("ExpressionAttributeValues", values, ":").items()
        }
        self._unused_names = set(self._names)
        self._unused_values = set(self._values)
        self._expressions = 0

    def use(self, parsed: Parsed[Any]) -> None:
        self._expressions += 1
        self._unused_names -= parsed.names
        self._unused_values -= parsed.values

    def finish(self) -> None:
        for noun, given, unused in (
            ("ExpressionAttributeNames", self._names, self._unused_names),
            ("ExpressionAttributeValues", self._values, self._unused_values),
        ):
            if given and not self._expressions:
                raise invalid(f"{noun} can only be specified when using expressions")
            if unused:
                raise invalid(
                    f"Value provided in {noun} unused in expressions: keys: {{{', '.join(sorted(unused))}}}"
                )

    def value(self, literal: Literal) -> Value:
        if literal.name not in self._values:
            raise invalid(
                "An expression attribute value used in expression is not defined; "
                f"attribute value: {literal.name}"
            )
        return self._values[literal.name]

    def trail(self, path: Path) -> Trail:
        return tuple(self._attribute(part) if isinstance(part, str) else part for part in path.parts)

    def _attribute(self, name: str) -> str:
        if name[0] == "#":
            if name not in self._names:
                raise invalid(
                    "An expression attribute name used in the document path is not defined; "
                    f"attribute name: {name}"
                )
            return self._names[name]
        if name.lower() in RESERVED_WORDS:
            raise invalid(f"Attribute name is a reserved keyword; reserved keyword: {name}")
        return name

    # Expressions

    def condition(self, parameter: str, text: str, *, refused: frozenset[str] = frozenset()) -> Predicate:
        """`refused` are the key attributes, which a query's filter may not mention."""
        with prefixed(parameter):
            parsed = parse_condition(text)
            self.use(parsed)
            holds = self._condition(parsed.tree)
        for path in paths_in(parsed.tree) if refused else ():
            if self.trail(path)[0] in refused:
                raise invalid(
                    "Filter Expression can only contain non-primary key attributes: "
                    f"Primary key attribute: {self.trail(path)[0]}"
                )
        return holds

    def key_condition(self, text: str) -> Condition:
        with prefixed("KeyConditionExpression"):
            parsed = parse_condition(text)
            self.use(parsed)
            self._condition(parsed.tree)
            return parsed.tree

    def projection(self, text: str) -> tuple[Trail, ...]:
        with prefixed("ProjectionExpression"):
            parsed = parse_projection(text)
            self.use(parsed)
            trails = tuple(self.trail(path) for path in parsed.tree)
            refuse_overlap(trails)
            return trails

    def _condition(self, tree: Condition) -> Predicate:
        match tree:
            case And(parts):
                every = [self._condition(part) for part in parts]
                return lambda item: all(holds(item) for holds in every)
            case Or(parts):
                some = [self._condition(part) for part in parts]
                return lambda item: any(holds(item) for holds in some)
            case Not(part):
                inner = self._condition(part)
                return lambda item: not inner(item)
            case Test():
                return self._test(tree)
            case Call():
                return self._predicate(tree)

    def _test(self, test: Test) -> Predicate:
        operands = [self.operand(part) for part in test.operands]
        if test.operator not in {"=", "<>", "IN"}:
            for operand in operands:
                _require_kind(test.operator, operand, ORDERED_TYPES)
        _refuse_repeated(test.operator, operands)
        return _COMPARISONS[test.operator](operands)

    def _predicate(self, call: Call) -> Predicate:
        operands = [self.operand(part) for part in self._checked_call(call).operands]
        if call.function == "size":
            raise _misused(call.function)
        return _PREDICATES[call.function](operands)

    def _checked_call(self, call: Call) -> Call:
        if call.function not in _ARITY:
            raise invalid(f"Invalid function name; function: {call.function}")
        if call.function in _UPDATE_FUNCTIONS:
            raise invalid(f"The function is not allowed in a condition expression; function: {call.function}")
        check_arity(call)
        return call

    def operand(self, tree: Operand) -> Bound:
        match tree:
            case Path():
                trail = self.trail(tree)
                return Bound(lambda item: found(item, trail), trail=trail)
            case Literal():
                value = self.value(tree)
                return Bound(lambda item: value, kind=kind_of(value), constant=value)
            case Call(function, operands) if function == "size":
                check_arity(tree)
                return _size(self.operand(operands[0]))
            case Call(function):
                raise _misused(self._checked_call(tree).function)
            case Sum():
                raise invalid("Syntax error; arithmetic is not allowed in a condition expression")


class prefixed:  # noqa: N801  reads as a sentence where it is used
    """Names the parameter in the sentences of whatever is refused inside."""

    def __init__(self, parameter: str) -> None:
        self._parameter = parameter

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Refused):
            raise invalid(f"Invalid {self._parameter}: {error.message}") from error


def found(item: Item, trail: Trail) -> Value | None:
    """The value at the end of a document path, or None where the path leads nowhere."""
    value: Value | None = item.get(str(trail[0]))
    for part in trail[1:]:
        if value is None:
            return None
        value = _inside(value, part)
    return value


def _inside(value: Value, part: str | int) -> Value | None:
    kind, content = next(iter(value.items()))
    if isinstance(part, str):
        return content.get(part) if kind == "M" else None
    return content[part] if kind == "L" and part < len(content) else None


def paths_in(tree: Condition | Operand) -> Iterator[Path]:
    match tree:
        case Path():
            yield tree
        case And(parts) | Or(parts) | Test(_, parts) | Call(_, parts):
            for part in parts:
                yield from paths_in(part)
        case Not(part):
            yield from paths_in(part)
        case _:
            return


def check_arity(call: Call) -> None:
    if len(call.operands) != _ARITY[call.function]:
        raise invalid(
            "Incorrect number of operands for operator or function; "
            f"operator or function: {call.function}, number of operands: {len(call.operands)}"
        )


def refuse_overlap(trails: tuple[Trail, ...]) -> None:
    for at, one in enumerate(trails):
        for other in trails[at + 1 :]:
            shared = min(len(one), len(other))
            if one[:shared] == other[:shared]:
                raise invalid(
                    "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                    f"path one: {_spelt(one)}, path two: {_spelt(other)}"
                )


def _spelt(trail: Trail) -> str:
    return "[" + ", ".join(f"[{part}]" if isinstance(part, int) else part for part in trail) + "]"


def _misused(function: str) -> Refused:
    return invalid(f"The function is not allowed to be used this way in an expression; function: {function}")


def _require_kind(operator: str, operand: Bound, allowed: frozenset[str]) -> None:
    if operand.kind is not None and operand.kind not in allowed:
        raise invalid(
            "Incorrect operand type for operator or function; "
            f"operator or function: {operator}, operand type: {operand.kind}"
        )


def _refuse_repeated(operator: str, operands: list[Bound]) -> None:
    first = operands[0].trail
    if first is not None and any(operand.trail == first for operand in operands[1:]):
        raise invalid(
            "The first operand must be distinct from the remaining operands for this operator or function; "
            f"operator: {operator}, first operand: {_spelt(first)}"
        )


def _checked(parameter: str, given: Mapping[str, Any] | None, sign: str) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not given:
        raise invalid(f"{parameter} must not be empty")
    for key in given:
        if key[:1] != sign or not key[1:].replace("_", "a").isalnum():
            raise invalid(f'{parameter} contains invalid key: Syntax error; key: "{key}"')
    return given


def _normalised_placeholder(key: str, value: Mapping[str, Any]) -> Value:
    try:
        return normalised(value)
    except Refused as error:
        raise invalid(
            f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}"
        ) from error


# Comparisons: a missing attribute or another type is unequal, and neither less nor greater


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


_COMPARISONS: dict[str, Callable[[list[Bound]], Predicate]] = {
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


def _size(operand: Bound) -> Bound:
    _require_kind("size", operand, _SIZED)

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
        _require_kind("begins_with", operand, frozenset({"S", "B"}))
    _refuse_repeated("begins_with", operands)
    value, prefix = operands
    return lambda item: _starts(value.get(item), prefix.get(item))


def _starts(value: Value | None, prefix: Value | None) -> bool:
    if value is None or prefix is None or kind_of(value) != kind_of(prefix) or kind_of(value) not in "SB":
        return False
    return bool(value[kind_of(value)].startswith(prefix[kind_of(prefix)]))


def _contains(operands: list[Bound]) -> Predicate:
    _refuse_repeated("contains", operands)
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


_PREDICATES: dict[str, Callable[[list[Bound]], Predicate]] = {
    "attribute_exists": _exists,
    "attribute_not_exists": _not_exists,
    "attribute_type": _has_type,
    "begins_with": _begins_with,
    "contains": _contains,
}
