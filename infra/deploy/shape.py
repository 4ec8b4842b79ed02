"""The parameter Shape: the text of shape.toml, checked by itself and against the shop's table."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template
from recon.domain.shape import FILE, Shape, parse_shape, strip_comments
from recon.domain.shape_keys import check_keys
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
    try:
        check_keys(shape, table)
    except ConfigError as error:
        raise DeployError(str(error)) from error


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
