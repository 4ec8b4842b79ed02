"""How command lines are parsed: earlier names of options, and errors of one line."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ops.cli.exits import COULD_NOT_RUN, INTERRUPTED
from ops.cli.screen import create_screen

HELP_OPTIONS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
# The earlier names of options are accepted, and no help lists them.
_EARLIER_NAMES = {
    "dlq redrive": {"--max": "--limit", "--follow": "--timeout"},
    "run": {"--max-sessions": "--limit"},
}
_JSON = "--json"


class SyncCommand(TyperCommand):
    """A command that accepts the earlier names of its options."""

    def make_parser(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer does not export the types
        """Return the parser of the command line, with the earlier names added."""
        parser = super().make_parser(ctx)
        command = ctx.command_path.partition(" ")[2]
        for earlier, name in _EARLIER_NAMES.get(command, {}).items():
            option: Any = next(one for one in self.params if name in one.opts)
            parser.add_option(obj=option, opts=[earlier], dest=option.name)
        return parser

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Return the parameters for the help page."""
        return _without_flag_types(super().get_params(ctx))


class SyncGroup(TyperGroup):
    """A group of commands that prints an invalid command line as one line, or as JSON with `--json`."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Return the parameters for the help page."""
        return _without_flag_types(super().get_params(ctx))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]  # noqa: ANN401
        """Run a command line and exit with its code."""
        typed = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(typed, prog_name, **extra | {"standalone_mode": False})
        except typer.TyperException as error:
            _print_usage_error(error, as_json=_JSON in typed)
            code = COULD_NOT_RUN
        except typer.Abort:
            code = INTERRUPTED
        sys.exit(code)


def _without_flag_types(params: list[Any]) -> list[Any]:
    """Return the parameters, of which none that takes no value is called `<bool>` in the help."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


def _print_usage_error(error: Any, *, as_json: bool) -> None:  # noqa: ANN401 - as above
    screen = create_screen(show_pii=False)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    message = describe_usage_error(error)
    if as_json:
        screen.json({"error": message})
    else:
        screen.log_error(message)


def describe_usage_error(error: Any) -> str:  # noqa: ANN401 - as above
    """Return one line that names the option or argument, what it must be, and the command's help."""
    message = " ".join(error.format_message().split())
    param: Any = getattr(error, "param", None)
    if type(error) is typer.BadParameter and (expected := _describe_expected(param)):
        message = f"Invalid value for '{param.opts[0]}': it must be {expected}"
    command = error.ctx.command_path if error.ctx else "nightly-sync"
    return f"{message.removesuffix('.')}; see `{command} --help`"


def _describe_expected(param: Any) -> str | None:  # noqa: ANN401 - as above
    if param is None:
        return None
    described = param.type_descriptor
    if described.is_choice:
        return f"one of {', '.join(str(choice.value) for choice in described.choices)}"
    kind = {int: "a whole number", float: "a number"}.get(described.annotation)
    if kind is None:
        return None
    if param.max is None:
        return kind if param.min is None else f"{kind} from {param.min}"
    return f"{kind} from {param.min} to {param.max}"
