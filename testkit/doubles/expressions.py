"""DynamoDB's expression languages: text to a tree. Trees are cached by text and hold no caller's values.

condition  = or;  or = and (OR and)*;  and = not (AND not)*;  not = NOT not | test
test       = ( condition ) | function | operand = operand | operand BETWEEN .. AND .. | operand IN (..)
operand    = path | :value | function(operand, ..)
update     = (SET path = set, .. | REMOVE path, .. | ADD path :value, .. | DELETE path :value, ..)+
projection = path, ..
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from testkit.doubles.errors import Refused, invalid

_TOKEN = re.compile(
    r"\s+|(?P<word>[A-Za-z]\w*|[#:]\w+)|(?P<number>\d+)|(?P<sign><>|<=|>=|[=<>(),.\[\]+-])|(?P<odd>.)",
    re.ASCII | re.DOTALL,
)
_COMPARATORS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_KEYWORDS = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN"})
_MAX_EXPRESSION_BYTES = 4096
_MAX_IN_OPERANDS = 100


@dataclass(frozen=True, slots=True)
class Path:
    """Attribute names as written (`name` or `#placeholder`) and list indexes, from the item's top down."""

    parts: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A `:placeholder`."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    operands: "tuple[Operand, ...]"


@dataclass(frozen=True, slots=True)
class Sum:
    sign: str
    left: "Operand"
    right: "Operand"


