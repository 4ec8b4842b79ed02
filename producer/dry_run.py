"""The dry run: what would become of the sessions, by the consumer's own code, with nothing written."""

from collections import Counter
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from producer.session_lister import AHEAD, AIM, ListedRange, SessionLister, TimeRange
from producer.webhook_events import NO_EVENTS, UNREADABLE, WebhookEvents
from recon.domain.message import SessionMessage, build_message, dumps, loads
from recon.domain.order import order_number
from recon.domain.reconcile import Outcome, decide_from_table, user_ids
from recon.domain.run import RunStatus, Trigger
from recon.dynamodb.orders import Orders, Users, find_orders_by_user
from recon.dynamodb.records import Run
from recon.dynamodb.table import Table
from recon.errors import MalformedMessage, OutOfTime, SyncError
from recon.retry import Deadline
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from recon.config import Settings
    from recon.domain.stripe_objects import Json
    from recon.stripe.source import Page, StripeSource


TRUNCATED = "truncated: not every session of the window was looked at"


@dataclass
class SessionBudget:
    """How many sessions more a preview looks at; None: any number."""

    left: int | None
    truncated: bool = False
    unreadable: int = 0

    def readable(self, page: "Page") -> "Page":
        self.unreadable += page.unreadable
        return page

    def take(self, sessions: "list[Json]") -> "list[Json]":
        if self.left is None:
            return sessions
        taken = sessions[: self.left]
        self.left -= len(taken)
        self.truncated = len(taken) < len(sessions)
        return taken

    def wanted(self) -> int:
        # One more than the limit tells whether there were more.
        return AIM * AHEAD if self.left is None else self.left + 1


@dataclass(frozen=True)
class DryRun:
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
        events = self._webhooks(wanted)
        room = SessionBudget(limit)
        try:
            with closing(self._slices(wanted, room)) as slices:
                for listed in slices:
                    sessions = room.take(list(reversed(listed.found)))
                    missing = self._missing(sessions, events, wanted.run_id, counts)
                    prefix = self.settings.order_number_prefix
                    numbers.extend(order_number(message.session_id, prefix) for message in missing)
                    if room.truncated:
                        break
        except OutOfTime:
            room.truncated = True
        counts[Outcome.CREATED] = len(numbers)
        if not events.may_read:
            wanted = replace(wanted, warnings=(*wanted.warnings, NO_EVENTS))
        if room.unreadable:
            wanted = replace(wanted, warnings=(*wanted.warnings, UNREADABLE))
        return self._preview(wanted, counts, truncated=room.truncated), numbers

    def _webhooks(self, wanted: Run) -> WebhookEvents:
        """What the real run would leave to the next one. The fence concerns writing only."""
        leaves_after = wanted.lookback_end if wanted.trigger == Trigger.SCHEDULED else None
        events = WebhookEvents(self.stripe, self.now, self.pool, leaves_after=leaves_after, fence_since=None)
        events.look()
        return events

    def _slices(self, wanted: Run, room: "SessionBudget") -> "Generator[ListedRange[Json]]":
        stripe = self.stripe()
        listing: SessionLister[Json] = SessionLister(
            lambda start, end, after: room.readable(stripe.list_sessions(start, end, after=after)),
            lambda session: session,
            self.pool,
            wanted=room.wanted,
        )
        return listing(TimeRange(wanted.lookback_start, wanted.lookback_end))

    def _missing(
        self, sessions: "list[Json]", events: WebhookEvents, run_id: str, counts: Counter[Outcome]
    ) -> list[SessionMessage]:
        """The sessions whose orders are missing; all others but those left to the next run are counted."""
        messages = []
        for session in sessions:
            try:
                if sent := events.left(build_message(session, run_id)):
                    messages.append(loads(dumps(sent)))
            except MalformedMessage:
                counts[Outcome.ERROR] += 1
        orders = find_orders_by_user(self.table, messages, self.pool, self.deadline)
        missing = [message for message in messages if not self._is_skipped(message, orders)]
        counts[Outcome.SKIPPED] += len(messages) - len(missing)
        return missing

    def _is_skipped(self, message: SessionMessage, orders: dict[Users, Orders]) -> bool:
        found = orders.get(user_ids(message), [])
        decision = decide_from_table(message, found, now=self.now(), ttl_days=self.settings.order_ttl_days)
        if isinstance(decision, SyncError):
            raise decision
        return decision is not None

    def _preview(self, wanted: Run, counts: Counter[Outcome], *, truncated: bool) -> Run:
        return replace(
            wanted,
            status=RunStatus.DONE,
            completed_at=to_iso(self.now()),
            processed=counts.total(),
            created=counts[Outcome.CREATED],
            skipped=counts[Outcome.SKIPPED],
            errors=counts[Outcome.ERROR],
            truncated=truncated,
            warnings=wanted.warnings + ((TRUNCATED,) if truncated else ()),
        )
