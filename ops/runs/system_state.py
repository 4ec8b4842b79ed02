"""The state of the whole system in a word and a sentence, which `status` and the report begin with. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from ops.runs.finding import StatusFinding
from ops.runs.problems import describe_missing_night, find_problems, is_night_missing
from ops.runs.status import StatusFacts


class StateLevel(StrEnum):
    """How the system is, the worst last."""

    FINE = "fine"
    NEEDS_ACTION = "needs_action"
    NO_RUN = "no_run"


@dataclass(frozen=True)
class SystemState:
    """The state of the whole system. `actions` are the problems, the most urgent first."""

    level: StateLevel
    headline: str
    actions: tuple[StatusFinding, ...] = ()


def assess(facts: StatusFacts) -> SystemState:
    """Return the state of a stack.

    It is fine only if a scheduled run has ended on time and there is no problem.
    """
    actions = find_problems(facts)
    if is_night_missing(facts):
        what = describe_missing_night(facts)
        return SystemState(StateLevel.NO_RUN, f"{what[0].upper()}{what[1:]}.", actions)
    if actions:
        return SystemState(StateLevel.NEEDS_ACTION, "Action needed.", actions)
    return SystemState(StateLevel.FINE, "All is well.")
