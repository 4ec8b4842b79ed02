"""A problem that `status` and the report name, with the command to start with."""

from dataclasses import dataclass

from ops.format.money import Money


@dataclass(frozen=True)
class StatusFinding:
    """A problem and the command to start with.

    `code` is stable: a word of attention, the word of a warning, or one of `ops.runs.problems`. `what` is the
    reason as a clause. `money` is what is at stake, one total per currency, empty if it is not known. `url`
    is the session at Stripe or the section of the runbook, if there is one.
    """

    code: str
    what: str
    command: str
    money: tuple[Money, ...] = ()
    url: str | None = None
