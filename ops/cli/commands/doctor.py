"""`nightly-sync doctor`: check the deployed stack."""

import time
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.usage import conflict
from ops.doctor.diagnosis import Diagnosis, diagnose
from ops.doctor.finding import CheckFinding
from ops.doctor.shell import Shell
from ops.runs.finding import Verdict

EXAMPLES = [
    "nightly-sync doctor",
    "nightly-sync doctor --verbose",
    "nightly-sync doctor --json | jq '.findings[] | select(.verdict != \"ok\")'",
]
_STYLES = {
    Verdict.OK: FINE,
    Verdict.ADVICE: NOTICE,
    Verdict.FIX: TROUBLE,
    Verdict.UNKNOWN: NOTICE,
}
# The most urgent first.
_ORDER = (Verdict.FIX, Verdict.UNKNOWN, Verdict.ADVICE, Verdict.OK)
RULES = (conflict("--verbose", "--json", because="JSON has all checks"),)


def doctor(
    context: CommandContext,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show also the checks that found nothing")
    ] = False,
) -> CommandResult:
    """Check key, table, queues, functions, schedule and alarms, and show the command that fixes each problem.

    The exit code is 1 if something must be fixed or could not be checked; advice alone is fine.
    """
    stack = context.stack
    endpoint = stack.client("cloudformation").meta.endpoint_url if stack.is_sandbox else None
    diagnosis = diagnose(stack, Shell(stack.name, context.options.selector, endpoint), time.time)
    return CommandResult(
        diagnosis, lambda screen: show(screen, diagnosis, verbose=verbose), diagnosis.needs_attention
    )


def show(screen: Screen, diagnosis: Diagnosis, *, verbose: bool = False) -> None:
    """Print the findings, the most urgent first, then how many checks had each verdict."""
    found = [one for one in diagnosis.findings if verbose or one.verdict is not Verdict.OK]
    for finding in sorted(found, key=lambda one: _ORDER.index(one.verdict)):
        _show(screen, finding)
    if found:
        screen.text("")
    counts = (f"{diagnosis.count(verdict)} {verdict.value}" for verdict in Verdict)
    screen.text(f"{diagnosis.stack}: {', '.join(counts)}", TROUBLE if diagnosis.needs_attention else FINE)


def _show(screen: Screen, finding: CheckFinding) -> None:
    screen.text(f"{finding.verdict.value}: {finding.name}: {finding.what}", _STYLES[finding.verdict])
    if finding.command:
        screen.command(finding.command)
