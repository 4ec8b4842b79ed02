"""Update expressions: every right-hand side is read from the item as it was, then all paths are written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from testkit.doubles.conditions import Placeholders
from testkit.doubles.errors import Refused, invalid
from testkit.doubles.expressions import Action, Call, Operand, Sum, parse_update
from testkit.doubles.operands import Bound, Trail, check_arity, found, prefixed, refuse_overlap
from testkit.doubles.values import Item, Value, added, copied, copied_item, kind_of, normalised

_SET_TYPES = frozenset({"SS", "NS", "BS"})


@dataclass(frozen=True, slots=True)
class Change:
    """One clause with its path and right-hand side bound."""

    section: str
    trail: Trail
    operand: Bound | None


class Update:
    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    @property
    def attributes(self) -> frozenset[str]:
        """The top-level attributes it touches."""
        return frozenset(str(change.trail[0]) for change in self._changes)

    @property
    def trails(self) -> tuple[Trail, ...]:
        return tuple(change.trail for change in self._changes)

    def applied(self, before: Item) -> Item:
        written = [(change, _outcome(change, before)) for change in self._changes]
        after = copied_item(before)
        for change, value in written:
            if value is not None:
                _write(after, change.trail, value)
        removed = [change.trail for change, value in written if value is None]
        # From the back, so that indexes of a list keep meaning the elements that the request saw.
        for trail in sorted(removed, key=_by_index, reverse=True):
            _remove(after, trail)
        return after


def bind_update(placeholders: Placeholders, text: str, keys: frozenset[str]) -> Update:
    with prefixed("UpdateExpression"):
        parsed = parse_update(text)
        placeholders.use(parsed)
        changes = [_bound(placeholders, action) for action in parsed.tree]
        refuse_overlap(tuple(change.trail for change in changes))
    for change in changes:
        if change.trail[0] in keys:
            raise invalid(
                f"One or more parameter values were invalid: Cannot update attribute {change.trail[0]}. "
                "This attribute is part of the key"
            )
    return Update(changes)


def _bound(placeholders: Placeholders, action: Action) -> Change:
    operand = None if action.operand is None else _operand(placeholders, action.operand)
    if action.section == "ADD" and operand is not None and operand.kind not in {"N", *_SET_TYPES}:
        raise _wrong_type("ADD", operand.kind)
    if action.section == "DELETE" and operand is not None and operand.kind not in _SET_TYPES:
        raise _wrong_type("DELETE", operand.kind)
    return Change(action.section, placeholders.trail(action.path), operand)


def _operand(placeholders: Placeholders, tree: Operand) -> Bound:
    match tree:
        case Sum(sign, left, right):
            return _sum(sign, _operand(placeholders, left), _operand(placeholders, right))
        case Call(function, operands):
            if function not in _FUNCTIONS:
                raise invalid(f"The function is not allowed in an update expression; function: {function}")
            check_arity(tree)
            return _FUNCTIONS[function](*(_operand(placeholders, operand) for operand in operands))
        case _:
            return placeholders.operand(tree)


def _sum(sign: str, left: Bound, right: Bound) -> Bound:
    for operand in (left, right):
        if operand.kind not in {None, "N"}:
            raise _wrong_type(sign, operand.kind)
    factor = 1 if sign == "+" else -1

    def get(item: Item) -> Value:
        terms = _present(left, item), _present(right, item)
        if {kind_of(term) for term in terms} != {"N"}:
            raise _incorrect_operand()
        return added(*terms, factor)

    return Bound(get, kind="N")


def _if_not_exists(path: Bound, otherwise: Bound) -> Bound:
    if path.trail is None:
        raise invalid("Operator or function requires a document path; operator or function: if_not_exists")

    def get(item: Item) -> Value | None:
        value = path.get(item)
        return otherwise.get(item) if value is None else value

    return Bound(get)


def _list_append(first: Bound, second: Bound) -> Bound:
    for operand in (first, second):
        if operand.kind not in {None, "L"}:
            raise _wrong_type("list_append", operand.kind)

    def get(item: Item) -> Value:
        lists = _present(first, item), _present(second, item)
        if {kind_of(one) for one in lists} != {"L"}:
            raise _incorrect_operand()
        return {"L": [*lists[0]["L"], *lists[1]["L"]]}

    return Bound(get, kind="L")


_FUNCTIONS: dict[str, Callable[..., Bound]] = {
    "if_not_exists": _if_not_exists,
    "list_append": _list_append,
}


def _present(operand: Bound, item: Item) -> Value:
    value = operand.get(item)
    if value is None:
        raise invalid("The provided expression refers to an attribute that does not exist in the item")
    return value


def _wrong_type(operator: str, kind: str | None) -> Refused:
    return invalid(
        "Incorrect operand type for operator or function; "
        f"operator or function: {operator}, operand type: {kind}"
    )


def _incorrect_operand() -> Refused:
    return invalid("An operand in the update expression has an incorrect data type")


def _outcome(change: Change, before: Item) -> Value | None:
    """What the path holds afterwards; None: nothing."""
    if change.operand is None:
        return None
    value = _present(change.operand, before)
    if change.section == "SET":
        return copied(value)
    held = found(before, change.trail)
    return _increased(held, value) if change.section == "ADD" else _decreased(held, value)


def _increased(held: Value | None, value: Value) -> Value:
    if held is None:
        return copied(value)
    if kind_of(held) != kind_of(value):
        raise _incorrect_operand()
    if kind_of(held) == "N":
        return added(held, value)
    return normalised({kind_of(held): _union(held[kind_of(held)], value[kind_of(value)])})


def _union(held: list[Any], more: list[Any]) -> list[Any]:
    return [*held, *(element for element in more if element not in held)]


def _decreased(held: Value | None, value: Value) -> Value | None:
    """A set without its last element is no set: the attribute goes away."""
    if held is None:
        return None
    if kind_of(held) != kind_of(value):
        raise _incorrect_operand()
    kind = kind_of(held)
    left = [element for element in held[kind] if element not in value[kind]]
    return {kind: left} if left else None


def _write(item: Item, trail: Trail, value: Value) -> None:
    holder, last = _holder(item, trail)
    if holder is None:
        raise invalid("The document path provided in the update expression is invalid for update")
    if isinstance(holder, dict) or last < len(holder):
        holder[last] = value
    else:
        holder.append(value)


def _remove(item: Item, trail: Trail) -> None:
    holder, last = _holder(item, trail)
    if holder is None and len(trail) > 1:
        raise invalid("The document path provided in the update expression is invalid for update")
    if isinstance(holder, dict):
        holder.pop(last, None)
    elif holder is not None and last < len(holder):
        del holder[last]


def _holder(item: Item, trail: Trail) -> tuple[Any, Any]:
    """The map or list that holds the path's last part, or None where it is neither."""
    last = trail[-1]
    if len(trail) == 1:
        return item, last
    outer = found(item, trail[:-1]) or {"": None}
    wanted = "M" if isinstance(last, str) else "L"
    return outer.get(wanted), last


def _by_index(trail: Trail) -> tuple[int, ...]:
    return tuple(part for part in trail if isinstance(part, int))
