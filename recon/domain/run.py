"""The words for what started a run and how far it is, and how far its listing is."""

from dataclasses import dataclass
from enum import StrEnum


class RunStatus(StrEnum):
    """The status of a run as its record stores it. Whether `done` is a success follows from the errors."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    # Nothing was sent: the run could not tell whether key, table and filter belong together.
    HELD = "held"


class Trigger(StrEnum):
    """The cause of a run: the schedule, or an operator."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"


@dataclass(frozen=True)
class Part:
    """The part of a window that is still to be listed, newest first, with both ends inclusive.

    Listing continues after the session id `after`, or at the end with None. `reached` is when that session
    was created, as far as its time is valid. Times are in epoch seconds.
    """

    start: int
    end: int
    after: str | None = None
    reached: int | None = None


@dataclass(frozen=True)
class Listing:
    """How far a window is listed in parts: the open ones, oldest first, of `made` in all.

    Every session outside the open parts is sent.
    """

    parts: tuple[Part, ...]
    made: int = 1
