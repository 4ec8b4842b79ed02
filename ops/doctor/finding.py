"""What one check found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`advice`: it works, and would be better otherwise. `unknown`: it could not be looked at."""

    OK = "ok"
    ADVICE = "advice"
    FIX = "fix"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """`name` is what was looked at, `command` what mends it, where a command can."""

    name: str
    verdict: Verdict
    what: str
    command: str | None = None


def ok(name: str, what: str) -> Finding:
    return Finding(name, Verdict.OK, what)


def advice(name: str, what: str, command: str | None = None) -> Finding:
    return Finding(name, Verdict.ADVICE, what, command)


def fix(name: str, what: str, command: str | None = None) -> Finding:
    return Finding(name, Verdict.FIX, what, command)


def unknown(name: str, what: str) -> Finding:
    return Finding(name, Verdict.UNKNOWN, what)
