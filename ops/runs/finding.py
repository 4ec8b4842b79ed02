"""What `status`, `doctor` and the report find, each with the command to start with."""

from dataclasses import dataclass
from enum import StrEnum

from ops.format.money import Money, format_worth


class Verdict(StrEnum):
    """How urgent a finding is.

    `ADVICE` means that it works and could be better. `UNKNOWN` means that it could not be checked.
    """

    OK = "ok"
    ADVICE = "advice"
    FIX = "fix"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class StatusFinding:
    """A finding and the command to start with.

    `code` is stable: a word of attention, the word of a warning, one of `ops.runs.problems`, or that of a
    check of the doctor. `what` is the reason as a clause. `sessions` counts what it is about. `money`
    is what they are worth, one total per currency; `unknown_amounts` counts the sessions that are not in it.
    `url` is the session at Stripe or the section of the runbook, if there is one. `verdict` is `fix` for all
    that `status` and the report find; the doctor also lists what is fine.
    """

    code: str
    what: str
    command: str | None
    sessions: int = 0
    money: tuple[Money, ...] = ()
    unknown_amounts: int = 0
    url: str | None = None
    verdict: Verdict = Verdict.FIX

    @property
    def line(self) -> str:
        """Return the reason with the money, for the screens of the command."""
        worth = format_worth(self.money, self.unknown_amounts if self.money else 0)
        return f"{self.what}, {worth}" if worth else self.what
