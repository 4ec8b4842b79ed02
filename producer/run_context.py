"""The dependencies that the parts of a run share within one invocation."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producer.attempt import Attempt
from recon.aws.queue import SessionQueue
from recon.dynamodb.runs import Runs
from recon.retry import Deadline
from recon.telemetry import Metric, Telemetry

if TYPE_CHECKING:
    from producer.listing_pace import ListingPace
    from recon.config import Settings
    from recon.stripe.source import StripeSource


@dataclass(frozen=True)
class RunContext:
    """The settings, clients and clock of one invocation.

    `now` returns epoch seconds. `attempt` is kept up to date with the run's record. `pace` is that of the
    invocation's requests to Stripe.
    """

    settings: "Settings"
    runs: Runs
    stripe: "Callable[[], StripeSource]"
    queue: SessionQueue
    pool: Executor
    deadline: Deadline
    now: Callable[[], int]
    telemetry: Telemetry
    attempt: Attempt = field(default_factory=Attempt)
    pace: "ListingPace | None" = None

    def warn(self, run_id: str, warning: str) -> bool:
        """Record, log and count the warning once per run. Return True if this call recorded it."""
        first = self.runs.warn(run_id, warning)
        if first:
            self.telemetry.warning(warning, run_id=run_id)
            self.telemetry.count(Metric.RUN_WARNINGS)
        return first
