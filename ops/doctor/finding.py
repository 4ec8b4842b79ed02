"""The finding of one check."""

from dataclasses import dataclass
from enum import StrEnum


class CheckVerdict(StrEnum):
    """How urgent a finding is.

    `ADVICE` means that it works and could be better. `UNKNOWN` means that it could not be checked.
    """

    OK = "ok"
    ADVICE = "advice"
    FIX = "fix"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CheckFinding:
    """What a check found. `name` is the checked thing, `command` fixes it, if a command can."""

    name: str
    verdict: CheckVerdict
    what: str
    command: str | None = None


def ok(name: str, what: str) -> CheckFinding:
    """Return a finding without a problem."""
    return CheckFinding(name, CheckVerdict.OK, what)


def advice(name: str, what: str, command: str | None = None) -> CheckFinding:
    """Return a finding that could be improved."""
    return CheckFinding(name, CheckVerdict.ADVICE, what, command)


def fix(name: str, what: str, command: str | None = None) -> CheckFinding:
    """Return a finding that must be fixed."""
    return CheckFinding(name, CheckVerdict.FIX, what, command)


def unknown(name: str, what: str) -> CheckFinding:
    """Return a finding for something that could not be checked."""
    return CheckFinding(name, CheckVerdict.UNKNOWN, what)
