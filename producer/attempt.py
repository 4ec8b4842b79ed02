"""One invocation's attempt at a run: the id for its log lines, and the record that its failure belongs to."""

from dataclasses import dataclass

from recon.dynamodb.records import Run
from recon.telemetry import NONE


@dataclass
class Attempt:
    """The run that an invocation works on.

    `run_id` is NONE until it is known. `run` is the record as this invocation wrote it last. It is None where
    a failure of this invocation is no failure of a run: before the record exists, in a preview, and once
    another invocation goes on with the run.
    """

    run_id: str = NONE
    run: Run | None = None

    def hold(self, run: Run) -> None:
        """Take over the record as it is now."""
        self.run_id, self.run = run.run_id, run

    def release(self) -> None:
        """Let go of the record, since another invocation goes on with the run."""
        self.run = None
