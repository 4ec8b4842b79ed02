"""The dry run: it predicts a run's outcomes with the consumer's own rules and writes nothing."""

from collections import Counter
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from producer.run_lister import MATCHES_NOTHING
from producer.session_lister import SessionLister, list_oldest
from producer.webhook_events import NO_EVENTS, UNREADABLE, WebhookEvents
from recon.domain.message import SessionMessage, build_message, dumps, loads
from recon.domain.order import order_number
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.run import Listing, Part, RunStatus, Trigger
from recon.domain.shape_decision import decide_from_orders
from recon.domain.stripe_objects import UNPAID
from recon.dynamodb.dismissals import find_dismissed_ids
from recon.dynamodb.guards import find_guards
from recon.dynamodb.order_lookup import make_lookup
from recon.dynamodb.records import Run
from recon.dynamodb.table import Table
from recon.dynamodb.user_orders import Orders
from recon.errors import MalformedMessage, OutOfTime, SyncError, UnknownState
from recon.retry import Deadline
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from recon.config import Settings
    from recon.stripe.pages import Page
    from recon.stripe.source import StripeSource


# The reason to skip a session, an error, or None if Stripe decides.
type Decision = SkipReason | SyncError | None

TRUNCATED = "truncated: not every session of the window was checked"


@dataclass
class SessionBudget:
    """How many more sessions a dry run checks (None: no limit), and what it had to leave out.

    `filtered` were left out by the filter, `passed` were not.
    """

    remaining: int | None
    truncated: bool = False
    unreadable: int = 0
    filtered: int = 0
    passed: int = 0

    def take(self, messages: list[SessionMessage]) -> list[SessionMessage]:
        """Return the messages within the budget. Set `truncated` if there were more."""
        if self.remaining is None:
            return messages
        taken = messages[: self.remaining]
        self.remaining -= len(taken)
        self.truncated = len(taken) < len(messages)
        return taken


