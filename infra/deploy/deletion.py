"""`make destroy`: delete the stack and keep the shop's own resources."""

from collections.abc import Mapping, Sequence

from infra.deploy import preflight
from infra.deploy.aws import AwsServices
from infra.deploy.errors import DeployError
from infra.deploy.ledger import name_ledger
from infra.deploy.stack import AwsResponse, CloudFormationStack, Sleep, parse_outputs, parse_parameters
from infra.deploy.terminal import BOLD, RED, DeployTerminal

# The stack's output with a queue's URL -> what the messages in that queue are.
QUEUES = {
    "QueueUrl": "sessions that no run has processed",
    "DeadLetterQueueUrl": "sessions that failed for good",
    "ScheduleDeadLetterQueueUrl": "runs that never started or failed",
}
_COUNTS = ("", "NotVisible", "Delayed")


def destroy(aws: AwsServices, terminal: DeployTerminal, name: str, sleep: Sleep) -> None:
    """Delete the stack. Raise DeployError if it is missing, not confirmed, or not deleted entirely."""
    stack, found = find_stack(aws, terminal, name, sleep)
    show_kept(terminal, stack, parse_parameters(found))
    warn_of_messages(terminal, count_messages(aws, parse_outputs(found)))
    # The name must be typed, since a yes is too easy. With --yes the name is on the command line.
    if terminal.is_interactive and terminal.ask(f"Type {name} to delete it") != name:
        raise DeployError("nothing was deleted")
    stack.delete()
    terminal.line(f"{name} is deleted.", BOLD)
    show_leftovers(terminal, preflight.list_leftovers(aws, name))


def show_destruction(aws: AwsServices, terminal: DeployTerminal, name: str, sleep: Sleep) -> None:
    """Show what `destroy` would delete and keep and which messages wait, without deleting anything.

    Raise DeployError if there is no such stack.
    """
    stack, found = find_stack(aws, terminal, name, sleep)
    resources = stack.list_resources()
    # A stack that was never deployed has no resources, and no template either.
    kept = stack.list_retained() if resources else set()
    terminal.line("Would be deleted", BOLD)
    terminal.table([(pair, "") for pair in sorted(resources.items()) if pair[0] not in kept])
    terminal.line("Would stay, with their content", BOLD)
    terminal.table([(pair, "") for pair in sorted(resources.items()) if pair[0] in kept])
    show_kept(terminal, stack, parse_parameters(found))
    warn_of_messages(terminal, count_messages(aws, parse_outputs(found)))
    terminal.line("Dry run: nothing was deleted.", BOLD)


def find_stack(
    aws: AwsServices, terminal: DeployTerminal, name: str, sleep: Sleep
) -> tuple[CloudFormationStack, AwsResponse]:
    """Return the stack and its description. Raise DeployError if there is none."""
    stack = CloudFormationStack(aws, terminal, name, sleep)
    found = stack.describe()
    if found is None:
        account = preflight.fetch_account(aws)
        raise DeployError(f"there is no stack {name} in {aws.region} of account {account}")
    return stack, found


def show_kept(terminal: DeployTerminal, stack: CloudFormationStack, parameters: Mapping[str, str]) -> None:
    """Print what belongs to the shop, according to the stack's own parameters."""
    if not parameters:
        return
    terminal.line("These stay, since they belong to the shop and not to the stack:", BOLD)
    terminal.line(f"  table {parameters['CommerceTable']}, with every order and every run")
    if parameters.get("LedgerTable"):
        terminal.line(f"  table {name_ledger(stack.name, parameters)}, with the ledger")
    terminal.line(f"  parameter {parameters['StripeSecretParameter']}")
    terminal.line(f"  bucket {stack.find_bucket() or 'of the packages'}, with the packages")
    terminal.line("The queues and the logs stay as well, with their content.")


def count_messages(aws: AwsServices, outputs: Mapping[str, str]) -> dict[str, int]:
    """Return the number of messages in each queue, hidden ones included, by the output with its URL."""
    names = [f"ApproximateNumberOfMessages{suffix}" for suffix in _COUNTS]
    counts = {}
    for output in QUEUES.keys() & outputs.keys():
        url = outputs[output]
        answer = aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=names)
        counts[output] = sum(int(answer.get("Attributes", {}).get(name, 0)) for name in names)
    return counts


def warn_of_messages(terminal: DeployTerminal, counts: Mapping[str, int]) -> None:
    for output, count in sorted(counts.items()):
        if count:
            terminal.line(f"{count} messages wait: {QUEUES[output]}. They will not be processed.", RED)


def show_leftovers(terminal: DeployTerminal, commands: Sequence[str]) -> None:
    if commands:
        terminal.line(
            "Before you deploy under this name again, check what stayed, delete it and wait a minute: SQS "
            "keeps a deleted queue's name for 60 seconds:"
        )
        for command in commands:
            terminal.line(command)
