"""The dry run: what would become of the sessions, by the consumer's own code, with nothing written."""

from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from producer.scan import Slice, Window, slices
from recon.clock import iso
from recon.errors import MalformedMessage, OutOfTime, SyncError
from recon.ledger.orders import Orders, Users, orders_by_user
from recon.ledger.records import DONE, Run
from recon.ledger.table import Table
from recon.message import SessionMessage, dumps, loads, message_of
from recon.order import order_number
from recon.reconcile import Outcome, reason_to_skip, user_ids
from recon.retry import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon.config import Settings
    from recon.stripe_source import StripeSource


@dataclass(frozen=True)
class Preview:
    """Everything a dry run needs. `now` gives epoch seconds."""

    settings: "Settings"
    table: Table
    stripe: "Callable[[], StripeSource]"
    pool: Executor
    deadline: Deadline
    now: "Callable[[], int]"

    def __call__(self, wanted: Run, limit: int | None) -> tuple[Run, list[str]]:
        """The run as it would be, and the order numbers it would create. `limit`: None for no limit."""
        counts: Counter[Outcome] = Counter()
        numbers: list[str] = []
        truncated = False
        for found, cut in self._slices(wanted, limit):
            truncated = cut
            missing = self._missing(found, wanted.run_id, counts)
            prefix = self.settings.order_number_prefix
            numbers.extend(order_number(message.session_id, prefix) for message in missing)
        counts[Outcome.CREATED] = len(numbers)
        return self._preview(wanted, counts, truncated=truncated), numbers

    def _slices(self, wanted: Run, limit: int | None) -> "Iterator[tuple[Slice, bool]]":
        """Each slice, and whether what follows it is left out."""
        window = Window(wanted.lookback_start, wanted.lookback_end)
        seen = 0
        last = Slice([], None, more=False)
        try:
            for found in slices(self.stripe(), window, cursor=None, limit=limit):
                seen += len(found.sessions)
                last = found
                yield found, found.more and seen == limit
        except OutOfTime:
            yield replace(last, sessions=[]), True

    def _missing(self, found: Slice, run_id: str, counts: Counter[Outcome]) -> list[SessionMessage]:
        """The sessions of a slice whose orders are missing; all others are counted."""
        messages = []
        for session in found.sessions:
            try:
                messages.append(loads(dumps(message_of(session, run_id))))
            except MalformedMessage:
                counts[Outcome.ERROR] += 1
        orders = orders_by_user(self.table, messages, self.pool)
        missing = [message for message in messages if not self._is_skipped(message, orders)]
        counts[Outcome.SKIPPED] += len(messages) - len(missing)
        return missing

    def _is_skipped(self, message: SessionMessage, orders: dict[Users, Orders]) -> bool:
        found = orders.get(user_ids(message), [])
        if isinstance(found, SyncError):
            raise found
        ttl_days = self.settings.order_ttl_days
        return reason_to_skip(message, found, now=self.now(), ttl_days=ttl_days) is not None

    def _preview(self, wanted: Run, counts: Counter[Outcome], *, truncated: bool) -> Run:
        return replace(
            wanted,
            status=DONE,
            completed_at=iso(self.now()),
            processed=counts.total(),
            created=counts[Outcome.CREATED],
            skipped=counts[Outcome.SKIPPED],
            errors=counts[Outcome.ERROR],
            truncated=truncated,
            warnings=("truncated: not every session of the window was looked at",) if truncated else (),
        )
