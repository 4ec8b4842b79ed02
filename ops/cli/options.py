"""The options that every command accepts, before or after its name. The first help page lists them, once."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from ops.cli.screen import Screen, create_screen
from ops.cli.usage import read_given_options
from ops.stack.stack import DEFAULT_STACK, SANDBOX_HOME, StackSelector

_PANEL = "Common options"
_DISTRIBUTION = "stripe-nightly-sync"


@dataclass
class CommonOptions:
    """The common options collected so far. The later value wins: `--stack a status --stack b` selects b.

    `typed` has the names of those that do not come from the environment. `given` maps every option and
    argument of the command line, the command's own included, to its value.
    """

    values: dict[str, Any] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)
    given: dict[str, object] = field(default_factory=dict)

    def update(self, ctx: typer.Context, options: Mapping[str, Any]) -> None:
        """Add the options of one context. A value of the environment never replaces one that was typed."""
        self.given |= read_given_options(ctx)
        non_empty = {name: value for name, value in options.items() if value}
        from_environment = {
            name: value for name, value in non_empty.items() if _is_from_environment(ctx, name)
        }
        typed = {name: value for name, value in non_empty.items() if name not in from_environment}
        self.values = from_environment | self.values | typed
        self.typed |= typed.keys()

    @property
    def selector(self) -> StackSelector:
        """Return the selection of the stack."""
        where = {name: self.values.get(name) for name in ("stack", "profile", "region")}
        sandbox = self.values.get("sandbox")
        return StackSelector(**where, sandbox=Path(sandbox) if sandbox else None)

    @property
    def selection(self) -> str:
        """Return the options that select the same stack for another command, or an empty text.

        The environment's sandbox is left out, since the same shell has it.
        """
        names = [name for name in ("stack", "profile", "region") if self.values.get(name)]
        names += [name for name in ("sandbox",) if name in self.typed]
        chosen = {name: str(self.values[name]) for name in names}
        if chosen.get("stack") == DEFAULT_STACK:
            del chosen["stack"]
        return "".join(f" --{name} {quote(value)}" for name, value in chosen.items())

    def create_screen(self) -> Screen:
        """Create the screen of this invocation."""
        return create_screen(show_pii=self.show_pii, quiet=self.quiet, selection=self.selection)

    @property
    def as_json(self) -> bool:
        """Return True if the result is printed as JSON."""
        return bool(self.values.get("as_json"))

    @property
    def quiet(self) -> bool:
        """Return True if only errors and results that need action are printed."""
        return bool(self.values.get("quiet"))

    @property
    def show_pii(self) -> bool:
        """Return True if e-mail addresses are not masked."""
        return bool(self.values.get("show_pii"))


def _is_from_environment(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def get_common_options(ctx: typer.Context) -> CommonOptions:
    """Return the options object of the invocation, which all its contexts share."""
    return ctx.find_root().ensure_object(CommonOptions)


def _text_option(
    name: str, metavar: str, text: str, envvar: str | None = None, *, hidden: bool
) -> inspect.Parameter:
    option = typer.Option(metavar=metavar, envvar=envvar, help=text, rich_help_panel=_PANEL, hidden=hidden)
    return _parameter(name, None, Annotated[str | None, option])


def _flag(name: str, *flags: str, text: str, hidden: bool) -> inspect.Parameter:
    option = typer.Option(*flags, metavar="", help=text, rich_help_panel=_PANEL, hidden=hidden)
    return _parameter(name, False, Annotated[bool, option])


def _parameter(name: str, default: object, annotation: Any) -> inspect.Parameter:  # noqa: ANN401 - an annotation
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _build_common(*, hidden: bool) -> tuple[inspect.Parameter, ...]:
    stack = f"Work on this CloudFormation stack; {DEFAULT_STACK} if not given"
    sandbox = f"Work on the sandbox that `make demo ARGS=--keep` left running in {SANDBOX_HOME}"
    return (
        _text_option("stack", "NAME", stack, "NIGHTLY_SYNC_STACK", hidden=hidden),
        _text_option("profile", "NAME", "Use this AWS profile", hidden=hidden),
        _text_option("region", "NAME", "Use this AWS region", hidden=hidden),
        _text_option("sandbox", "FOLDER", sandbox, "NIGHTLY_SYNC_SANDBOX", hidden=hidden),
        _flag("as_json", "--json", text="Print JSON of a stable shape", hidden=hidden),
        _flag("quiet", "--quiet", "-q", text="Print nothing unless action is needed", hidden=hidden),
        _flag(
            "show_pii", "--show-pii", text="Show e-mail addresses, which are masked otherwise", hidden=hidden
        ),
    )


# Added to the signature of each command, because Typer cannot share parameters.
COMMON = _build_common(hidden=False)
HIDDEN = _build_common(hidden=True)
NAMES = ("--stack", "--profile", "--region", "--sandbox", "--json", "--quiet", "--show-pii")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"nightly-sync {version(_DISTRIBUTION)}")
        raise typer.Exit


VERSION = _parameter(
    "version",
    False,
    Annotated[
        bool,
        typer.Option(
            "--version", metavar="", is_eager=True, callback=_print_version, help="Print the version and exit"
        ),
    ],
)