@dataclass
class Counted:
    """The outcomes of the sessions so far, and how many of them were skipped because their order exists."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    found: int = 0


class Prediction(NamedTuple):
    """The run as it would end, the order numbers that it would create, and how many orders it found."""

    run: Run
    numbers: list[str]
    found: int


@dataclass(frozen=True)
class DryRun:
    """The dependencies of a dry run. `now` returns epoch seconds."""

    settings: "Settings"
    table: Table
    stripe: "Callable[[], StripeSource]"
    pool: Executor
    deadline: Deadline
    now: "Callable[[], int]"

    def predict(self, planned: Run, limit: int | None) -> Prediction:
        """Return what the run would do.

        `limit` is the most sessions to check, or None. Raise the error of a failed lookup of orders.
        """
        counted = Counted()
        numbers: list[str] = []
        events = self._read_events(planned)
        dismissed = find_dismissed_ids(self.table, self.deadline)
        budget = SessionBudget(limit)
        prefix = self.settings.order_number_prefix
        try:
            with closing(self._list_messages(planned, budget)) as batches:
                for listed in batches:
                    missing = self._find_missing(budget.take(listed), events, counted, dismissed)
                    numbers.extend(order_number(message.session_id, prefix) for message in missing)
                    if budget.truncated:
                        break
        except OutOfTime:
            budget.truncated = True
        counts = counted.outcomes
        counts[Outcome.CREATED] = len(numbers)
        reasons = {
            NO_EVENTS: not events.may_read,
            UNREADABLE: budget.unreadable,
            TRUNCATED: budget.truncated,
            MATCHES_NOTHING: budget.filtered and not budget.passed,
        }
        predicted = replace(
            planned,
            status=RunStatus.DONE,
            completed_at=to_iso(self.now()),
            processed=counts.total(),
            created=counts[Outcome.CREATED],
            skipped=counts[Outcome.SKIPPED],
            errors=counts[Outcome.ERROR],
            missing=counts[Outcome.MISSING],
            truncated=budget.truncated,
            filtered=budget.filtered,
            warnings=(*planned.warnings, *(warning for warning, applies in reasons.items() if applies)),
        )
        return Prediction(predicted, numbers, counted.found)

    def _read_events(self, planned: Run) -> WebhookEvents:
        """Return the events for what the run would leave to the next one. Only writing needs the fence."""
        defer_after = planned.lookback_end if planned.trigger == Trigger.SCHEDULED else None
        events = WebhookEvents(self.stripe, self.now, self.pool, defer_after=defer_after, fence=None)
        events.refresh()
        return events

    def _list_messages(self, planned: Run, budget: SessionBudget) -> "Generator[list[SessionMessage]]":
        """Yield the sessions of the window, or the oldest and one more than the budget, oldest first."""
        window = Part(planned.lookback_start, planned.lookback_end)

        def read(page: "Page") -> list[SessionMessage]:
            budget.unreadable += page.unreadable
            own = [one for one in page.sessions if self.settings.session_filter.passes(one)]
            budget.filtered += len(page.sessions) - len(own)
            budget.passed += len(own)
            return [
                build_message(one, planned.run_id, self.settings.user_ids, self.settings.shape) for one in own
            ]

        if budget.remaining is not None:
            with closing(list_oldest(self._list_page, self.pool, window, budget.remaining, read)) as parts:
                yield from (messages for _, messages in parts)
            return
        lister = SessionLister(self._list_page, self.pool, Listing((window,)), lambda: float("inf"))
        with closing(lister.list_pages()) as batches:
            for pages in batches:
                yield [message for page in pages for message in read(page)][::-1]

    def _list_page(self, start: int, end: int, after: str | None) -> "Page":
        return self.stripe().list_sessions(start, end, after=after)

    def _find_missing(
        self,
        listed: list[SessionMessage],
        events: WebhookEvents,
        counted: Counted,
        dismissed: set[str],
    ) -> list[SessionMessage]:
        """Return the sessions whose orders are missing. Count the skipped and the malformed ones."""
        messages = []
        for unchecked in listed:
            try:
                if message := events.filter_message(unchecked):
                    messages.append(loads(dumps(message)))
            except MalformedMessage:
                counted.outcomes[Outcome.ERROR] += 1
        settings = self.settings
        lookup = make_lookup(self.table, self.pool, settings.shape, settings.order_sort_key)
        orders = lookup.find(messages, self.deadline)
        guarded = find_guards(self.table, {message.session_id for message in messages}, self.deadline)
        decisions = [
            SkipReason.DISMISSED
            if message.session_id in dismissed
            else self._decide(message, orders[message], guarded)
            for message in messages
        ]
        counted.found += decisions.count(SkipReason.EXISTS)
        outcomes = [
            self._predict_outcome(message, orders[message], decision)
            for message, decision in zip(messages, decisions, strict=True)
        ]
        counted.outcomes.update(outcome for outcome in outcomes if outcome is not Outcome.CREATED)
        pairs = zip(messages, outcomes, strict=True)
        return [message for message, outcome in pairs if outcome is Outcome.CREATED]

    def _decide(self, message: SessionMessage, found: Orders, guarded: frozenset[str]) -> Decision:
        return decide_from_orders(
            message,
            found,
            self.settings.shape,
            now=self.now(),
            ttl_days=self.settings.order_ttl_days,
            is_guarded=message.session_id in guarded,
        )

    def _predict_outcome(self, message: SessionMessage, found: Orders, decision: Decision) -> Outcome:
        """Return the outcome by the listed session and the table. Stripe is not asked about single ones."""
        match decision:
            case None:
                # Stripe decides. The order of a session listed as paid would be written, unless it exists
                # and says unpaid.
                is_unpaid = message.payment_status == UNPAID
                without = Outcome.MISSING if self.settings.shape else Outcome.CREATED
                return Outcome.SKIPPED if found or is_unpaid else without
            case UnknownState():
                return Outcome.ERROR
            case SyncError():
                raise decision
        return Outcome.SKIPPED
