"""Conditions and filters: a parsed tree and a request's placeholders, made into a function of an item.

Everything the service can refuse without looking at an item is refused while binding.
"""

from collections.abc import Mapping
from typing import Any

from testkit.doubles.errors import Refused, invalid
from testkit.doubles.expressions import (
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
from testkit.doubles.operands import (
    ARITY,
    Bound,
    Trail,
    check_arity,
    found,
    paths_in,
    prefixed,
    refuse_overlap,
    refuse_repeated,
    require_kind,
)
from testkit.doubles.predicates import COMPARISONS, PREDICATES, Predicate, size_of
from testkit.doubles.reserved_words import RESERVED_WORDS
from testkit.doubles.values import ORDERED_TYPES, Value, kind_of, normalised

_UPDATE_FUNCTIONS = frozenset({"if_not_exists", "list_append"})


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
                require_kind(test.operator, operand, ORDERED_TYPES)
        refuse_repeated(test.operator, operands)
        return COMPARISONS[test.operator](operands)

    def _predicate(self, call: Call) -> Predicate:
        operands = [self.operand(part) for part in self._checked_call(call).operands]
        if call.function == "size":
            raise misused(call.function)
        return PREDICATES[call.function](operands)

    def _checked_call(self, call: Call) -> Call:
        if call.function not in ARITY:
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
                return size_of(self.operand(operands[0]))
            case Call(function):
                raise misused(self._checked_call(tree).function)
            case Sum():
                raise invalid("Syntax error; arithmetic is not allowed in a condition expression")


def misused(function: str) -> Refused:
    return invalid(f"The function is not allowed to be used this way in an expression; function: {function}")


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
