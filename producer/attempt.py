"""The run that one invocation works on: the id for its log lines and the record for its failure."""

from dataclasses import dataclass

from recon.dynamodb.records import Run
from recon.telemetry import NONE


@dataclass
class Attempt:
    """The run that an invocation works on.

    `run_id` is NONE until it is known. `run` is the record as this invocation wrote it last. It is None while
    a failure of the invocation is not a failure of the run: before the record exists, in a dry run, and after
    another invocation has taken over the run.
    """

    run_id: str = NONE
    run: Run | None = None

    def track(self, run: Run) -> None:
        """Remember the record in its latest state."""
        self.run_id, self.run = run.run_id, run

    def release(self) -> None:
        """Forget the record, since another invocation continues the run."""
        self.run = None
