"""The rules of a deployment's parameters, checked before anything is built or changed."""

from infra.deploy.schedule import find_schedule_problem
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template, TemplateParameter
from recon.config import find_slow_pace

PACE = ("StripeMaxRps", "ConsumerConcurrency")


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
