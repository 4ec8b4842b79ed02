"""Both functions: their state, their settings against the stack's, what limits them, their logs."""

from collections.abc import Iterator, Mapping

from ops.doctor.facts import Facts, Function, Reply
from ops.doctor.finding import Finding, advice, fix, ok
from ops.doctor.shell import as_argument
from ops.doctor.unread import Unavailable, lost, unseen
from recon.config import load_settings
from recon.errors import ConfigError

PRODUCER, CONSUMER = "producer", "consumer"


def findings(facts: Facts) -> Iterator[Finding]:
    for part, name, function in (
        (PRODUCER, facts.names.producer, facts.producer),
        (CONSUMER, facts.names.consumer, facts.consumer),
    ):
        if isinstance(function.configuration, Unavailable):
            yield lost(part, f"the function {name}", function.configuration, facts.shell)
        else:
            yield of_state(part, function.configuration, facts)
            yield of_settings(part, function.configuration, facts)
        yield of_concurrency(part, name, function, facts)
        yield of_logs(part, name, function, facts)


def of_state(part: str, configuration: Reply, facts: Facts) -> Finding:
    """A function that nobody called for weeks is `Inactive`, and wakes at its next call."""
    state, update = configuration.get("State", "Active"), configuration.get("LastUpdateStatus", "Successful")
    if "Failed" in (state, update):
        reason = configuration.get("LastUpdateStatusReason") or configuration.get("StateReason")
        what = f"state {state}, last update {update}: {reason or 'no reason given'}"
        return fix(part, what, facts.shell.deploy())
    if update == "InProgress":
        return advice(part, "an update is going on", facts.shell.sync("doctor"))
    return ok(part, f"{configuration.get('Runtime', 'no runtime')}, {configuration['Timeout']} s")


def of_settings(part: str, configuration: Reply, facts: Facts) -> Finding:
    """The template makes none that are wrong: somebody changed them by hand."""
    name = f"{part}: settings"
    variables: Mapping[str, str] = configuration.get("Environment", {}).get("Variables", {})
    stacks = {"COMMERCE_TABLE": facts.names.table, "SYNC_QUEUE_URL": facts.names.queue_url}
    others = [variable for variable, value in stacks.items() if variables.get(variable) != value]
    if others:
        told = ", ".join(f"{one} is {variables.get(one) or 'not set'}, not {stacks[one]}" for one in others)
        return fix(name, told, _set_environment(configuration, {**variables, **stacks}, facts))
    if complaint := _complaint(variables):
        # What is wrong is taken out, so that its default holds.
        right = {one: value for one, value in variables.items() if one not in complaint.split()}
        return fix(name, complaint, _set_environment(configuration, right, facts))
    if variables.get("STRIPE_SECRET"):
        return advice(
            name, "the Stripe key stands in STRIPE_SECRET, for all to read who may look at the function"
        )
    return ok(name, "the stack's table and queue")


def _complaint(variables: Mapping[str, str]) -> str | None:
    try:
        load_settings(variables)
    except ConfigError as error:
        return str(error)
    return None


def _set_environment(configuration: Reply, variables: Mapping[str, str], facts: Facts) -> str | None:
    """All of them, since Lambda replaces the whole; none where a key would stand in the command."""
    if "STRIPE_SECRET" in variables:
        return None
    return facts.shell.aws(
        f"lambda update-function-configuration --function-name {configuration['FunctionName']} "
        f"--environment {as_argument({'Variables': variables})}"
    )


def of_concurrency(part: str, name: str, function: Function, facts: Facts) -> Finding:
    told = f"{part}: concurrency"
    if isinstance(function.concurrency, Unavailable):
        return unseen(told, function.concurrency)
    reserved = function.concurrency.get("ReservedConcurrentExecutions")
    if reserved == 0:
        free = f"lambda delete-function-concurrency --function-name {name}"
        return fix(told, "0 are reserved: Lambda throttles every call", facts.shell.aws(free))
    return ok(told, "not limited" if reserved is None else f"{reserved} reserved")


def of_logs(part: str, name: str, function: Function, facts: Facts) -> Finding:
    told, group = f"{part}: logs", function.log_group
    if isinstance(group, Unavailable):
        return unseen(told, group)
    if group is None:
        default = f"/aws/lambda/{name}"
        create = facts.shell.aws(f"logs create-log-group --log-group-name {default}")
        return fix(told, "there is no log group: what goes wrong is said nowhere", create)
    days = group.get("retentionInDays")
    if days:
        return ok(told, f"kept for {days} days")
    keep = f"logs put-retention-policy --log-group-name {group['logGroupName']} --retention-in-days 90"
    return advice(told, "kept for ever, and paid for", facts.shell.aws(keep))
