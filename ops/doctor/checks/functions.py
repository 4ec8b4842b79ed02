"""Both functions: state, settings compared with the stack's, concurrency limits and logs."""

from collections.abc import Iterator, Mapping

from ops.doctor.facts import AwsReply, FunctionFacts, StackFacts
from ops.doctor.fetched import Unavailable, unavailable_part, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok
from ops.doctor.shell import quote_json
from recon.config import load_settings
from recon.errors import ConfigError

PRODUCER, CONSUMER = "producer", "consumer"


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    for part, name, function in (
        (PRODUCER, facts.names.producer, facts.producer),
        (CONSUMER, facts.names.consumer, facts.consumer),
    ):
        if isinstance(function.configuration, Unavailable):
            yield unavailable_part(part, f"the function {name}", function.configuration, facts.shell)
        else:
            yield check_state(part, function.configuration, facts)
            yield check_settings(part, function.configuration, facts)
        yield check_concurrency(part, name, function, facts)
        yield check_logs(part, name, function, facts)


def check_state(part: str, configuration: AwsReply, facts: StackFacts) -> CheckFinding:
    """Check state and last update. `Inactive` is fine: Lambda activates the function at its next call."""
    state, update = configuration.get("State", "Active"), configuration.get("LastUpdateStatus", "Successful")
    if "Failed" in (state, update):
        reason = configuration.get("LastUpdateStatusReason") or configuration.get("StateReason")
        what = f"state {state}, last update {update}: {reason or 'no reason given'}"
        return fix(part, what, facts.shell.deploy())
    if update == "InProgress":
        return advice(part, "an update is in progress", facts.shell.sync("doctor"))
    return ok(part, f"{configuration.get('Runtime', 'no runtime')}, {configuration['Timeout']} s")


def check_settings(part: str, configuration: AwsReply, facts: StackFacts) -> CheckFinding:
    """Check the environment variables, which may have been changed after the deployment."""
    name = f"{part}: settings"
    variables: Mapping[str, str] = configuration.get("Environment", {}).get("Variables", {})
    names = facts.names
    stacks = {
        "COMMERCE_TABLE": names.table,
        "SYNC_QUEUE_URL": names.queue_url,
        "SYNC_LEDGER_TABLE": names.ledger if names.ledger != names.table else "",
    }
    others = [variable for variable, value in stacks.items() if variables.get(variable, "") != value]
    if others:
        wrong = ", ".join(
            f"{one} is {variables.get(one) or 'not set'}, not {stacks[one] or 'empty'}" for one in others
        )
        right = {one: value for one, value in {**variables, **stacks}.items() if value}
        return fix(name, wrong, _environment_command(configuration, right, facts))
    if error := _find_error(variables):
        # Without the invalid variable its default applies.
        right = {one: value for one, value in variables.items() if one not in error.split()}
        return fix(name, error, _environment_command(configuration, right, facts))
    if variables.get("STRIPE_SECRET"):
        return advice(
            name, "the Stripe key is in STRIPE_SECRET, which everyone with access to the function can read"
        )
    return ok(name, "the stack's table and queue")


def _find_error(variables: Mapping[str, str]) -> str | None:
    try:
        load_settings(variables)
    except ConfigError as error:
        return str(error)
    return None


def _environment_command(
    configuration: AwsReply, variables: Mapping[str, str], facts: StackFacts
) -> str | None:
    """Return a command that sets all variables, since Lambda replaces them together.

    Return None if the command would contain a Stripe key.
    """
    if "STRIPE_SECRET" in variables:
        return None
    return facts.shell.aws(
        f"lambda update-function-configuration --function-name {configuration['FunctionName']} "
        f"--environment {quote_json({'Variables': variables})}"
    )


def check_concurrency(part: str, name: str, function: FunctionFacts, facts: StackFacts) -> CheckFinding:
    label = f"{part}: concurrency"
    if isinstance(function.concurrency, Unavailable):
        return unreadable(label, function.concurrency)
    reserved = function.concurrency.get("ReservedConcurrentExecutions")
    if reserved == 0:
        free = f"lambda delete-function-concurrency --function-name {name}"
        return fix(label, "0 are reserved, so Lambda throttles every call", facts.shell.aws(free))
    return ok(label, "not limited" if reserved is None else f"{reserved} reserved")


def check_logs(part: str, name: str, function: FunctionFacts, facts: StackFacts) -> CheckFinding:
    label, group = f"{part}: logs", function.log_group
    if isinstance(group, Unavailable):
        return unreadable(label, group)
    if group is None:
        default = f"/aws/lambda/{name}"
        create = facts.shell.aws(f"logs create-log-group --log-group-name {default}")
        return fix(label, "there is no log group, so nothing is logged", create)
    days = group.get("retentionInDays")
    if days:
        return ok(label, f"kept for {days} days")
    keep = f"logs put-retention-policy --log-group-name {group['logGroupName']} --retention-in-days 90"
    return advice(label, "kept without limit, which costs money", facts.shell.aws(keep))
