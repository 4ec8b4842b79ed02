"""The words for what started a run and how far it is."""

from enum import StrEnum


class RunStatus(StrEnum):
    """The status of a run as its record stores it. Whether `done` is a success follows from the errors."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    # Nothing was sent: the run could not tell whether key, table and filter belong together.
    HELD = "held"


class Trigger(StrEnum):
    """What started a run: the schedule, or an operator."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
