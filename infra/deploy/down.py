"""`make destroy`: the stack goes, the shop's own things stay."""

from collections.abc import Mapping, Sequence

from infra.deploy import preflight
from infra.deploy.aws import Aws
from infra.deploy.errors import CannotDeploy
from infra.deploy.screen import BOLD, RED, Screen
from infra.deploy.settings import Settings
from infra.deploy.stack import Described, Sleep, Stack, outputs_of

# Output -> what its messages are.
QUEUES = {
    "QueueUrl": "sessions that nobody has looked at",
    "DeadLetterQueueUrl": "sessions that were given up",
    "ScheduleDeadLetterQueueUrl": "nights that never started or failed",
}
_COUNTS = ("", "NotVisible", "Delayed")


def destroy(aws: Aws, screen: Screen, settings: Settings, sleep: Sleep) -> None:
    """Raises CannotDeploy where it is not there, not wanted, or could not be deleted whole."""
    stack, found = existing(aws, screen, settings, sleep)
    show_what_stays(screen, settings)
    warn_of_messages(screen, waiting(aws, outputs_of(found)))
    # Typed, since a yes comes too easily. With --yes the name stands in the call.
    if screen.is_answered and screen.ask(f"Type {settings.stack} to delete it") != settings.stack:
        raise CannotDeploy("nothing was deleted")
    stack.delete()
    screen.line(f"{settings.stack} is deleted.", BOLD)
    show_leftovers(screen, preflight.leftovers(aws, settings.stack))


def show_destruction(aws: Aws, screen: Screen, settings: Settings, sleep: Sleep) -> None:
    """Show what `destroy` would delete, what would stay and which messages wait, and delete nothing. Raise
    CannotDeploy if there is no such stack."""
    stack, found = existing(aws, screen, settings, sleep)
    resources = stack.resources()
    # An empty stack, which nobody has deployed yet, has no template either.
    kept = stack.retained() if resources else set()
    screen.line("Would be deleted", BOLD)
    screen.table([(pair, "") for pair in sorted(resources.items()) if pair[0] not in kept])
    screen.line("Would stay, with what is in it", BOLD)
    screen.table([(pair, "") for pair in sorted(resources.items()) if pair[0] in kept])
    show_what_stays(screen, settings)
    warn_of_messages(screen, waiting(aws, outputs_of(found)))
    screen.line("Dry run: nothing was deleted.", BOLD)


def existing(aws: Aws, screen: Screen, settings: Settings, sleep: Sleep) -> tuple[Stack, Described]:
    """Return the stack, and as what AWS describes it. Raise CannotDeploy if it is not where the file says."""
    preflight.check_place(settings, preflight.account_of(aws), aws.region)
    stack = Stack(aws, screen, settings.stack, sleep)
    found = stack.described()
    if found is None:
        raise CannotDeploy(f"there is no stack {settings.stack} in {aws.region}")
    return stack, found


def show_what_stays(screen: Screen, settings: Settings) -> None:
    screen.line("This stays, since it is the shop's and not the stack's:", BOLD)
    screen.line(f"  table {settings.parameters['CommerceTable']}, with every order and every run")
    screen.line(f"  parameter {settings.parameters['StripeSecretParameter']}")
    screen.line(f"  bucket {settings.bucket}, with the packages")
    screen.line("The queues and the logs stay as well, with what is in them.")


def waiting(aws: Aws, outputs: Mapping[str, str]) -> dict[str, int]:
    """How many messages each queue holds, by its URL's output; those of it that are hidden are among them."""
    names = [f"ApproximateNumberOfMessages{suffix}" for suffix in _COUNTS]
    found = {}
    for output in QUEUES.keys() & outputs.keys():
        url = outputs[output]
        answer = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", *names)
        found[output] = sum(int(answer["Attributes"].get(name, 0)) for name in names)
    return found


def warn_of_messages(screen: Screen, counts: Mapping[str, int]) -> None:
    for output, count in sorted(counts.items()):
        if count:
            screen.line(f"{count} messages wait: {QUEUES[output]}. Nobody will work on them.", RED)


def show_leftovers(screen: Screen, commands: Sequence[str]) -> None:
    if commands:
        screen.line("Before you deploy under this name again, look into them and delete what stayed:")
        for command in commands:
            screen.line(command)
