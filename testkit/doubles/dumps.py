"""Tables as bytes and back, so that tests can compare them and begin where others ended."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from testkit.doubles.tables import KeySchema, Table
from testkit.doubles.values import Item


def dumped(tables: Iterable[Table]) -> bytes:
    """In one order, whatever the history."""
    described = {
        table.name: {
            "schema": [(one.name, one.kind) for one in table.schema.attributes],
            "ttl": table.ttl_attribute,
            "items": list(table.items()),
        }
        for table in tables
    }
    return json.dumps(described, sort_keys=True, separators=(",", ":"), default=encoded).encode()


def loaded(dump: bytes) -> dict[str, Table]:
    described = json.loads(dump, object_hook=_decoded)
    return {name: _table(name, **table) for name, table in described.items()}


def _table(name: str, schema: list[list[str]], ttl: str | None, items: list[Item]) -> Table:
    kinds = ("HASH", "RANGE")
    table = Table(
        name,
        KeySchema.of(
            [{"AttributeName": key, "KeyType": kind} for (key, _), kind in zip(schema, kinds, strict=False)],
            [{"AttributeName": key, "AttributeType": kind} for key, kind in schema],
        ),
    )
    table.ttl_attribute = ttl
    for item in items:
        table.put(table.key_of(item), item)
    return table


def encoded(content: object) -> dict[str, str]:
    if not isinstance(content, bytes | bytearray):
        raise TypeError(type(content))
    return {"$bytes": base64.b64encode(content).decode()}


def _decoded(content: dict[str, Any]) -> Any:
    """A map that has an attribute of this name holds a value under it, never text."""
    text = content.get("$bytes")
    return base64.b64decode(text) if isinstance(text, str) else content
