"""The settings of a deployed stack: asked for the first time, then stored in `deploy.<stack>.json`.

The file holds names and numbers, no secret. It belongs in version control, so that every deployment uses the
same settings. Unless the user asks for it, it holds no account id and no e-mail address either: `{account}`
stands for the id, and the address stays in the stack. Parameters that it omits have the default of the
template.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from infra.deploy.aws import AwsError
from infra.deploy.errors import DeployError
from infra.deploy.schedule import find_schedule_problem
from infra.deploy.template import Template, TemplateParameter
from infra.deploy.terminal import DeployTerminal
from recon.config import find_slow_pace

DEFAULT_STACK = "stripe-nightly-sync"
# A function is named <stack>-producer or <stack>-consumer, and its name has 64 characters at most.
_STACK = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,54}")
# The parameters that have no default, or a default that suits only tests.
ASKED = ("CommerceTable", "StripeSecretParameter", "AlarmEmail")
PACE = ("StripeMaxRps", "ConsumerConcurrency")
BUCKET = "bucket"
# The schedule stays off until the operator has seen a preview.
FIRST_TIME: Mapping[str, str] = {"ScheduleState": "DISABLED"}
_ACCOUNT = "{account}"
_ADDRESS = "@"


@dataclass(frozen=True)
class DeploySettings:
    """The settings of one stack. `account` is empty if the file does not name it."""

    stack: str
    account: str
    region: str
    bucket: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def value_of(self, name: str, template: Template) -> str:
        """Return the parameter's value, which is the template's default if the settings do not name it."""
        return self.parameters.get(name) or str(template.parameters[name].default)


# Raises DeployError if AWS has no such thing: `check("CommerceTable", "shop")`.
type CheckAnswer = Callable[[str, str], None]
type KeepAnswers = Callable[[DeploySettings], None]


def default_path(stack: str, folder: Path = Path()) -> Path:
    return folder / f"deploy.{stack}.json"


def default_bucket(account: str, region: str) -> str:
    return f"stripe-nightly-sync-{account}-{region}"


def check_stack_name(name: str) -> str:
    """Return `name`. Raise DeployError if no stack can have it."""
    if not _STACK.fullmatch(name):
        raise DeployError(
            f"{name!r} is no stack name: letters, digits and hyphens, 55 at most, a letter first"
        )
    return name


# --- the file -----------------------------------------------------------------------------------------------


def read(path: Path) -> DeploySettings | None:
    """Return the stored settings, or None if there is no file. Raise DeployError if it is invalid."""
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text())
        settings = DeploySettings(**{"account": "", "bucket": "", **raw})
    except (OSError, ValueError, TypeError) as error:
        raise DeployError(f"{path} cannot be read: {error}") from error
    values = [settings.stack, settings.account, settings.region, settings.bucket]
    if not all(isinstance(value, str) for value in [*values, *settings.parameters.values()]):
        raise DeployError(f"{path} cannot be read: every value must be text")
    return settings


def write(path: Path, settings: DeploySettings, *, private: bool) -> None:
    """Write the file. With `private` it holds the account's id and the e-mail address as well."""
    path.write_text(json.dumps(to_file(settings, private=private), indent=2) + "\n")


def to_file(settings: DeploySettings, *, private: bool) -> dict[str, Any]:
    """Return the content of the file."""
    parameters = settings.parameters
    content = {"stack": settings.stack, "region": settings.region}
    if private:
        return {
            **content,
            "account": settings.account,
            "bucket": settings.bucket,
            "parameters": dict(parameters),
        }
    public = {name: value for name, value in parameters.items() if _ADDRESS not in value}
    return {
        **content,
        "bucket": _hide_account(settings.bucket, settings.account),
        "parameters": {name: _hide_account(value, settings.account) for name, value in public.items()},
    }


def _hide_account(value: str, account: str) -> str:
    return value.replace(account, _ACCOUNT) if account else value


def resolve(settings: DeploySettings, account: str) -> DeploySettings:
    """Return the settings for an account: its id takes the place of `{account}`."""
    return replace(
        settings,
        account=account,
        bucket=settings.bucket.replace(_ACCOUNT, account) or default_bucket(account, settings.region),
        parameters={name: value.replace(_ACCOUNT, account) for name, value in settings.parameters.items()},
    )


def add_addresses(settings: DeploySettings, deployed: Mapping[str, str]) -> DeploySettings:
    """Return the settings with the e-mail addresses of the deployed stack, which the file may omit."""
    addresses = {name: value for name, value in deployed.items() if _ADDRESS in value}
    return replace(settings, parameters={**addresses, **settings.parameters})


