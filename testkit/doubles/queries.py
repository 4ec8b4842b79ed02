"""Query and Scan: which items, in which order, in which pages."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from testkit.doubles.conditions import Placeholders
from testkit.doubles.errors import invalid
from testkit.doubles.expressions import And, Call, Condition, Literal, Not, Operand, Or, Path, Test
from testkit.doubles.operands import Trail, found
from testkit.doubles.predicates import Predicate
from testkit.doubles.tables import Key, Table, key_content
from testkit.doubles.values import Item, Value, copied, copied_item, normalised_item, size_of_item

_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Page:
    """How much one answer looks at: the caller's Limit, the service's 1 MB, and a test's own smaller page."""

    limit: int | None
    most_items: int | None
    most_bytes: int

    def full(self, seen: int, size: int) -> bool:
        bounds = [bound for bound in (self.limit, self.most_items) if bound is not None]
        return any(seen >= bound for bound in bounds) or size >= self.most_bytes


def answer(
    table: Table,
    rows: Iterator[Item],
    page: Page,
    wanted: Predicate | None,
    shown: Callable[[Item], Item] | None,
) -> dict[str, Any]:
    """`shown` None means that only the count is asked for."""
    seen = size = 0
    matching: list[Item] = []
    last: Item | None = None
    for item in rows:
        seen, size = seen + 1, size + size_of_item(item)
        if wanted is None or wanted(item):
            matching.append(item)
        if page.full(seen, size):
            last = item
            break
    if last is not None and page.limit != seen and next(rows, None) is None:
        last = None  # the service's own page ends where the results do
    result: dict[str, Any] = {} if shown is None else {"Items": [shown(item) for item in matching]}
    result |= {"Count": len(matching), "ScannedCount": seen}
    if last is not None:
        result["LastEvaluatedKey"] = copied_item(table.key_item(last))
    return result


def projected(item: Item, trails: tuple[Trail, ...] | None) -> Item:
    if trails is None:
        return copied_item(item)
    result: Item = {}
    # In the order of the indexes, so that a list's elements keep their order.
    for trail in sorted(trails, key=str):
        value = found(item, trail)
        if value is not None:
            _graft(result, trail, copied(value))
    return result


def _graft(result: Item, trail: Trail, value: Value) -> None:
    """Puts `value` at the end of its path, with only the path's own maps and lists around it."""
    holder: Any = result
    for part, following in pairwise(trail):
        shell: Value = {"M": {}} if isinstance(following, str) else {"L": []}
        if isinstance(holder, dict):
            holder = holder.setdefault(part, shell)
        else:
            holder.append(shell)
            holder = holder[-1]
        holder = next(iter(holder.values()))
    if isinstance(holder, dict):
        holder[trail[-1]] = value
    else:
        holder.append(value)


def scanned(table: Table, start: Item | None, segment: int | None, total: int | None) -> Iterator[Item]:
    after = None if start is None else table.exact_key(start)
    waiting = after is not None
    for order, key, item in table.scan_order():
        if segment is not None and int.from_bytes(order) % (total or 1) != segment:
            continue
        if waiting:
            waiting = key != after
            continue
        yield item


# Key conditions


@dataclass(frozen=True, slots=True)
class KeyRange:
    """One partition, and the stretch of sort keys in it."""

    hash_value: Any
    operator: str | None = None
    bounds: tuple[Any, ...] = ()

    def stretch(self, keys: list[Any]) -> tuple[int, int]:
        """Which slice of the sorted `keys` is meant."""
        if self.operator is None:
            return 0, len(keys)
        if self.operator == "begins_with":
            return self._prefixed(keys)
        low, high = self.bounds[0], self.bounds[-1]
        start = {"=": bisect_left, "BETWEEN": bisect_left, ">=": bisect_left, ">": bisect_right}
        end = {"=": bisect_right, "BETWEEN": bisect_right, "<=": bisect_right, "<": bisect_left}
        return (
            start[self.operator](keys, low) if self.operator in start else 0,
            end[self.operator](keys, high) if self.operator in end else len(keys),
        )

    def _prefixed(self, keys: list[Any]) -> tuple[int, int]:
        prefix = self.bounds[0]
        start = bisect_left(keys, prefix)
        end = start
        while end < len(keys) and keys[end].startswith(prefix):
            end += 1
        return start, end


