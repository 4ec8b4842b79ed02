"""All checks over all facts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ops.doctor.checks import (
    alarms,
    functions,
    ledger,
    mapping,
    queues,
    schedule,
    sessions,
    stack,
    stripe,
    table,
)
from ops.doctor.collect import collect_facts, describe_stack
from ops.doctor.facts import StackFacts
from ops.doctor.finding import CheckFinding
from ops.doctor.shell import Shell
from ops.errors import CommandError
from ops.runs.finding import Verdict
from ops.stack.stack import Stack

# In the order in which a nightly run depends on them.
CHECKS: tuple[Callable[[StackFacts], Iterator[CheckFinding]], ...] = (
    stack.check,
    stripe.check,
    sessions.check,
    table.check,
    ledger.check,
    queues.check,
    mapping.check,
    functions.check,
    schedule.check,
    alarms.check,
)
_NEEDS_ATTENTION = frozenset({Verdict.FIX, Verdict.UNKNOWN})


@dataclass(frozen=True)
class Diagnosis:
    """All findings of a stack."""

    stack: str
    findings: tuple[CheckFinding, ...]

    @property
    def needs_attention(self) -> bool:
        """Return whether something must be fixed or could not be checked."""
        return any(finding.verdict in _NEEDS_ATTENTION for finding in self.findings)

    def count(self, verdict: Verdict) -> int:
        """Return how many findings have this verdict."""
        return sum(finding.verdict is verdict for finding in self.findings)


def diagnose(target: Stack, shell: Shell, now: Callable[[], float]) -> Diagnosis:
    """Check a stack. Raises CommandError if it does not exist.

    If it was never created completely, it has no outputs, and its status is the only finding.
    """
    described = describe_stack(target)
    try:
        facts = collect_facts(target, shell, described, now)
    except CommandError:
        status = stack.check_status(described, shell)
        if status.verdict is not Verdict.FIX:
            raise
        return Diagnosis(target.name, (status,))
    return Diagnosis(target.name, run_checks(facts))


def run_checks(facts: StackFacts) -> tuple[CheckFinding, ...]:
    """Return the findings of all checks."""
    return tuple(finding for check in CHECKS for finding in check(facts))
