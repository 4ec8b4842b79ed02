"""Pure: the check of a shape against the description of its table, as DynamoDB's DescribeTable returns it."""

from collections.abc import Mapping
from typing import Any

from recon.domain.shape import FILE, Shape
from recon.errors import ConfigError


def check_keys(shape: Shape, table: Mapping[str, Any]) -> None:
    """Raise ConfigError if the shape's keys are not those of the table or of its index."""
    name = table["TableName"]
    holder, where = table, f"table {name}"
    if shape.index:
        indexes = [*table.get("GlobalSecondaryIndexes", ()), *table.get("LocalSecondaryIndexes", ())]
        by_name = {one["IndexName"]: one for one in indexes}
        if shape.index not in by_name:
            known = ", ".join(sorted(by_name)) or "none"
            raise ConfigError(f"{FILE}: find.index is {shape.index}; the indexes of table {name}: {known}")
        holder, where = by_name[shape.index], f"index {shape.index}"
        _check_projection(shape, table, holder)
    keys = [one["AttributeName"] for one in sorted(holder["KeySchema"], key=lambda one: one["KeyType"])]
    forms = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    # A query of an index may leave its sort key out.
    if list(shape.key) not in ([keys, keys[:1]] if shape.index else [keys]):
        hint = " in this order" if sorted(shape.key) == sorted(keys) else ""
        raise ConfigError(
            f"{FILE}: find.key has {' and '.join(shape.key)}; the keys of {where} are "
            f"{' and '.join(keys)}{hint}"
        )
    if wrong := [key for key in shape.key if forms[key] != "S"]:
        raise ConfigError(
            f"{FILE}: find.key.{wrong[0]} must be a string key; {where} has it as type {forms[wrong[0]]}"
        )


def _check_projection(shape: Shape, table: Mapping[str, Any], index: Mapping[str, Any]) -> None:
    projection = index.get("Projection", {})
    if projection.get("ProjectionType", "ALL") == "ALL":
        return
    keys = {one["AttributeName"] for one in (*table["KeySchema"], *index["KeySchema"])}
    held = keys | set(projection.get("NonKeyAttributes", ()))
    if lacking := [name for name in shape.attributes if name not in held]:
        raise ConfigError(
            f"{FILE}: index {shape.index} does not project {lacking[0]}, which find.done and find.open need; "
            "make an index with it, or with the projection ALL"
        )
