"""The parameter Shape: the text of shape.toml, checked by itself and against the shop's table."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template
from recon.domain.shape import FILE, Shape, parse_shape, strip_comments
from recon.errors import ConfigError

PARAMETER = "Shape"
_FILE_ENDING = ".toml"
# What says how orders are written and looked up in this system's layout.
_FOR_ORDERS = ("UserIdSources", "EmailCase", "OrderSortKey", "OrderNumberPrefix")


def load_shape(settings: DeploySettings) -> DeploySettings:
    """Return the settings with the text of the file that Shape names, without comments.

    CommerceTable becomes the table of the file, so that the roles may read it. Raise DeployError for a file
    that is wrong, or that contradicts another setting.
    """
    value = settings.parameters.get(PARAMETER, "")
    if not value.strip():
        return settings
    text = strip_comments(_read(Path(value)) if value.endswith(_FILE_ENDING) else value)
    parameters = {**settings.parameters, PARAMETER: text}
    shape = _parse(text)
    if shape.table:
        parameters["CommerceTable"] = shape.table
    if not parameters.get("LedgerTable"):
        raise DeployError(
            "Shape needs LedgerTable, since the sync writes nothing into the shop's table: --set "
            "LedgerTable=create makes a table of the sync's own records"
        )
    if parameters.get("WebhookFence") == "all":
        raise DeployError(
            "WebhookFence must not be all with Shape, which writes no marker of an event: --set "
            "WebhookFence=off"
        )
    return replace(settings, parameters=parameters)


def check_unused(settings: DeploySettings, template: Template) -> None:
    """Raise DeployError for a parameter that has no effect beside a shape."""
    if not settings.parameters.get(PARAMETER, "").strip():
        return
    for name in _FOR_ORDERS:
        default = str(template.parameters[name].default)
        if settings.value_of(name, template) != default:
            raise DeployError(
                f"{name} has no effect with Shape, since orders are found by {FILE}, and none is written: "
                f"--set {name}={default}"
            )


def find_shape(settings: DeploySettings) -> Shape | None:
    """Return the shape of loaded settings, or None for this system's layout."""
    text = settings.parameters.get(PARAMETER, "")
    return _parse(text) if text.strip() else None


def check_shape(shape: Shape, table: Mapping[str, Any]) -> None:
    """Raise DeployError if the shape's keys are not those of the table or of its index."""
    name = table["TableName"]
    holder, where = table, f"table {name}"
    if shape.index:
        indexes = [*table.get("GlobalSecondaryIndexes", ()), *table.get("LocalSecondaryIndexes", ())]
        by_name = {one["IndexName"]: one for one in indexes}
        if shape.index not in by_name:
            known = ", ".join(sorted(by_name)) or "none"
            raise DeployError(f"{FILE}: find.index is {shape.index}; the indexes of table {name}: {known}")
        holder, where = by_name[shape.index], f"index {shape.index}"
        _check_projection(shape, table, holder)
    keys = [one["AttributeName"] for one in sorted(holder["KeySchema"], key=lambda one: one["KeyType"])]
    forms = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    # A query of an index may leave its sort key out.
    if list(shape.key) not in ([keys, keys[:1]] if shape.index else [keys]):
        hint = " in this order" if sorted(shape.key) == sorted(keys) else ""
        raise DeployError(
            f"{FILE}: find.key has {' and '.join(shape.key)}; the keys of {where} are "
            f"{' and '.join(keys)}{hint}"
        )
    if wrong := [key for key in shape.key if forms[key] != "S"]:
        raise DeployError(
            f"{FILE}: find.key.{wrong[0]} must be a string key; {where} has it as type {forms[wrong[0]]}"
        )


def _check_projection(shape: Shape, table: Mapping[str, Any], index: Mapping[str, Any]) -> None:
    projection = index.get("Projection", {})
    if projection.get("ProjectionType", "ALL") == "ALL":
        return
    keys = {one["AttributeName"] for one in (*table["KeySchema"], *index["KeySchema"])}
    held = keys | set(projection.get("NonKeyAttributes", ()))
    if lacking := [name for name in shape.attributes if name not in held]:
        raise DeployError(
            f"{FILE}: index {shape.index} does not project {lacking[0]}, which find.done and find.open need; "
            "make an index with it, or with the projection ALL"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"Shape names {path}, which cannot be read: {error}") from error


def _parse(text: str) -> Shape:
    try:
        return parse_shape(text)
    except ConfigError as error:
        raise DeployError(str(error)) from error
