"""The commands of `nightly-sync`, read from its command tree."""

import typer
from click import Command

from ops.cli.app import app


def list_commands() -> dict[str, Command]:
    """Return every command by its full name, such as `dlq list`."""
    commands: dict[str, Command] = {}
    for name, command in typer.main.get_command(app()).commands.items():  # type: ignore[attr-defined]  # a group
        nested = getattr(command, "commands", None)
        commands |= {f"{name} {inner}": one for inner, one in nested.items()} if nested else {name: command}
    return commands
