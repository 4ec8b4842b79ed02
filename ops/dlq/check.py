"""What the consumer would do with each dead message now."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.dlq.dead_letters import DeadLetter, DeadLetterListing
from ops.runs.prediction import PredictedOutcome, predict, predict_failure
from recon.config import Settings
from recon.dynamodb.table import Table
from recon.errors import MalformedMessage

if TYPE_CHECKING:
    from recon.stripe.source import StripeSource


@dataclass(frozen=True)
class CheckedLetter:
    """A dead letter and its predicted outcome.

    `prospect` is None if the letter was not checked, or if its session is settled: the consumer would drop
    the message without looking at it.
    """

    letter: DeadLetter
    prospect: PredictedOutcome | None


def check_letters(
    listing: DeadLetterListing,
    table: Table,
    stripe: "Callable[[], StripeSource]",
    settings: Settings,
    pool: Executor,
    now: int,
) -> Iterator[CheckedLetter]:
    """Predict the outcome of each letter in parallel and yield them in the listing's order.

    Nothing is written or moved. `now` is in epoch seconds.
    """

    def check(letter: DeadLetter) -> CheckedLetter:
        if letter.is_settled:
            return CheckedLetter(letter, None)
        message = listing.messages.get(letter.message_id)
        if message is None:
            return CheckedLetter(letter, predict_failure(MalformedMessage(letter.problem or "")))
        return CheckedLetter(letter, predict(message, table, stripe, settings, now))

    return pool.map(check, listing.letters)