def queried(table: Table, within: KeyRange, start: Item | None, *, forward: bool) -> Iterator[Item]:
    partition = table.partition(within.hash_value)
    low, high = within.stretch(partition.keys)
    if start is not None:
        after = _start_key(table, within, start)[1]
        if forward:
            low = max(low, bisect_right(partition.keys, after))
        else:
            high = min(high, bisect_left(partition.keys, after))
    keys = partition.keys[low:high]
    return (partition.items[key] for key in (keys if forward else reversed(keys)))


def _start_key(table: Table, within: KeyRange, start: Item) -> Key:
    if set(start) != table.schema.names:
        raise invalid("The provided starting key is invalid")
    key = table.exact_key(start)
    if key[0] != within.hash_value or within.stretch([key[1]]) != (0, 1):
        raise invalid("The provided starting key is outside query boundaries based on provided conditions")
    return key


def key_range(table: Table, placeholders: Placeholders, text: str) -> KeyRange:
    tests = _key_tests(placeholders, placeholders.key_condition(text))
    first, second = table.schema.hash, table.schema.range
    if first.name not in tests or set(tests) - table.schema.names:
        raise invalid("Query condition missed key schema element")
    operator, values = tests[first.name]
    if operator != "=":
        raise invalid("Query key condition not supported")
    hash_value = key_content(first, values[0])
    if second is None or second.name not in tests:
        return KeyRange(hash_value)
    operator, values = tests[second.name]
    return KeyRange(hash_value, operator, tuple(key_content(second, value) for value in values))


def _key_tests(placeholders: Placeholders, tree: Condition) -> dict[str, tuple[str, list[Value]]]:
    tests: dict[str, tuple[str, list[Value]]] = {}
    for part in _conjuncts(tree):
        name, operator, values = _key_test(placeholders, part)
        if name in tests:
            raise invalid("KeyConditionExpressions must only contain one condition per key")
        tests[name] = (operator, values)
    return tests


def _conjuncts(tree: Condition) -> Iterator[Condition]:
    if isinstance(tree, And):
        for part in tree.parts:
            yield from _conjuncts(part)
    else:
        yield tree


def _key_test(placeholders: Placeholders, tree: Condition) -> tuple[str, str, list[Value]]:
    """The attribute, the operator and the values of one part of a key condition."""
    match tree:
        case Test("=" | "<" | "<=" | ">" | ">=" as mirrored, (Literal() as value, Path() as path)):
            return _key_name(placeholders, path), _MIRRORED[mirrored], [placeholders.value(value)]
        case Test("=" | "<" | "<=" | ">" | ">=" | "BETWEEN" as operator, (Path() as path, *operands)) | Call(
            "begins_with" as operator, (Path() as path, *operands)
        ):
            name = _key_name(placeholders, path)
            return name, operator, [_key_value(placeholders, operand) for operand in operands]
        case _:
            raise invalid(f"Invalid operator used in KeyConditionExpression: {_operator_of(tree)}")


def _key_name(placeholders: Placeholders, path: Path) -> str:
    trail = placeholders.trail(path)
    if len(trail) > 1:
        raise invalid("KeyConditionExpressions cannot have conditions on nested attributes")
    return str(trail[0])


def _key_value(placeholders: Placeholders, operand: Operand) -> Value:
    if not isinstance(operand, Literal):
        raise invalid(
            "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
        )
    return placeholders.value(operand)


def _operator_of(tree: Condition) -> str:
    match tree:
        case Test(operator):
            return operator
        case Call(function):
            return function
        case Not():
            return "NOT"
        case Or():
            return "OR"
        case And():
            return "AND"


def start_item(given: Mapping[str, Any] | None) -> Item | None:
    return None if given is None else normalised_item(given)
