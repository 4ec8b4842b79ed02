"""All checks over all facts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ops.doctor.checks import alarms, functions, mapping, queues, schedule, stack, stripe, table
from ops.doctor.collect import facts_of, stack_of
from ops.doctor.facts import Facts
from ops.doctor.finding import Finding, Verdict
from ops.doctor.shell import Shell
from ops.errors import CommandError
from ops.stack.stack import Stack

# In the order in which a night depends on them.
CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    stack.findings,
    stripe.findings,
    table.findings,
    queues.findings,
    mapping.findings,
    functions.findings,
    schedule.findings,
    alarms.findings,
)
_NEEDS_ATTENTION = frozenset({Verdict.FIX, Verdict.UNKNOWN})


@dataclass(frozen=True)
class Diagnosis:
    stack: str
    findings: tuple[Finding, ...]

    @property
    def needs_attention(self) -> bool:
        """Unknown counts: `fine` means that everything was looked at and found right."""
        return any(finding.verdict in _NEEDS_ATTENTION for finding in self.findings)

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict is verdict for finding in self.findings)


def diagnose(place: Stack, shell: Shell, now: Callable[[], float]) -> Diagnosis:
    """Raises CannotRun where there is no stack. One that was never whole has no outputs to go by: that is all
    there is to say of it."""
    described = stack_of(place)
    try:
        facts = facts_of(place, shell, described, now)
    except CommandError:
        found = stack.of_stack(described, shell)
        if found.verdict is not Verdict.FIX:
            raise
        return Diagnosis(place.name, (found,))
    return Diagnosis(place.name, all_findings(facts))


def all_findings(facts: Facts) -> tuple[Finding, ...]:
    return tuple(finding for check in CHECKS for finding in check(facts))
