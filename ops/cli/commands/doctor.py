"""`nightly-sync doctor`: check the deployed stack."""

import time

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.doctor.diagnosis import Diagnosis, diagnose
from ops.doctor.finding import CheckFinding
from ops.doctor.shell import Shell
from ops.runs.finding import Verdict

EXAMPLES = [
    "nightly-sync doctor",
    "nightly-sync doctor --json | jq '.findings[] | select(.verdict != \"ok\")'",
]
_STYLES = {
    Verdict.OK: FINE,
    Verdict.ADVICE: NOTICE,
    Verdict.FIX: TROUBLE,
    Verdict.UNKNOWN: NOTICE,
}
_VERDICT_WIDTH, _NAME_WIDTH = 7, 24


def doctor(context: CommandContext) -> CommandResult:
    """Check key, table, queues, functions, schedule and alarms, and show the command that fixes each problem.

    Exit code 1 if something must be fixed or could not be checked; advice alone is fine."""
    stack = context.stack
    endpoint = stack.client("cloudformation").meta.endpoint_url if stack.is_sandbox else None
    diagnosis = diagnose(stack, Shell(stack.name, context.options.selector, endpoint), time.time)
    return CommandResult(diagnosis, lambda screen: show(screen, diagnosis), diagnosis.needs_attention)


def show(screen: Screen, diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings:
        _show(screen, finding)
    counts = (f"{diagnosis.count(verdict)} {verdict.value}" for verdict in Verdict)
    screen.text("")
    screen.text(f"{diagnosis.stack}: {', '.join(counts)}", TROUBLE if diagnosis.needs_attention else FINE)


def _show(screen: Screen, finding: CheckFinding) -> None:
    label = f"{finding.verdict.value:{_VERDICT_WIDTH}}  {finding.name:{_NAME_WIDTH}}  "
    screen.line(label + finding.what, _STYLES[finding.verdict])
    if finding.command:
        screen.line(" " * (_VERDICT_WIDTH + 2) + finding.command)
