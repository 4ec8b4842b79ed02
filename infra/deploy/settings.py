"""What a stack is deployed with: asked for the first time, then kept in `deploy.<stack>.json`.

The file holds no secret, only names, numbers and the address of the alarms, and belongs beside the code:
whoever deploys next deploys the same. What does not stand in it has the template's default.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from infra.deploy.errors import CannotDeploy
from infra.deploy.screen import Screen
from infra.deploy.template import Parameter, Template

DEFAULT_STACK = "stripe-nightly-sync"
# The functions are named after it (<stack>-producer), and their names are 64 characters at most.
_STACK = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,54}")
# Of the template's parameters those that have no default, or one that only a test would want.
ASKED = ("CommerceTable", "StripeSecretParameter", "AlarmEmail")
# Nothing runs by itself before somebody has seen a preview.
FIRST_TIME: Mapping[str, str] = {"ScheduleState": "DISABLED"}


@dataclass(frozen=True)
class Settings:
    """`account` and `region` are where the stack is: the same file never makes a second one elsewhere."""

    stack: str
    account: str
    region: str
    bucket: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def path_of(stack: str, folder: Path = Path()) -> Path:
    return folder / f"deploy.{stack}.json"


def checked_stack(name: str) -> str:
    if not _STACK.fullmatch(name):
        raise CannotDeploy(
            f"{name!r} is no stack name: letters, digits and hyphens, 55 at most, a letter first"
        )
    return name


def read(path: Path) -> Settings | None:
    """None where there is no file yet. Raises CannotDeploy that says what is wrong with it."""
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text())
        settings = Settings(**raw)
    except (OSError, ValueError, TypeError) as error:
        raise CannotDeploy(f"{path} cannot be read: {error}") from error
    values = [settings.stack, settings.account, settings.region, settings.bucket]
    if not all(isinstance(value, str) for value in [*values, *settings.parameters.values()]):
        raise CannotDeploy(f"{path} cannot be read: every value must be text")
    return settings


def write(path: Path, settings: Settings) -> None:
    path.write_text(json.dumps(asdict(settings), indent=2) + "\n")


def asked(
    screen: Screen, template: Template, start: Settings, *, everything: bool, given: Mapping[str, str]
) -> Settings:
    """`start`, completed by what a person answers. `given` was said already and is not asked for."""
    screen.line("Asked once, then kept. Enter takes what stands in brackets.")
    names = list(template.parameters) if everything else [name for name in ASKED if name not in given]
    answers = {name: _answer(screen, template.parameters[name], start.parameters.get(name)) for name in names}
    bucket = screen.ask("Bucket in this region for the packages", start.bucket)
    return replace(start, bucket=bucket, parameters={**FIRST_TIME, **start.parameters, **answers, **given})


def _answer(screen: Screen, parameter: Parameter, now: str | None) -> str:
    default = parameter.default if now is None else now
    screen.line(f"\n{parameter.name}: {parameter.description}")
    while problem := parameter.problem(value := screen.ask(parameter.name, default or "")):
        screen.line(problem)
    return value


def with_changes(settings: Settings, changes: Sequence[str]) -> Settings:
    """`changes` are `NAME=VALUE`. Raises CannotDeploy for anything else."""
    pairs = [change.partition("=") for change in changes]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise CannotDeploy(f"--set {wrong[0]}: it takes NAME=VALUE")
    return replace(settings, parameters={**settings.parameters, **{name: value for name, _, value in pairs}})


def differences(before: Settings | None, wanted: Settings) -> list[str]:
    """Return the names of what the file would hold anew. No value, since one of them is an e-mail address."""
    old = {} if before is None else _flat(before)
    new = _flat(wanted)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _flat(settings: Settings) -> dict[str, str]:
    place = {"stack": settings.stack, "account": settings.account, "region": settings.region}
    return {**settings.parameters, **place, "bucket": settings.bucket}


def check(settings: Settings, template: Template) -> None:
    """Raises CannotDeploy that names everything wrong at once."""
    known, said = template.parameters, settings.parameters
    problems = [f"{name} is no parameter of the template" for name in said if name not in known]
    problems += [
        f"{name} is missing" for name, one in known.items() if one.default is None and name not in said
    ]
    found = (known[name].problem(value) for name, value in said.items() if name in known)
    problems += [problem for problem in found if problem]
    if problems:
        raise CannotDeploy("; ".join(problems))
