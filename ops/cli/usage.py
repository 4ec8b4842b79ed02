"""Rules about combinations of options, declared by the commands and checked before they start.

A rule names an option as on the command line, with a value if only that value matters: `--out -`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

from ops.errors import CommandError

type Given = Mapping[str, object]
type Rule = Callable[[Given], str | None]


def conflict(option: str, *others: str, because: str) -> Rule:
    """Return a rule that refuses `option` together with any of `others`."""

    def rule(given: Given) -> str | None:
        clashing = [other for other in others if _is_given(other, given)]
        if not clashing or not _is_given(option, given):
            return None
        return f"{option} cannot be combined with {' or '.join(clashing)}: {because}"

    return rule


def requires(option: str, other: str, because: str) -> Rule:
    """Return a rule that refuses `option` without `other`."""

    def rule(given: Given) -> str | None:
        if _is_given(option, given) and not _is_given(other, given):
            return f"{option} also needs {other}: {because}"
        return None

    return rule


def check(rules: Sequence[Rule], given: Given) -> None:
    """Raise CommandError for an empty value and for the first violated rule."""
    for name, value in given.items():
        if any(isinstance(one, str) and not one.strip() for one in _as_sequence(value)):
            advice = ", or leave it out" if name.startswith("-") else ""
            raise CommandError(f"{name} is empty: give it a value{advice}")
    for rule in rules:
        if violation := rule(given):
            raise CommandError(violation)


def read_given_options(ctx: typer.Context) -> dict[str, object]:
    """Return the values of the command line and the environment by the name of their option or argument."""
    return {
        _display_name(parameter): ctx.params[parameter.name]
        for parameter in ctx.command.params
        if parameter.name in ctx.params and _is_explicit(ctx, parameter.name)
    }


def _is_explicit(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def _display_name(parameter: Any) -> str:  # noqa: ANN401 - Typer does not export the type
    name: str = parameter.opts[0]
    return name if name.startswith("-") else parameter.metavar


def _as_sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _is_given(option: str, given: Given) -> bool:
    name, _, value = option.partition(" ")
    return name in given and value in ("", str(given[name]))
