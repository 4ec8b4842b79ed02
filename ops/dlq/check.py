"""What the consumer would do with each dead message now."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.dlq.dead_letters import DeadLetter, Listing
from ops.runs.prediction import PredictedOutcome, predict, predict_failure
from recon.config import Settings
from recon.dynamodb.table import Table
from recon.errors import MalformedMessage

if TYPE_CHECKING:
    from recon.stripe.source import StripeSource


@dataclass(frozen=True)
class Checked:
    """`prospect` is None where the session is settled: the consumer would drop the message unlooked."""

    letter: DeadLetter
    prospect: PredictedOutcome | None


def check(
    listing: Listing,
    table: Table,
    stripe: "Callable[[], StripeSource]",
    settings: Settings,
    pool: Executor,
    now: int,
) -> Iterator[Checked]:
    """In the listing's order, as the answers come; several at once in `pool`. Nothing is written or moved."""

    def one(letter: DeadLetter) -> Checked:
        if letter.is_settled:
            return Checked(letter, None)
        message = listing.messages.get(letter.message_id)
        if message is None:
            return Checked(letter, predict_failure(MalformedMessage(letter.problem or "")))
        return Checked(letter, predict(message, table, stripe, settings, now))

    return pool.map(one, listing.letters)
