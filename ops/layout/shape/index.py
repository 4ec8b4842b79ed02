"""Pure: the attribute that holds the sessions' ids without a key or index, and the command that adds one."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.layout.shape.holders import Holder
from ops.layout.shape.subjects import OWN_IDS, PAYMENT_INTENT, Subject, find_identifying
from recon.domain.key_template import ID
from recon.dynamodb.table import Item

_IDS = {"cs_": ID, "pi_": PAYMENT_INTENT}
# Without an item of a sampled session, so many ids of others show what an attribute holds.
_FEWEST = 2
_UNUSABLE = re.compile(r"[^a-zA-Z0-9_.-]")
_LONGEST_NAME = 200


@dataclass(frozen=True)
class IdAttribute:
    """An attribute that holds the value of a path.

    `sessions` are those whose items were seen, `unusable` how many items have it null, empty or of another
    type, which an index refuses. A nested attribute, with dots in its name, can have no index.
    """

    name: str
    path: str
    sessions: int
    unusable: int
    is_nested: bool = False

    @property
    def index(self) -> str:
        """Return a name for its index."""
        return f"{_UNUSABLE.sub('-', self.name)[:_LONGEST_NAME]}-index"


def find_id_attribute(
    subjects: Sequence[Subject], items: Sequence[Item], holders: Sequence[Holder]
) -> IdAttribute | None:
    """Return the attribute that holds the ids of most sessions, and none that a key or an index has."""
    owners = {
        (path, one.values[path]): one.session_id
        for path in find_identifying(subjects)
        for one in subjects
        if path in one.values
    }
    paths: dict[str, list[str]] = {}
    for path, value in owners:
        paths.setdefault(value, []).append(path)
    keyed = {holder.keys[0] for holder in holders if holder.is_usable}
    seen: dict[tuple[str, str, bool], set[str]] = {}
    others: Counter[tuple[str, str, bool]] = Counter()
    for item in items:
        for name, value, is_nested in _list_texts(item):
            for path in paths.get(value, ()):
                seen.setdefault((name, path, is_nested), set()).add(owners[path, value])
            if kind := _IDS.get(value[:3]):
                others[name, kind, is_nested] += 1
    found = {key for key, count in others.items() if count >= _FEWEST} | seen.keys()
    usable = [key for key in found if key[0] not in keyed or key[2]]
    if not usable:
        return None
    name, path, is_nested = min(
        usable, key=lambda key: (key[2], -len(seen.get(key, ())), key[1] not in OWN_IDS, -others[key], key)
    )
    unusable = sum(name in item and not (isinstance(item[name], str) and item[name]) for item in items)
    return IdAttribute(name, path, len(seen.get((name, path, is_nested), ())), unusable, is_nested)


def _list_texts(item: Item) -> Iterator[tuple[str, str, bool]]:
    for name, value in item.items():
        if isinstance(value, str):
            yield name, value, False
        elif isinstance(value, dict | list):
            yield from ((each, text, True) for each, text in _list_nested(name, value))


def _list_nested(name: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield name, value
        case dict():
            for inner, one in value.items():
                yield from _list_nested(f"{name}.{inner}", one)
        case list():
            for one in value:
                yield from _list_nested(name, one)


def build_index_command(attribute: IdAttribute, table: Mapping[str, Any]) -> str:
    """Return the command that adds the index, without the name of the AWS CLI and its common options."""
    index: dict[str, Any] = {
        "IndexName": attribute.index,
        "KeySchema": [{"AttributeName": attribute.name, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    throughput = table.get("ProvisionedThroughput", {})
    units = {name: throughput.get(name, 0) for name in ("ReadCapacityUnits", "WriteCapacityUnits")}
    # A table on demand has neither.
    if all(units.values()):
        index["ProvisionedThroughput"] = units
    definition = [{"AttributeName": attribute.name, "AttributeType": "S"}]
    words = ["dynamodb", "update-table", "--table-name", table["TableName"]]
    words += ["--attribute-definitions", json.dumps(definition)]
    words += ["--global-secondary-index-updates", json.dumps([{"Create": index}])]
    return shlex.join(words)
