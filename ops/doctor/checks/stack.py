"""The stack itself, and the clock of this machine."""

from collections.abc import Iterator

from ops.doctor.facts import Facts, Reply
from ops.doctor.finding import Finding, advice, fix, ok, unknown
from ops.doctor.shell import Shell
from ops.doctor.unread import Fetched, Unavailable, unseen

# AWS refuses signatures that are five minutes off; half a minute already puts log lines into another order.
SKEW_SECONDS = 30
_FINE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
_NEVER_MADE = frozenset({"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"})


def findings(facts: Facts) -> Iterator[Finding]:
    yield of_stack(facts.stack, facts.shell)
    yield of_clock(facts.skew_seconds)


def of_stack(stack: Fetched[Reply], shell: Shell) -> Finding:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html"""
    if isinstance(stack, Unavailable):
        return unseen("stack", stack)
    status, about = stack["StackStatus"], f"--stack-name {shell.stack}"
    if status in _FINE:
        return ok("stack", status)
    if status in _NEVER_MADE:
        return fix(
            "stack",
            f"{status}: it was never whole; delete it and deploy again (table and key are not part of it)",
            shell.destroy(),
        )
    if status == "UPDATE_ROLLBACK_FAILED":
        return fix(
            "stack",
            f"{status}: it can be deployed again once the rollback has ended",
            shell.aws(f"cloudformation continue-update-rollback {about}"),
        )
    if status.endswith("_IN_PROGRESS"):
        return advice("stack", f"{status}: what follows may change in a moment", shell.sync("doctor"))
    return fix("stack", f"{status}: the last deploy failed and was taken back; see why", _why(shell, about))


def _why(shell: Shell, about: str) -> str:
    told = "[Timestamp, LogicalResourceId, ResourceStatusReason]"
    failed = f"StackEvents[?contains(ResourceStatus, 'FAILED')].{told}"
    return shell.aws(f'cloudformation describe-stack-events {about} --output text --query "{failed}"')


def of_clock(skew: float | None) -> Finding:
    if skew is None:
        return unknown("clock", "AWS did not say what time it is")
    if abs(skew) <= SKEW_SECONDS:
        return ok("clock", "this machine and AWS agree")
    direction = "ahead of" if skew > 0 else "behind"
    return advice(
        "clock",
        f"this machine is {abs(skew):.0f} s {direction} AWS: ages shown here are off by that; set its clock",
    )
