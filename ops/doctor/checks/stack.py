"""The stack itself and the clock of this machine."""

from collections.abc import Iterator

from ops.doctor.facts import AwsReply, StackFacts
from ops.doctor.fetched import Fetched, Unavailable, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok, unknown
from ops.doctor.shell import Shell

# AWS rejects signatures that are five minutes off; half a minute already changes the order of log lines.
SKEW_SECONDS = 30
_FINE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
_NEVER_MADE = frozenset({"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"})


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    yield check_status(facts.stack, facts.shell)
    yield check_clock(facts.skew_seconds)


def check_status(stack: Fetched[AwsReply], shell: Shell) -> CheckFinding:
    """Check the status, https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html."""
    if isinstance(stack, Unavailable):
        return unreadable("stack", stack)
    status, about = stack["StackStatus"], f"--stack-name {shell.stack}"
    if status in _FINE:
        return ok("stack", status)
    if status in _NEVER_MADE:
        return fix(
            "stack",
            f"{status}: it was never created completely; delete it and deploy it again "
            "(the table and the key are not part of it)",
            shell.destroy(),
        )
    if status == "UPDATE_ROLLBACK_FAILED":
        return fix(
            "stack",
            f"{status}: it can be deployed again after the rollback",
            shell.aws(f"cloudformation continue-update-rollback {about}"),
        )
    if status.endswith("_IN_PROGRESS"):
        return advice("stack", f"{status}: the findings below may change soon", shell.sync("doctor"))
    return fix(
        "stack",
        f"{status}: the last deployment failed and was rolled back; this shows why",
        _events_command(shell, about),
    )


def _events_command(shell: Shell, about: str) -> str:
    columns = "[Timestamp, LogicalResourceId, ResourceStatusReason]"
    failed = f"StackEvents[?contains(ResourceStatus, 'FAILED')].{columns}"
    return shell.aws(f'cloudformation describe-stack-events {about} --output text --query "{failed}"')


def check_clock(skew: float | None) -> CheckFinding:
    if skew is None:
        return unknown("clock", "AWS did not send its time")
    if abs(skew) <= SKEW_SECONDS:
        return ok("clock", "this machine and AWS agree")
    direction = "ahead of" if skew > 0 else "behind"
    return advice(
        "clock",
        f"this machine is {abs(skew):.0f} s {direction} AWS, which makes all shown ages wrong; set its clock",
    )
