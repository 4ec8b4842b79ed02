"""What conditions and updates share: operands bound to a request, document paths, and their refusals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from testkit.doubles.errors import Refused, invalid
from testkit.doubles.expressions import And, Call, Condition, Not, Operand, Or, Path, Test
from testkit.doubles.values import Item, Value

type Trail = tuple[str | int, ...]

ARITY = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
    "if_not_exists": 2,
    "list_append": 2,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """An operand of this request: how to get it from an item, and what is known of it without one."""

    get: Callable[[Item], Value | None]
    kind: str | None = None
    trail: Trail | None = None
    constant: Value | None = None


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
    if len(call.operands) != ARITY[call.function]:
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
                    f"path one: {spelt(one)}, path two: {spelt(other)}"
                )


def spelt(trail: Trail) -> str:
    return "[" + ", ".join(f"[{part}]" if isinstance(part, int) else part for part in trail) + "]"


def require_kind(operator: str, operand: Bound, allowed: frozenset[str]) -> None:
    if operand.kind is not None and operand.kind not in allowed:
        raise invalid(
            "Incorrect operand type for operator or function; "
            f"operator or function: {operator}, operand type: {operand.kind}"
        )


def refuse_repeated(operator: str, operands: list[Bound]) -> None:
    first = operands[0].trail
    if first is not None and any(operand.trail == first for operand in operands[1:]):
        raise invalid(
            "The first operand must be distinct from the remaining operands for this operator or function; "
            f"operator: {operator}, first operand: {spelt(first)}"
        )
