"""The settings of a deployed stack: asked for the first time, then stored in `deploy.<stack>.json`.

The file holds no secret, only names, numbers and the e-mail address for alarms. It belongs in version
control, so that every deployment uses the same settings. Parameters that it omits have the default of the
template.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from infra.deploy.errors import DeployError
from infra.deploy.template import Template, TemplateParameter
from infra.deploy.terminal import DeployTerminal
from recon.config import find_slow_pace

DEFAULT_STACK = "stripe-nightly-sync"
# A function is named <stack>-producer or <stack>-consumer, and its name has 64 characters at most.
_STACK = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,54}")
# The parameters that have no default, or a default that suits only tests.
ASKED = ("CommerceTable", "StripeSecretParameter", "AlarmEmail")
PACE = ("StripeMaxRps", "ConsumerConcurrency")
# The schedule stays off until the operator has seen a preview.
FIRST_TIME: Mapping[str, str] = {"ScheduleState": "DISABLED"}


@dataclass(frozen=True)
class DeploySettings:
    """The content of the file. `account` and `region` keep it from deploying a second stack elsewhere."""

    stack: str
    account: str
    region: str
    bucket: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def default_path(stack: str, folder: Path = Path()) -> Path:
    return folder / f"deploy.{stack}.json"


def check_stack_name(name: str) -> str:
    """Return `name`. Raise DeployError if no stack can have it."""
    if not _STACK.fullmatch(name):
        raise DeployError(
            f"{name!r} is no stack name: letters, digits and hyphens, 55 at most, a letter first"
        )
    return name


def read(path: Path) -> DeploySettings | None:
    """Return the stored settings, or None if there is no file. Raise DeployError if it is invalid."""
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text())
        settings = DeploySettings(**raw)
    except (OSError, ValueError, TypeError) as error:
        raise DeployError(f"{path} cannot be read: {error}") from error
    values = [settings.stack, settings.account, settings.region, settings.bucket]
    if not all(isinstance(value, str) for value in [*values, *settings.parameters.values()]):
        raise DeployError(f"{path} cannot be read: every value must be text")
    return settings


def write(path: Path, settings: DeploySettings) -> None:
    path.write_text(json.dumps(asdict(settings), indent=2) + "\n")


def ask_for_settings(
    terminal: DeployTerminal,
    template: Template,
    start: DeploySettings,
    *,
    everything: bool,
    given: Mapping[str, str],
) -> DeploySettings:
    """Return `start`, completed by the user's answers.

    Parameters in `given` were set on the command line and are not asked for, unless `everything` is.
    """
    terminal.line("Asked once, then stored. Enter accepts the value in brackets.")
    names = list(template.parameters) if everything else [name for name in ASKED if name not in given]
    answers = {
        name: _ask_for(terminal, template.parameters[name], start.parameters.get(name)) for name in names
    }
    bucket = terminal.ask("Bucket in this region for the packages", start.bucket)
    return replace(start, bucket=bucket, parameters={**FIRST_TIME, **start.parameters, **answers, **given})


def _ask_for(terminal: DeployTerminal, parameter: TemplateParameter, current: str | None) -> str:
    default = parameter.default if current is None else current
    terminal.line(f"\n{parameter.name}: {parameter.description}")
    while problem := parameter.find_problem(value := terminal.ask(parameter.name, default or "")):
        terminal.line(problem)
    return value


def apply_changes(settings: DeploySettings, changes: Sequence[str]) -> DeploySettings:
    """Return the settings with `changes`, each `NAME=VALUE`. Raise DeployError for any other form."""
    pairs = [change.partition("=") for change in changes]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise DeployError(f"--set {wrong[0]}: it takes NAME=VALUE")
    return replace(settings, parameters={**settings.parameters, **{name: value for name, _, value in pairs}})


def list_differences(before: DeploySettings | None, wanted: DeploySettings) -> list[str]:
    """Return the names that differ. It omits the values, since one of them is an e-mail address."""
    old = {} if before is None else _flatten(before)
    new = _flatten(wanted)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _flatten(settings: DeploySettings) -> dict[str, str]:
    location = {"stack": settings.stack, "account": settings.account, "region": settings.region}
    return {**settings.parameters, **location, "bucket": settings.bucket}


def _find_slow_pace(settings: DeploySettings, template: Template) -> str | None:
    """Return what is wrong if each consumer's share of the pace is too small: a template cannot divide."""
    values = {name: settings.parameters.get(name, template.parameters[name].default) for name in PACE}
    rps, consumers = (values[name] or "" for name in PACE)
    problem = find_slow_pace(float(rps), int(consumers))
    return f"{' and '.join(PACE)} are {rps} and {consumers}, and {problem}" if problem else None


def check(settings: DeploySettings, template: Template) -> None:
    """Raise DeployError that lists every parameter that is unknown, missing or invalid."""
    known, given = template.parameters, settings.parameters
    problems = [f"{name} is no parameter of the template" for name in given if name not in known]
    problems += [
        f"{name} is missing"
        for name, parameter in known.items()
        if parameter.default is None and name not in given
    ]
    checked = (known[name].find_problem(value) for name, value in given.items() if name in known)
    problems += [problem for problem in checked if problem]
    if not problems and (problem := _find_slow_pace(settings, template)):
        problems.append(problem)
    if problems:
        raise DeployError("; ".join(problems))
