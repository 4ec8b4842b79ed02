"""The check of dead messages: the order of each session, and what the consumer would do with it now."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING

from ops.dlq.dead_letters import DeadLetter, DeadLetterListing
from ops.runs.prediction import predict, predict_failure
from recon.config import Settings
from recon.domain.order_keys import OrderSortKey
from recon.domain.table_decision import other_user_ids, user_ids
from recon.dynamodb.table import Table
from recon.dynamodb.user_orders import find_orders
from recon.errors import MalformedMessage, SyncError

if TYPE_CHECKING:
    from recon.stripe.source import StripeSource


def check_letters(
    listing: DeadLetterListing,
    table: Table,
    stripe: "Callable[[], StripeSource]",
    settings: Settings,
    pool: Executor,
    now: int,
) -> Iterator[DeadLetter]:
    """Predict the outcome of each letter in parallel and yield them in the listing's order.

    A settled letter is not predicted: the consumer would drop it. Nothing is written or moved. `now` is in
    epoch seconds.
    """

    def check(letter: DeadLetter) -> DeadLetter:
        if letter.is_settled:
            return letter
        message = listing.messages.get(letter.message_id)
        if message is None:
            problem = MalformedMessage(letter.problem or "")
            return replace(letter, prospect=predict_failure(problem))
        return replace(letter, prospect=predict(message, table, stripe, settings, now))

    return pool.map(check, listing.letters)


def find_orders_by_now(listing: DeadLetterListing, table: Table, pool: Executor) -> Iterator[DeadLetter]:
    """Look up in parallel whether the sessions have their order by now; yield the letters in order."""

    def find(letter: DeadLetter) -> DeadLetter:
        message = listing.messages.get(letter.message_id)
        if message is None:
            return letter
        try:
            ids = (*user_ids(message), *other_user_ids(message))
            any_key = OrderSortKey.ANY  # whatever the setting, without reading it
            orders = find_orders(table, ids, message.created, sessions=(message,), sort_key=any_key)
        except SyncError:
            return letter
        number = next((order.order_number for order in orders if order.order_number), None)
        return replace(letter, has_order=bool(orders), order_number=number)

    return pool.map(find, listing.letters)
