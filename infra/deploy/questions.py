"""The questions of a deployment: asked for the first time, then answered by the file of the settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from infra.deploy.aws import AwsError
from infra.deploy.errors import DeployError
from infra.deploy.parameter_rules import find_problem
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template, TemplateParameter
from infra.deploy.terminal import DeployTerminal

# The parameters that have no default, or a default that suits only tests.
ASKED = ("CommerceTable", "StripeSecretParameter", "AlarmEmail")
BUCKET = "bucket"
# The schedule stays off until the operator has seen a preview.
FIRST_TIME: Mapping[str, str] = {"ScheduleState": "DISABLED"}

# Raises DeployError if AWS has no such thing: `check("CommerceTable", "shop")`.
type CheckAnswer = Callable[[str, str], None]
type KeepAnswers = Callable[[DeploySettings], None]


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