def list_differences(before: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[str]:
    """Return the names that differ between two contents of the file. It omits the values."""
    old, new = _flatten(before or {}), _flatten(wanted)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _flatten(content: Mapping[str, Any]) -> dict[str, str]:
    return {
        **content.get("parameters", {}),
        **{key: one for key, one in content.items() if key != "parameters"},
    }


# --- questions ----------------------------------------------------------------------------------------------


def ask_for_settings(
    terminal: DeployTerminal,
    template: Template,
    start: DeploySettings,
    names: Sequence[str],
    check_answer: CheckAnswer,
    keep: KeepAnswers,
) -> DeploySettings:
    """Return `start`, completed by the user's answers for `names`.

    An answer that `check_answer` rejects is asked for again, with the same default. `keep` is called after
    each answer.
    """
    terminal.line("Asked once, then stored. Enter accepts the value in brackets.")
    settings = replace(start, parameters={**FIRST_TIME, **start.parameters})
    for name in names:
        parameter = template.parameters[name]
        terminal.line(f"\n{name}: {parameter.description}")
        current = settings.parameters.get(name, parameter.default or "")
        answer = _ask_until_valid(terminal, parameter, current, check_answer)
        settings = replace(settings, parameters={**settings.parameters, name: answer})
        keep(settings)
    return settings


def ask_for_bucket(
    terminal: DeployTerminal, settings: DeploySettings, check_answer: CheckAnswer, keep: KeepAnswers
) -> DeploySettings:
    """Return the settings with the bucket that the user names."""
    while True:
        answer = terminal.ask("Bucket in this region for the packages", settings.bucket)
        if (problem := _find_refusal(check_answer, BUCKET, answer)) is None:
            settings = replace(settings, bucket=answer)
            keep(settings)
            return settings
        terminal.line(problem)


def _ask_until_valid(
    terminal: DeployTerminal, parameter: TemplateParameter, current: str, check_answer: CheckAnswer
) -> str:
    while True:
        answer = terminal.ask(parameter.name, current)
        problem = find_problem(parameter, answer) or _find_refusal(check_answer, parameter.name, answer)
        if problem is None:
            return answer
        terminal.line(problem)


def _find_refusal(check_answer: CheckAnswer, name: str, answer: str) -> str | None:
    """Return what AWS lacks. An error of AWS itself is raised: another answer would not help."""
    try:
        check_answer(name, answer)
    except AwsError:
        raise
    except DeployError as error:
        return str(error)
    return None


# --- rules --------------------------------------------------------------------------------------------------


def apply_changes(settings: DeploySettings, changes: Sequence[str]) -> DeploySettings:
    """Return the settings with `changes`, each `NAME=VALUE`. Raise DeployError for any other form."""
    pairs = [change.partition("=") for change in changes]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise DeployError(f"--set {wrong[0]}: it takes NAME=VALUE")
    return replace(settings, parameters={**settings.parameters, **{name: value for name, _, value in pairs}})


def find_problem(parameter: TemplateParameter, value: str) -> str | None:
    """Return what is wrong with a parameter's value by the rules of the template and of schedules."""
    if parameter.name == "CommerceTable" and value.startswith("arn:"):
        return describe_table_arn(value)
    return parameter.find_problem(value) or find_schedule_problem(parameter.name, value)


def describe_table_arn(arn: str) -> str:
    """Return why the ARN of a table cannot take the place of its name."""
    region, account = [*arn.split(":"), "", "", "", ""][3:5]
    return (
        f"CommerceTable must be a table name, not an ARN: the stack is deployed in the table's own region "
        f"and account ({region or 'unknown'}, {account or 'unknown'}), since no transaction spans two; use "
        "--region and credentials of that account"
    )


def list_problems(settings: DeploySettings, template: Template) -> list[str]:
    """Return what is wrong with the parameters that the settings name."""
    known, given = template.parameters, settings.parameters
    unknown = [f"{name} is no parameter of the template" for name in given if name not in known]
    checked = (find_problem(known[name], value) for name, value in given.items() if name in known)
    return [*unknown, *(problem for problem in checked if problem)]


def list_missing(settings: DeploySettings, template: Template) -> list[str]:
    """Return the parameters without a default that the settings do not name."""
    parameters = template.parameters.items()
    return [name for name, one in parameters if one.default is None and name not in settings.parameters]


def find_slow_share(settings: DeploySettings, template: Template) -> str | None:
    """Return what is wrong if each consumer's share of the pace is too small: a template cannot divide."""
    values = {name: settings.parameters.get(name, template.parameters[name].default) for name in PACE}
    rps, consumers = (values[name] or "" for name in PACE)
    problem = find_slow_pace(float(rps), int(consumers))
    return f"{' and '.join(PACE)} are {rps} and {consumers}, and {problem}" if problem else None
