"""The parser for DynamoDB's expressions. Trees are cached by their text and hold no values of a request.

condition  = or;  or = and (OR and)*;  and = not (AND not)*;  not = NOT not | test
test       = ( condition ) | function | operand = operand | operand BETWEEN operand AND operand
operand    = name | :value | function(operand, ..)
update     = (SET name = operand, .. | REMOVE name, .. | ADD name :value, ..)+
projection = name, ..

Document paths, IN, arithmetic and DELETE raise UnsupportedRequest.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from testkit.doubles.errors import ServiceRefusal, UnsupportedRequest, validation_error

_TOKEN = re.compile(
    r"\s+|(?P<word>[A-Za-z]\w*|[#:]\w+)|(?P<number>\d+)|(?P<sign><>|<=|>=|[=<>(),.\[\]+-])|(?P<other>.)",
    re.ASCII | re.DOTALL,
)
_COMPARATORS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_KEYWORDS = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN"})
_MAX_EXPRESSION_BYTES = 4096


@dataclass(frozen=True, slots=True)
class AttributeName:
    """A top-level attribute as written: `name` or `#placeholder`."""

    text: str


@dataclass(frozen=True, slots=True)
class ValuePlaceholder:
    """A `:placeholder`."""

    text: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function and its operands."""

    function: str
    operands: "tuple[Operand, ...]"


type Operand = AttributeName | ValuePlaceholder | FunctionCall


@dataclass(frozen=True, slots=True)
class OperandComparison:
    """A comparison by `=`, `<>`, `<`, `<=`, `>`, `>=` or `BETWEEN`."""

    operator: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class And:
    """A condition that holds if all parts hold."""

    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """A condition that holds if one part holds."""

    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """A negated condition."""

    part: "Condition"


type Condition = And | Or | Not | OperandComparison | FunctionCall


@dataclass(frozen=True, slots=True)
class UpdateClause:
    """One clause of an update; REMOVE has no operand."""

    section: str
    name: AttributeName
    operand: Operand | None = None


@dataclass(frozen=True, slots=True)
class ParsedExpression[Tree]:
    """A tree and the placeholders in its text."""

    tree: Tree
    names: frozenset[str]
    values: frozenset[str]


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> ParsedExpression[Condition]:
    return _parse(text, _Parser.condition)


@lru_cache(maxsize=4096)
def parse_update(text: str) -> ParsedExpression[tuple[UpdateClause, ...]]:
    return _parse(text, _Parser.update)


@lru_cache(maxsize=4096)
def parse_projection(text: str) -> ParsedExpression[tuple[AttributeName, ...]]:
    return _parse(text, _Parser.names)


def _parse[Tree](text: str, rule: "Callable[[_Parser], Tree]") -> ParsedExpression[Tree]:
    if not text.strip():
        raise validation_error("The expression can not be empty;")
    if len(text.encode()) > _MAX_EXPRESSION_BYTES:
        raise validation_error(f"Expression size has exceeded the maximum allowed size: {len(text.encode())}")
    tokens = tuple(_tokens(text))
    parser = _Parser(tokens)
    tree = rule(parser)
    parser.expect_end()
    names, values = (frozenset(token for token in tokens if token[0] == sign) for sign in "#:")
    return ParsedExpression(tree, names, values)


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if match["other"]:
            raise _syntax_error(match["other"], text[max(0, match.start() - 2) : match.end() + 2])
        if not match[0].isspace():
            yield match[0]


def _syntax_error(token: str, near: str) -> ServiceRefusal:
    return validation_error(f'Syntax error; token: "{token}", near: "{near}"')


class _Parser:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = tokens
        self._at = 0
        self._groups: dict[int, int] = {}  # where each parenthesis opens, and the token after it closes

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else "<EOF>"

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _accept(self, *wanted: str) -> str | None:
        """Take the next token and return it in upper case if it is one of `wanted`. Case does not matter."""
        token = self._peek().upper()
        if token not in wanted:
            return None
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if self._accept(wanted) is None:
            raise self._unexpected()

    def _unexpected(self) -> ServiceRefusal:
        return _syntax_error(self._peek(), " ".join(self._tokens[max(0, self._at - 1) : self._at + 2]))

    def _refuse_unsupported(self, *tokens: str) -> None:
        if (token := self._accept(*tokens)) is not None:
            raise UnsupportedRequest(f"`{token}` in an expression: {' '.join(self._tokens)}")

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise self._unexpected()

    def _list[Part](self, rule: Callable[[], Part]) -> tuple[Part, ...]:
        parts = [rule()]
        while self._accept(","):
            parts.append(rule())
        return tuple(parts)

    # Conditions

    def condition(self) -> Condition:
        parts = [self._conjunction()]
        while self._accept("OR"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self) -> Condition:
        parts = [self._negation()]
        while self._accept("AND"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negation(self) -> Condition:
        return Not(self._negation()) if self._accept("NOT") else self._test()

    def _test(self) -> Condition:
        if self._accept("("):
            return self._group()
        operand = self._operand()
        if (comparator := self._accept(*_COMPARATORS)) is not None:
            return OperandComparison(comparator, (operand, self._operand()))
        if self._accept("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return OperandComparison("BETWEEN", (operand, low, self._operand()))
        self._refuse_unsupported("IN")
        if isinstance(operand, FunctionCall):
            return operand
        raise self._unexpected()

    def _group(self) -> Condition:
        start = self._at
        inner = self.condition()
        if self._groups.get(start) == self._at:
            raise validation_error("The expression has redundant parentheses;")
        self._expect(")")
        self._groups[start - 1] = self._at
        return inner

    # Operands

    def _operand(self) -> Operand:
        token = self._peek()
        if token[0] == ":":
            return ValuePlaceholder(self._next())
        if self._peek(1) == "(" and token[0].isalpha() and token.upper() not in _KEYWORDS:
            return self._function_call()
        return self._name()

    def _function_call(self) -> FunctionCall:
        function = self._next()
        self._expect("(")
        operands = self._list(self._operand)
        self._expect(")")
        return FunctionCall(function, operands)

    def names(self) -> tuple[AttributeName, ...]:
        return self._list(self._name)

    def _name(self) -> AttributeName:
        token = self._peek()
        if (token[0] != "#" and not token[0].isalpha()) or token.upper() in _KEYWORDS:
            raise self._unexpected()
        name = AttributeName(self._next())
        self._refuse_unsupported(".", "[")
        return name

    # Updates

    def update(self) -> tuple[UpdateClause, ...]:
        rules = {"SET": self._set, "REMOVE": self._remove, "ADD": self._add}
        clauses: list[UpdateClause] = []
        seen: set[str] = set()
        while (section := self._accept(*rules)) is not None:
            if section in seen:
                raise validation_error(
                    f'The "{section}" section can only be used once in an update expression;'
                )
            seen.add(section)
            clauses += self._list(rules[section])
        self._refuse_unsupported("DELETE")
        if not clauses:
            raise self._unexpected()
        return tuple(clauses)

    def _set(self) -> UpdateClause:
        name = self._name()
        self._expect("=")
        clause = UpdateClause("SET", name, self._operand())
        self._refuse_unsupported("+", "-")
        return clause

    def _remove(self) -> UpdateClause:
        return UpdateClause("REMOVE", self._name())

    def _add(self) -> UpdateClause:
        name = self._name()
        if self._peek()[0] != ":":
            raise self._unexpected()
        return UpdateClause("ADD", name, ValuePlaceholder(self._next()))
