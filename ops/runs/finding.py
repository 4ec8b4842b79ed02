"""A problem that `status` and the report name, with the command to start with."""

from dataclasses import dataclass

from ops.format.money import Money, format_worth


@dataclass(frozen=True)
class StatusFinding:
    """A problem and the command to start with.

    `code` is stable: a word of attention, the word of a warning, or one of `ops.runs.problems`. `what` is the
    reason as a clause. `sessions` is how many sessions it is about, if it is about any. `money` is what they
    are worth, one total per currency; `unknown_amounts` counts the sessions that are not in it. `url` is the
    session at Stripe or the section of the runbook, if there is one.
    """

    code: str
    what: str
    command: str
    sessions: int = 0
    money: tuple[Money, ...] = ()
    unknown_amounts: int = 0
    url: str | None = None

    @property
    def line(self) -> str:
        """Return the reason with the money, for the screens of the command."""
        worth = format_worth(self.money, self.unknown_amounts if self.money else 0)
        return f"{self.what}, {worth}" if worth else self.what