type Operand = Path | Literal | Call | Sum


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison: `=`, `<>`, `<`, `<=`, `>`, `>=`, `BETWEEN` or `IN`."""

    operator: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class And:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    part: "Condition"


type Condition = And | Or | Not | Test | Call


@dataclass(frozen=True, slots=True)
class Action:
    """One clause of an update; `REMOVE` has no operand."""

    section: str
    path: Path
    operand: Operand | None


@dataclass(frozen=True, slots=True)
class Parsed[Tree]:
    """A tree and the placeholders its text uses."""

    tree: Tree
    names: frozenset[str]
    values: frozenset[str]


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> Parsed[Condition]:
    return _parse(text, _Parser.condition)


@lru_cache(maxsize=4096)
def parse_update(text: str) -> Parsed[tuple[Action, ...]]:
    return _parse(text, _Parser.update)


@lru_cache(maxsize=4096)
def parse_projection(text: str) -> Parsed[tuple[Path, ...]]:
    return _parse(text, _Parser.paths)


def _parse[Tree](text: str, rule: "Callable[[_Parser], Tree]") -> Parsed[Tree]:
    if not text.strip():
        raise invalid("The expression can not be empty;")
    if len(text.encode()) > _MAX_EXPRESSION_BYTES:
        raise invalid(
            f"Expression size has exceeded the maximum allowed size; expression size: {len(text.encode())}"
        )
    tokens = tuple(_tokens(text))
    parser = _Parser(tokens)
    tree = rule(parser)
    parser.expect_end()
    return Parsed(
        tree,
        frozenset(token for token in tokens if token[0] == "#"),
        frozenset(token for token in tokens if token[0] == ":"),
    )


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if match["odd"]:
            raise _syntax_error(match["odd"], text[max(0, match.start() - 2) : match.end() + 2])
        if not match[0].isspace():
            yield match[0]


def _syntax_error(token: str, near: str) -> Refused:
    return invalid(f'Syntax error; token: "{token}", near: "{near}"')


class _Parser:
    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = tokens
        self._at = 0

    # Reading tokens

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else "<EOF>"

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _accept(self, *wanted: str) -> str | None:
        """The next token, upper case, if it is one of `wanted`: keywords ignore case."""
        token = self._peek().upper()
        if token not in wanted:
            return None
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if self._accept(wanted) is None:
            raise self._unexpected()

    def _unexpected(self) -> Refused:
        return _syntax_error(self._peek(), " ".join(self._tokens[max(0, self._at - 1) : self._at + 2]))

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
            return self._parenthesised()
        operand = self._operand()
        if (comparator := self._accept(*_COMPARATORS)) is not None:
            return Test(comparator, (operand, self._operand()))
        if self._accept("BETWEEN"):
            return self._between(operand)
        if self._accept("IN"):
            return self._in(operand)
        if isinstance(operand, Call):
            return operand
        raise self._unexpected()

    def _parenthesised(self) -> Condition:
        doubled = self._peek() == "("
        start = self._at
        inner = self.condition()
        if doubled and self._closes(start) == self._at - 1:
            raise invalid("The expression has redundant parentheses;")
        self._expect(")")
        return inner

    def _closes(self, opening: int) -> int:
        """Where the parenthesis that opens at `opening` closes."""
        depth = 0
        for at in range(opening, len(self._tokens)):
            depth += {"(": 1, ")": -1}.get(self._tokens[at], 0)
            if depth == 0:
                return at
        return -1

    def _between(self, operand: Operand) -> Test:
        low = self._operand()
        self._expect("AND")
        return Test("BETWEEN", (operand, low, self._operand()))

    def _in(self, operand: Operand) -> Test:
        self._expect("(")
        choices = self._list(self._operand)
        self._expect(")")
        if len(choices) > _MAX_IN_OPERANDS:
            raise invalid(
                f"The IN operator is provided with too many operands; number of operands: {len(choices)}"
            )
        return Test("IN", (operand, *choices))

    # Operands

    def _operand(self) -> Operand:
        token = self._peek()
        if token[0] == ":":
            return Literal(self._next())
        if self._peek(1) == "(" and token[0] != "#":
            return self._call()
        return self.path()

    def _call(self) -> Call:
        function = self._next()
        if not function[0].isalpha() or function.upper() in _KEYWORDS:
            self._at -= 1
            raise self._unexpected()
        self._expect("(")
        operands = self._list(self._operand)
        self._expect(")")
        return Call(function, operands)

    def path(self) -> Path:
        parts: list[str | int] = [self._name()]
        while True:
            if self._accept("."):
                parts.append(self._name())
            elif self._accept("["):
                parts.append(self._index())
            else:
                return Path(tuple(parts))

    def paths(self) -> tuple[Path, ...]:
        return self._list(self.path)

    def _name(self) -> str:
        token = self._peek()
        if (token[0] != "#" and not token[0].isalpha()) or token.upper() in _KEYWORDS:
            raise self._unexpected()
        return self._next()

    def _index(self) -> int:
        if not self._peek().isdigit():
            raise self._unexpected()
        index = int(self._next())
        self._expect("]")
        return index

    # Updates

    def update(self) -> tuple[Action, ...]:
        actions: list[Action] = []
        seen: set[str] = set()
        while (section := self._accept("SET", "REMOVE", "ADD", "DELETE")) is not None:
            if section in seen:
                raise invalid(f'The "{section}" section can only be used once in an update expression;')
            seen.add(section)
            actions += self._list(_CLAUSES[section].__get__(self))
        if not actions:
            raise self._unexpected()
        return tuple(actions)

    def _set(self) -> Action:
        path = self.path()
        self._expect("=")
        left = self._operand()
        if (sign := self._accept("+", "-")) is not None:
            return Action("SET", path, Sum(sign, left, self._operand()))
        return Action("SET", path, left)

    def _remove(self) -> Action:
        return Action("REMOVE", self.path(), None)

    def _add(self) -> Action:
        return Action("ADD", self.path(), self._literal())

    def _delete(self) -> Action:
        return Action("DELETE", self.path(), self._literal())

    def _literal(self) -> Literal:
        if self._peek()[0] != ":":
            raise self._unexpected()
        return Literal(self._next())


_CLAUSES: dict[str, Callable[[_Parser], Action]] = {
    "SET": _Parser._set,
    "REMOVE": _Parser._remove,
    "ADD": _Parser._add,
    "DELETE": _Parser._delete,
}
