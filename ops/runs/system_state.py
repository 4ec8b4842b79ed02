"""The state of the whole system in a word and a sentence, which `status` and the report begin with. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ops.runs.finding import StatusFinding
from ops.runs.problems import describe_missing_night, find_problems, is_night_missing
from ops.runs.status import StatusFacts, parse_time


class StateLevel(StrEnum):
    """How the system is, the worst last."""

    FINE = "fine"
    NEEDS_ACTION = "needs_action"
    NO_RUN = "no_run"


@dataclass(frozen=True)
class SystemState:
    """The state of the whole system. `actions` are the problems, the most urgent first.

    `last_night` is when the latest scheduled run ended, `next_night` when the next one is due. Either is None
    if there is none.
    """

    level: StateLevel
    headline: str
    actions: tuple[StatusFinding, ...] = ()
    last_night: datetime | None = None
    next_night: datetime | None = None


def assess(facts: StatusFacts) -> SystemState:
    """Return the state of a stack.

    It is fine only if a scheduled run has ended on time and there is no problem.
    """
    actions = find_problems(facts)
    if is_night_missing(facts):
        what = describe_missing_night(facts)
        level, headline = StateLevel.NO_RUN, f"{what[0].upper()}{what[1:]}."
    elif actions:
        level, headline = StateLevel.NEEDS_ACTION, "Action needed."
    else:
        level, headline = StateLevel.FINE, "All is well."
    last = parse_time(facts.ended_night.completed_at) if facts.ended_night else None
    return SystemState(level, headline, actions, last, facts.schedule.next_due)
