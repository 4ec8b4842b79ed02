"""Conditions and filters: a parsed tree and the placeholders of a request, bound to a predicate of an item.

What the service refuses without looking at an item is refused while binding. A missing attribute, or one of
another type, is unequal, and neither less nor greater.
"""

import contextlib
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testkit.doubles.errors import ServiceRefusal, UnsupportedRequest, validation_error
from testkit.doubles.expressions import (
    And,
    AttributeName,
    Condition,
    FunctionCall,
    Not,
    Operand,
    OperandComparison,
    Or,
    ParsedExpression,
    ValuePlaceholder,
    parse_condition,
    parse_projection,
)
from testkit.doubles.reserved_words import RESERVED_WORDS
from testkit.doubles.values import ORDERED_TYPES, normalize, order_key, value_type
from testkit.shapes import AttributeMap, AttributeValue

type Predicate = Callable[[AttributeMap], bool]

ARITY = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "begins_with": 2,
    "contains": 2,
    "if_not_exists": 2,
    "list_append": 2,
}
_UPDATE_FUNCTIONS = frozenset({"if_not_exists", "list_append"})
_UNSUPPORTED_FUNCTIONS = frozenset({"attribute_type", "size"})
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class BoundOperand:
    """An operand of one request: how to read it from an item, and its type or its attribute if known."""

    read: Callable[[AttributeMap], AttributeValue | None]
    kind: str | None = None
    attribute: str | None = None


