"""One table of the in-memory DynamoDB, with the string keys PK and SK: items by key, ordered by sort key."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from testkit.doubles.errors import validation_error
from testkit.doubles.values import byte_length, value_type
from testkit.shapes import AttributeMap, AttributeValue

type ItemKey = tuple[str, str]
"""The partition key and the sort key."""

KEY_NAMES = ("PK", "SK")
_MAX_BYTES = {"PK": 2048, "SK": 1024}


@dataclass(slots=True)
class Partition:
    """The items of one partition key by sort key, and the sort keys in order."""

    sort_keys: list[str] = field(default_factory=list)
    items: dict[str, AttributeMap] = field(default_factory=dict)


class MemoryTable:
    """A table that stores normalized items and never changes one in place."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._partitions: dict[str, Partition] = {}

    def get(self, key: ItemKey) -> AttributeMap | None:
        return self.partition(key[0]).items.get(key[1])

    def write(self, key: ItemKey, item: AttributeMap | None) -> None:
        """Store an item, or delete what is stored if it is None."""
        if item is None:
            self._remove(key)
            return
        partition = self._partitions.setdefault(key[0], Partition())
        if key[1] not in partition.items:
            insort(partition.sort_keys, key[1])
        partition.items[key[1]] = item

    def _remove(self, key: ItemKey) -> None:
        partition = self.partition(key[0])
        if partition.items.pop(key[1], None) is None:
            return
        del partition.sort_keys[bisect_left(partition.sort_keys, key[1])]
        if not partition.items:
            del self._partitions[key[0]]

    def partition(self, partition_key: str) -> Partition:
        return self._partitions.get(partition_key) or Partition()

    def scan(self, segment: int = 0, segments: int = 1) -> Iterator[tuple[ItemKey, AttributeMap]]:
        """Yield the items of a segment, ordered by a hash of their key so that no test relies on it."""
        for partition_key in sorted(self._partitions, key=_hash):
            if _hash(partition_key)[0] % segments == segment:
                yield from self._items_of_partition(partition_key)

    def items(self) -> Iterator[AttributeMap]:
        """Yield all items, ordered by key."""
        for partition_key in sorted(self._partitions):
            yield from (item for _, item in self._items_of_partition(partition_key))

    def _items_of_partition(self, partition_key: str) -> Iterator[tuple[ItemKey, AttributeMap]]:
        partition = self._partitions[partition_key]
        return (((partition_key, name), partition.items[name]) for name in partition.sort_keys)


def key_of_item(item: Mapping[str, AttributeValue]) -> ItemKey:
    """Return the key of an item that is to be written."""
    for name in KEY_NAMES:
        if name not in item:
            raise validation_error(
                f"One or more parameter values were invalid: Missing the key {name} in the item"
            )
    return key_string("PK", item["PK"]), key_string("SK", item["SK"])


def exact_key(key: Mapping[str, AttributeValue]) -> ItemKey:
    """Return the key in a `Key` parameter, which must contain nothing else."""
    if set(key) != set(KEY_NAMES):
        raise validation_error("The provided key element does not match the schema")
    return key_of_item(key)


def key_string(name: str, value: AttributeValue) -> str:
    """Return the string in the value of a key attribute. Raise a validation error if it is no valid key."""
    if value_type(value) != "S":
        raise validation_error(f"Type mismatch for key {name} expected: S actual: {value_type(value)}")
    text: str = value["S"]
    if not text:
        raise validation_error(f"A key attribute cannot contain an empty string value. Key: {name}")
    if byte_length(text) > _MAX_BYTES[name]:
        raise validation_error(f"Size of key {name} has exceeded the limit of {_MAX_BYTES[name]} bytes")
    return text


def _hash(partition_key: str) -> bytes:
    return hashlib.blake2b(partition_key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
