"""The finding of one check."""

import re
from dataclasses import dataclass

from ops.runs.finding import StatusFinding, Verdict

_NOT_IN_CODE = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class CheckFinding(StatusFinding):
    """The finding of a check. `name` is the checked thing, and `code` the same as one word."""

    name: str = ""


def ok(name: str, what: str) -> CheckFinding:
    """Return a finding without a problem."""
    return _build(name, Verdict.OK, what)


def advice(name: str, what: str, command: str | None = None) -> CheckFinding:
    """Return a finding that could be improved."""
    return _build(name, Verdict.ADVICE, what, command)


def fix(name: str, what: str, command: str | None = None) -> CheckFinding:
    """Return a finding that must be fixed."""
    return _build(name, Verdict.FIX, what, command)


def unknown(name: str, what: str) -> CheckFinding:
    """Return a finding for something that could not be checked."""
    return _build(name, Verdict.UNKNOWN, what)


def _build(name: str, verdict: Verdict, what: str, command: str | None = None) -> CheckFinding:
    """Return the finding of a check; the code of `queue: redrive` is `queue_redrive`."""
    code = _NOT_IN_CODE.sub("_", name.lower())
    return CheckFinding(code, what, command, verdict=verdict, name=name)