class Placeholders:
    """`ExpressionAttributeNames` and `-Values` of one request; each one must be used."""

    def __init__(self, names: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> None:
        self._names: Mapping[str, str] = _check_placeholders("ExpressionAttributeNames", names, "#")
        given = _check_placeholders("ExpressionAttributeValues", values, ":")
        self._values = {key: normalize(value) for key, value in given.items()}
        self._unused = {*self._names, *self._values}

    def use(self, parsed: ParsedExpression[Any]) -> None:
        self._unused -= parsed.names | parsed.values

    def finish(self) -> None:
        """Raise a validation error if a placeholder was not used."""
        if self._unused:
            raise validation_error(f"Unused in expressions: keys: {{{', '.join(sorted(self._unused))}}}")

    def value(self, placeholder: ValuePlaceholder) -> AttributeValue:
        if placeholder.text not in self._values:
            raise validation_error(f"An expression attribute value is not defined: {placeholder.text}")
        return self._values[placeholder.text]

    def attribute(self, name: AttributeName) -> str:
        if name.text[0] == "#":
            if name.text not in self._names:
                raise validation_error(f"An expression attribute name is not defined: {name.text}")
            return self._names[name.text]
        if name.text.lower() in RESERVED_WORDS:
            raise validation_error(f"Attribute name is a reserved keyword; reserved keyword: {name.text}")
        return name.text

    def operand(self, tree: Operand) -> BoundOperand:
        match tree:
            case AttributeName():
                attribute = self.attribute(tree)
                return BoundOperand(lambda item: item.get(attribute), attribute=attribute)
            case ValuePlaceholder():
                value = self.value(tree)
                return BoundOperand(lambda _item: value, kind=value_type(value))
            case FunctionCall(function):
                check_function(tree)
                raise validation_error(f"The function is not allowed to be used this way: {function}")

    # Expressions

    def condition(
        self, parameter: str, text: str | None, *, forbidden: tuple[str, ...] = ()
    ) -> Predicate | None:
        """Bind a condition. `forbidden` are the key attributes, which a query's filter may not name."""
        if text is None:
            return None
        with name_parameter(parameter):
            parsed = parse_condition(text)
            self.use(parsed)
            for name in _names_in(parsed.tree) if forbidden else ():
                if self.attribute(name) in forbidden:
                    raise validation_error(
                        f"A filter can only contain non-primary key attributes: {name.text}"
                    )
            return self._condition(parsed.tree)

    def projection(self, text: str | None) -> tuple[str, ...] | None:
        """Return the names of the attributes to show, or None for all."""
        if text is None:
            return None
        with name_parameter("ProjectionExpression"):
            parsed = parse_projection(text)
            self.use(parsed)
            names = tuple(map(self.attribute, parsed.tree))
            refuse_repeated_attributes(names)
            return names

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
            case OperandComparison("BETWEEN"):
                raise UnsupportedRequest("BETWEEN outside of a key condition")
            case OperandComparison():
                return self._comparison(tree)
            case FunctionCall():
                return self._function(tree)

    def _comparison(self, tree: OperandComparison) -> Predicate:
        left, right = (self.operand(part) for part in tree.operands)
        _refuse_same_attribute(tree.operator, left, right)
        if tree.operator in _ORDERINGS:
            _require_types(tree.operator, ORDERED_TYPES, left, right)
            compare = _ORDERINGS[tree.operator]
            return lambda item: _is_ordered(compare, left.read(item), right.read(item))
        wanted = tree.operator == "="
        return lambda item: _is_equal(left.read(item), right.read(item)) is wanted

    def _function(self, tree: FunctionCall) -> Predicate:
        check_function(tree)
        if tree.function in _UPDATE_FUNCTIONS:
            raise validation_error(f"The function is not allowed in a condition expression: {tree.function}")
        first, *others = (self.operand(part) for part in tree.operands)
        if not others:
            if first.attribute is None:
                raise validation_error(f"Operator or function requires a document path: {tree.function}")
            wanted = tree.function == "attribute_exists"
            return lambda item: (first.read(item) is not None) is wanted
        _refuse_same_attribute(tree.function, first, others[0])
        if tree.function == "begins_with":
            _require_types(tree.function, frozenset({"S"}), first, others[0])
            return lambda item: _begins_with(first.read(item), others[0].read(item))
        return lambda item: _contains(first.read(item), others[0].read(item))


@contextlib.contextmanager
def name_parameter(parameter: str) -> Iterator[None]:
    """Add the parameter's name to the message of a validation error raised inside."""
    try:
        yield
    except ServiceRefusal as error:
        raise validation_error(f"Invalid {parameter}: {error.message}") from error


def check_function(tree: FunctionCall) -> None:
    """Raise a validation error if the function does not exist or has another number of operands."""
    if tree.function in _UNSUPPORTED_FUNCTIONS:
        raise UnsupportedRequest(f"the function {tree.function}")
    if tree.function not in ARITY:
        raise validation_error(f"Invalid function name; function: {tree.function}")
    if len(tree.operands) != ARITY[tree.function]:
        raise validation_error(f"Incorrect number of operands for function: {tree.function}")


def refuse_repeated_attributes(names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names):
        raise validation_error(
            "Two document paths overlap with each other; must remove or rewrite one of them"
        )


def wrong_type(function: str, kind: str | None) -> ServiceRefusal:
    return validation_error(f"Incorrect operand type for operator or function: {function}, type: {kind}")


def _check_placeholders(parameter: str, given: Mapping[str, Any] | None, sign: str) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not given:
        raise validation_error(f"{parameter} must not be empty")
    for key in given:
        if key[:1] != sign or not key[1:].replace("_", "a").isalnum():
            raise validation_error(f'{parameter} contains invalid key: Syntax error; key: "{key}"')
    return given


def _names_in(tree: Condition | Operand) -> Iterator[AttributeName]:
    match tree:
        case AttributeName():
            yield tree
        case And(parts) | Or(parts) | OperandComparison(_, parts) | FunctionCall(_, parts):
            for part in parts:
                yield from _names_in(part)
        case Not(part):
            yield from _names_in(part)
        case ValuePlaceholder():
            return


def _require_types(function: str, allowed: frozenset[str], *operands: BoundOperand) -> None:
    for operand in operands:
        if operand.kind is not None and operand.kind not in allowed:
            raise wrong_type(function, operand.kind)


def _refuse_same_attribute(function: str, first: BoundOperand, second: BoundOperand) -> None:
    if first.attribute is not None and first.attribute == second.attribute:
        raise validation_error(f"The first operand must be distinct from the remaining operands: {function}")


def _is_equal(one: AttributeValue | None, other: AttributeValue | None) -> bool:
    return one is not None and one == other


def _is_ordered(
    compare: Callable[[Any, Any], bool], one: AttributeValue | None, other: AttributeValue | None
) -> bool:
    if one is None or other is None or value_type(one) != value_type(other):
        return False
    return value_type(one) in ORDERED_TYPES and compare(order_key(one), order_key(other))


def _begins_with(value: AttributeValue | None, prefix: AttributeValue | None) -> bool:
    if value is None or prefix is None or "S" not in value or "S" not in prefix:
        return False
    return bool(value["S"].startswith(prefix["S"]))


def _contains(container: AttributeValue | None, element: AttributeValue | None) -> bool:
    if container is None or element is None:
        return False
    if "L" in container:
        return element in container["L"]
    return "S" in container and "S" in element and element["S"] in container["S"]
