"""One table of the in-memory DynamoDB: items by key, in the order of their sort keys."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testkit.doubles.errors import Refused, invalid
from testkit.doubles.values import Item, Value, kind_of, order_key

MAX_HASH_BYTES = 2048
MAX_RANGE_BYTES = 1024
_ONLY = ""  # the sort key of every item in a table that has none


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class KeySchema:
    hash: Attribute
    range: Attribute | None = None

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return (self.hash,) if self.range is None else (self.hash, self.range)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(attribute.name for attribute in self.attributes)

    @classmethod
    def of(cls, schema: Sequence[Mapping[str, str]], definitions: Sequence[Mapping[str, str]]) -> "KeySchema":
        kinds = {one["AttributeName"]: one["AttributeType"] for one in definitions}
        names = [one["AttributeName"] for one in schema]
        if set(names) != set(kinds) or [one["KeyType"] for one in schema] != ["HASH", "RANGE"][: len(names)]:
            raise invalid("Invalid KeySchema")
        return cls(*(Attribute(name, kinds[name]) for name in names))


type Key = tuple[Any, Any]


@dataclass(slots=True)
class Partition:
    order: bytes
    keys: list[Any] = field(default_factory=list)
    items: dict[Any, Item] = field(default_factory=dict)


class Table:
    def __init__(self, name: str, schema: KeySchema) -> None:
        self.name = name
        self.schema = schema
        self.ttl_attribute: str | None = None
        self._partitions: dict[Any, Partition] = {}

    def key_of(self, item: Mapping[str, Value]) -> Key:
        """The key of a whole item that is to be written."""
        for attribute in self.schema.attributes:
            if attribute.name not in item:
                raise invalid(
                    f"One or more parameter values were invalid: Missing the key {attribute.name} in the item"
                )
        return self._key(item)

    def exact_key(self, key: Mapping[str, Value]) -> Key:
        """The key of a `Key` parameter, which holds nothing else."""
        if set(key) != self.schema.names:
            raise invalid("The provided key element does not match the schema")
        return self._key(key)

    def _key(self, item: Mapping[str, Value]) -> Key:
        first, second = self.schema.hash, self.schema.range
        return (
            self._part(first, item[first.name], MAX_HASH_BYTES),
            _ONLY if second is None else self._part(second, item[second.name], MAX_RANGE_BYTES),
        )

    def _part(self, attribute: Attribute, value: Value, most: int) -> Any:
        content = key_content(attribute, value)
        if attribute.kind != "N" and _length(content) > most:
            raise invalid(
                "One or more parameter values were invalid: Size of "
                f"{'hashkey' if most == MAX_HASH_BYTES else 'rangekey'} has exceeded the maximum size limit "
                f"of {most} bytes"
            )
        return content

    def key_item(self, item: Item) -> Item:
        return {attribute.name: item[attribute.name] for attribute in self.schema.attributes}

    def get(self, key: Key) -> Item | None:
        partition = self._partitions.get(key[0])
        return None if partition is None else partition.items.get(key[1])

    def put(self, key: Key, item: Item) -> None:
        partition = self._partitions.get(key[0])
        if partition is None:
            partition = self._partitions[key[0]] = Partition(hash_order(key[0]))
        if key[1] not in partition.items:
            insort(partition.keys, key[1])
        partition.items[key[1]] = item

    def remove(self, key: Key) -> None:
        partition = self._partitions.get(key[0])
        if partition is None or partition.items.pop(key[1], None) is None:
            return
        del partition.keys[bisect_left(partition.keys, key[1])]
        if not partition.keys:
            del self._partitions[key[0]]

    def write(self, key: Key, item: Item | None) -> None:
        if item is None:
            self.remove(key)
        else:
            self.put(key, item)

    def partition(self, hash_value: Any) -> Partition:
        return self._partitions.get(hash_value) or Partition(b"")

    def scan_order(self) -> Iterator[tuple[bytes, Key, Item]]:
        """By a hash of the partition key, as the service scans: no test can lean on a sorted scan."""
        for hash_value, partition in sorted(self._partitions.items(), key=lambda pair: pair[1].order):
            for range_value in partition.keys:
                yield partition.order, (hash_value, range_value), partition.items[range_value]

    def items(self) -> Iterator[Item]:
        """By key."""
        for _, partition in sorted(self._partitions.items(), key=lambda pair: pair[0]):
            for range_value in partition.keys:
                yield partition.items[range_value]

    def clone(self) -> "Table":
        """Shares the items, which nobody changes in place."""
        twin = Table(self.name, self.schema)
        twin._partitions = {
            value: Partition(part.order, [*part.keys], {**part.items})
            for value, part in self._partitions.items()
        }
        return twin


def key_content(attribute: Attribute, value: Value) -> Any:
    """What orders a key attribute's value, once it is one that a key can hold."""
    if kind_of(value) != attribute.kind:
        raise _type_mismatch(attribute, value)
    if value[attribute.kind] in ("", b""):
        noun = "string" if attribute.kind == "S" else "binary"
        raise invalid(
            "One or more parameter values are not valid. The AttributeValue for a key attribute "
            f"cannot contain an empty {noun} value. Key: {attribute.name}"
        )
    return order_key(value)


class KeyTypeMismatch(Refused):
    """Inside a transaction the service reports this one as a cancellation reason."""


def _type_mismatch(attribute: Attribute, value: Value) -> Refused:
    return KeyTypeMismatch(
        "ValidationException",
        "One or more parameter values were invalid: "
        f"Type mismatch for key {attribute.name} expected: {attribute.kind} actual: {kind_of(value)}",
    )


def _length(content: Any) -> int:
    return len(content.encode()) if isinstance(content, str) else len(content)


def hash_order(hash_value: Any) -> bytes:
    text = hash_value if isinstance(hash_value, bytes) else str(hash_value).encode()
    return hashlib.blake2b(text, digest_size=16).digest()
