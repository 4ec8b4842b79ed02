"""Pure: the keys by which a table can be read, those of the table itself and those of its indexes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TEXT = "S"


@dataclass(frozen=True)
class Holder:
    """The keys of a table (`index` is None) or of one of its indexes, the partition key first.

    `types` are those of the keys. `projected` are the attributes that an index has, or None for all.
    """

    index: str | None
    keys: tuple[str, ...]
    types: tuple[str, ...]
    projected: frozenset[str] | None = None

    @property
    def is_usable(self) -> bool:
        """Return whether keys can be made of texts. A query of an index needs its partition key only."""
        return all(one == TEXT for one in (self.types[:1] if self.index else self.types))

    @property
    def name(self) -> str:
        """Return the holder's name for people."""
        return f"index {self.index}" if self.index else "the table"

    def has(self, attribute: str) -> bool:
        """Return whether a read returns the attribute."""
        return self.projected is None or attribute in self.projected


def list_holders(table: Mapping[str, Any]) -> list[Holder]:
    """Return the table's own keys first, then those of the indexes that can be queried."""
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    own = _sort_keys(table)
    holders = [Holder(None, own, tuple(types[name] for name in own))]
    for index in _list_indexes(table):
        keys = _sort_keys(index)
        projection = index.get("Projection", {})
        projected = None
        if projection.get("ProjectionType", "ALL") != "ALL":
            projected = frozenset((*own, *keys, *projection.get("NonKeyAttributes", ())))
        holders.append(Holder(index["IndexName"], keys, tuple(types[name] for name in keys), projected))
    return holders


def _sort_keys(holder: Mapping[str, Any]) -> tuple[str, ...]:
    schema = sorted(holder["KeySchema"], key=lambda one: one["KeyType"])
    return tuple(one["AttributeName"] for one in schema)


def _list_indexes(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    # A local index has the partition key of the table, so that it leads nowhere else.
    for index in table.get("GlobalSecondaryIndexes", ()):
        if index.get("IndexStatus", "ACTIVE") in ("ACTIVE", "UPDATING"):
            yield index
    yield from table.get("LocalSecondaryIndexes", ())
