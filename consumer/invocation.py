"""The dependencies that the parts of a batch share within one invocation."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon.config import Settings
from recon.dynamodb.table import Table
from recon.retry import Deadline
from recon.telemetry import Telemetry

if TYPE_CHECKING:
    from recon.stripe.pace import ConsumerPace
    from recon.stripe.source import StripeSource


@dataclass(frozen=True)
class InvocationContext:
    """The settings, clients and clocks of one invocation.

    `now` returns epoch seconds. `stripe` is called at the first fetch, since it imports the library. `pace`
    learns with each batch until when a run lists sessions.
    """

    settings: Settings
    table: Table
    stripe: "Callable[[], StripeSource]"
    pool: Executor
    deadline: Deadline
    now: Callable[[], int]
    telemetry: Telemetry
    pace: "ConsumerPace | None" = None
