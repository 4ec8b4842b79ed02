"""Which options of a command do not work together. Commands declare it, and it is checked before they begin.

An option is named as on the command line, with a value where only that value matters: `--out -`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

from ops.errors import CommandError

type Given = Mapping[str, object]
type Rule = Callable[[Given], str | None]


def conflict(option: str, *others: str, because: str) -> Rule:
    """Return a rule that refuses `option` together with any of `others`."""

    def broken(given: Given) -> str | None:
        clashing = [other for other in others if _is_given(other, given)]
        if not clashing or not _is_given(option, given):
            return None
        return f"{option} cannot be combined with {' or '.join(clashing)}: {because}"

    return broken


def requires(option: str, other: str, because: str) -> Rule:
    """Return a rule that refuses `option` without `other`."""

    def broken(given: Given) -> str | None:
        if _is_given(option, given) and not _is_given(other, given):
            return f"{option} also needs {other}: {because}"
        return None

    return broken


def check(rules: Sequence[Rule], given: Given) -> None:
    """Raise CannotRun with the sentence of the first rule that is broken, or for an empty value."""
    for name, value in given.items():
        if any(isinstance(one, str) and not one.strip() for one in _each(value)):
            raise CommandError(f"{name} is empty: give it a value, or leave it out")
    for rule in rules:
        if sentence := rule(given):
            raise CommandError(sentence)


def given_of(ctx: typer.Context) -> dict[str, object]:
    """Return what the command line or the environment gives, by the name of its option or argument."""
    return {
        _name(parameter): ctx.params[parameter.name]
        for parameter in ctx.command.params
        if parameter.name in ctx.params and _is_from_outside(ctx, parameter.name)
    }


def _is_from_outside(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def _name(parameter: Any) -> str:  # noqa: ANN401 - Typer keeps the type to itself
    name: str = parameter.opts[0]
    return name if name.startswith("-") else parameter.metavar


def _each(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _is_given(option: str, given: Given) -> bool:
    name, _, value = option.partition(" ")
    return name in given and value in ("", str(given[name]))
