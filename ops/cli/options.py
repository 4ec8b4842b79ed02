"""The options that every command takes, before or after its name."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.cli.usage import given_of
from ops.stack.stack import DEFAULT_STACK, SANDBOX_HOME, StackSelector

_PANEL = "Where and how"


@dataclass
class CommonOptions:
    """What was said so far. The later word counts: `--stack a status --stack b` means b."""

    said: dict[str, Any] = field(default_factory=dict)
    # By the names on the command line, the command's own options included.
    given: dict[str, object] = field(default_factory=dict)

    def hear(self, ctx: typer.Context, options: Mapping[str, Any]) -> None:
        """A word of the environment counts only where the command line has said none, before or after."""
        self.given |= given_of(ctx)
        said = {name: value for name, value in options.items() if value}
        self.said = {name: value for name, value in said.items() if _by_environment(ctx, name)} | self.said
        self.said |= {name: value for name, value in said.items() if not _by_environment(ctx, name)}

    @property
    def selector(self) -> StackSelector:
        where = {name: self.said.get(name) for name in ("stack", "profile", "region")}
        sandbox = self.said.get("sandbox")
        return StackSelector(**where, sandbox=Path(sandbox) if sandbox else None)

    @property
    def as_json(self) -> bool:
        return bool(self.said.get("as_json"))

    @property
    def show_pii(self) -> bool:
        return bool(self.said.get("show_pii"))


def _by_environment(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def common_of(ctx: typer.Context) -> CommonOptions:
    return ctx.find_root().ensure_object(CommonOptions)


def _option(name: str, default: object, kind: Any) -> inspect.Parameter:  # noqa: ANN401 - an annotation
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


# Parameters that are added to the signature of each command, since Typer has no way to share them.
COMMON = (
    _option(
        "stack",
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                envvar="NIGHTLY_SYNC_STACK",
                help=f"CloudFormation stack to work with; {DEFAULT_STACK} if not given",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    _option(
        "profile",
        None,
        Annotated[str | None, typer.Option(metavar="NAME", help="AWS profile", rich_help_panel=_PANEL)],
    ),
    _option(
        "region",
        None,
        Annotated[str | None, typer.Option(metavar="NAME", help="AWS region", rich_help_panel=_PANEL)],
    ),
    _option(
        "sandbox",
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="FOLDER",
                envvar="NIGHTLY_SYNC_SANDBOX",
                help=f"Work with the sandbox that `make demo ARGS=--keep` left up in {SANDBOX_HOME}",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    _option(
        "as_json",
        default=False,
        kind=Annotated[
            bool,
            typer.Option("--json", help="JSON on standard output, of a stable shape", rich_help_panel=_PANEL),
        ],
    ),
    _option(
        "show_pii",
        default=False,
        kind=Annotated[
            bool,
            typer.Option(
                "--show-pii", help="Show e-mail addresses, which are masked otherwise", rich_help_panel=_PANEL
            ),
        ],
    ),
)
