"""Query and Scan: which items, in which order, in which pages."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testkit.doubles.conditions import Placeholders, Predicate, check_function, name_parameter
from testkit.doubles.errors import UnsupportedRequest, validation_error
from testkit.doubles.expressions import (
    And,
    AttributeName,
    Condition,
    FunctionCall,
    Not,
    OperandComparison,
    Or,
    ValuePlaceholder,
    parse_condition,
)
from testkit.doubles.tables import KEY_NAMES, ItemKey, MemoryTable, exact_key, key_string
from testkit.doubles.values import copy_item, copy_value, item_size, normalize_item
from testkit.shapes import AttributeMap, AttributeValue, JsonObject

PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How many items one response reads at most: the request's Limit, and the short pages of a test."""

    limit: int | None
    most_items: int | None

    def is_full(self, items: int, size: int) -> bool:
        bounds = (bound for bound in (self.limit, self.most_items) if bound is not None)
        return size >= PAGE_BYTES or any(items >= bound for bound in bounds)


def read_page(
    items: Iterator[AttributeMap], limits: PageLimits, wanted: Predicate | None, shown: tuple[str, ...] | None
) -> JsonObject:
    """Return the response with one page of `items`, filtered by `wanted` after the limits."""
    read = size = 0
    matching: list[AttributeMap] = []
    last: AttributeMap | None = None
    for item in items:
        read, size = read + 1, size + item_size(item)
        if wanted is None or wanted(item):
            matching.append(item)
        if limits.is_full(read, size):
            last = item
            break
    if last is not None and limits.limit != read and next(items, None) is None:
        last = None  # only a page that ends at the request's Limit has a last key with nothing after it
    response: JsonObject = {
        "Items": [project(item, shown) for item in matching],
        "Count": len(matching),
        "ScannedCount": read,
    }
    if last is not None:
        response["LastEvaluatedKey"] = project(last, KEY_NAMES)
    return response


def project(item: AttributeMap, names: tuple[str, ...] | None) -> AttributeMap:
    """Return a copy of the item with these attributes, or with all of them."""
    if names is None:
        return copy_item(item)
    return {name: copy_value(item[name]) for name in names if name in item}


def scan_items(
    table: MemoryTable, start: Mapping[str, Any] | None, segment: int = 0, segments: int = 1
) -> Iterator[AttributeMap]:
    """Yield all items of one segment after the key `start`."""
    after = None if start is None else exact_key(normalize_item(start))
    started = after is None
    for key, item in table.scan(segment, segments):
        if started:
            yield item
        started = started or key == after


# Key conditions


@dataclass(frozen=True, slots=True)
class KeyRange:
    """One partition and a range of sort keys in it: all, one, a prefix, or from a first to a last."""

    partition_key: str
    operator: str | None = None
    bounds: tuple[str, ...] = ()

    def slice(self, sort_keys: list[str]) -> tuple[int, int]:
        """Return the start and the end of the range in a sorted list."""
        match self.operator:
            case None:
                return 0, len(sort_keys)
            case "begins_with":
                start = end = bisect_left(sort_keys, self.bounds[0])
                while end < len(sort_keys) and sort_keys[end].startswith(self.bounds[0]):
                    end += 1
                return start, end
            case _:
                return bisect_left(sort_keys, self.bounds[0]), bisect_right(sort_keys, self.bounds[-1])


def query_items(
    table: MemoryTable, within: KeyRange, start: Mapping[str, Any] | None, *, forward: bool
) -> Iterator[AttributeMap]:
    """Yield the items in a range, in order or in reverse order, after the key `start`."""
    partition = table.partition(within.partition_key)
    low, high = within.slice(partition.sort_keys)
    if start is not None:
        _, after = _start_key(within, start)
        if forward:
            low = max(low, bisect_right(partition.sort_keys, after))
        else:
            high = min(high, bisect_left(partition.sort_keys, after))
    sort_keys = partition.sort_keys[low:high]
    return (partition.items[key] for key in (sort_keys if forward else reversed(sort_keys)))


def _start_key(within: KeyRange, start: Mapping[str, Any]) -> ItemKey:
    key = exact_key(normalize_item(start))
    if key[0] != within.partition_key or within.slice([key[1]]) != (0, 1):
        raise validation_error("The provided starting key is outside query boundaries")
    return key


def bind_key_condition(placeholders: Placeholders, text: str) -> KeyRange:
    with name_parameter("KeyConditionExpression"):
        parsed = parse_condition(text)
        placeholders.use(parsed)
        tests: dict[str, tuple[str, tuple[str, ...]]] = {}
        for part in _conjuncts(parsed.tree):
            name, operator, bounds = _bind_key_test(placeholders, part)
            if name in tests:
                raise validation_error("KeyConditionExpressions must only contain one condition per key")
            tests[name] = operator, bounds
    if "PK" not in tests:
        raise validation_error("Query condition missed key schema element")
    operator, bounds = tests["PK"]
    if operator != "=":
        raise validation_error("Query key condition not supported")
    return KeyRange(bounds[0], *tests.get("SK", ()))


def _conjuncts(tree: Condition) -> Iterator[Condition]:
    if isinstance(tree, And):
        for part in tree.parts:
            yield from _conjuncts(part)
    else:
        yield tree


def _bind_key_test(placeholders: Placeholders, tree: Condition) -> tuple[str, str, tuple[str, ...]]:
    """Return the key attribute, the operator and its values."""
    match tree:
        case OperandComparison("<" | "<=" | ">" | ">=" as operator):
            raise UnsupportedRequest(f"{operator} in a key condition")
        case OperandComparison("=" | "BETWEEN" as operator, (AttributeName() as name, *operands)):
            pass
        case FunctionCall("begins_with" as operator, (AttributeName() as name, *operands)):
            check_function(tree)
        case OperandComparison() | FunctionCall() | Not() | Or() | And():
            raise validation_error("Invalid operator used in KeyConditionExpression")
    attribute = placeholders.attribute(name)
    if attribute not in KEY_NAMES:
        raise validation_error(f"Query condition on an attribute that is no key: {attribute}")
    bounds = tuple(key_string(attribute, _constant(placeholders, operand)) for operand in operands)
    if bounds[-1] < bounds[0]:
        raise validation_error(
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound"
        )
    return attribute, operator, bounds


def _constant(placeholders: Placeholders, operand: object) -> AttributeValue:
    if not isinstance(operand, ValuePlaceholder):
        raise validation_error(
            "Invalid condition in KeyConditionExpression: two attribute names in one condition"
        )
    return placeholders.value(operand)
