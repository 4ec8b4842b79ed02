"""The options that replace template parameters, so that a command works before anything is deployed."""

from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.errors import CommandError
from ops.layout.settings import (
    PARAMETERS,
    REQUIRED,
    apply_changes,
    needs_stack,
    parse_changes,
    read_shape_file,
)
from recon.config import Settings

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=f"Use another value of a template parameter: {', '.join(PARAMETERS)}. With both "
        f"{' and '.join(REQUIRED)}, no stack is needed; a shape may name the table.",
    ),
]
ShapeOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Use this shape.toml; the same as --set Shape=FILE"),
]


def read_changes(set_: list[str] | None, shape: str | None) -> dict[str, str]:
    """Return the changed parameters by name. Raise CommandError for a wrong one."""
    changes = parse_changes(set_ or [])
    if shape is not None and "Shape" in changes:
        raise CommandError("--shape cannot be combined with --set Shape: both give the file")
    return changes | ({} if shape is None else {"Shape": read_shape_file(shape)})


def choose_settings(context: CommandContext, changes: dict[str, str]) -> Settings:
    """Return the settings of the deployed producer with the changes, or of the changes alone if they do."""
    if not needs_stack(changes):
        return apply_changes({}, changes)
    stack = context.stack
    configuration = stack.configuration(stack.outputs.producer)
    return apply_changes(configuration.get("Environment", {}).get("Variables", {}), changes)
