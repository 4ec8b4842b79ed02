"""Finds the one session that a reference names. Writes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from ops.errors import CommandError
from ops.explain.references import Reference, ReferenceKind
from ops.format.text import format_utc, quantity
from recon.domain.order import order_number
from recon.domain.stripe_objects import COMPLETE
from recon.domain.user_ids import spellings
from recon.dynamodb.keys import outcome_partition
from recon.dynamodb.records import OUTCOME_DAYS, parse_outcome
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.dynamodb.user_orders import find_orders
from recon.errors import SessionNotFound
from recon.timestamps import DAY

if TYPE_CHECKING:
    from recon.domain.stripe_objects import Json
    from recon.stripe.source import StripeSource

# As many runs as `explain` reads outcomes of.
RUNS_SEARCHED = 500
# Pages of a hundred sessions that are searched for an order number; a busy shop has more in a month.
MOST_PAGES = 100
# Sessions that an error about an ambiguous reference names.
MOST_NAMED = 10
_FIRST_ORDER = 1_000_000_000

# Session ids with what tells them apart, in the order in which they were found.
type FoundSessions = dict[str, str]


@dataclass(frozen=True)
class SessionFinder:
    """The sources in which a reference is looked up.

    `prefix` is that of order numbers, `now` is in epoch seconds.
    """

    table: Table
    runs: Runs
    stripe: "Callable[[], StripeSource]"
    prefix: str
    now: int

    def find(self, reference: Reference) -> str:
        """Return the id of the session. Raise CommandError unless there is exactly one."""
        match reference.kind:
            case ReferenceKind.SESSION:
                return reference.value
            case ReferenceKind.PAYMENT:
                found = self._find_at_stripe({"payment_intent": reference.value})
            case ReferenceKind.EMAIL:
                found = self._find_by_email(reference.value)
            case ReferenceKind.ORDER_NUMBER:
                found = self._find_by_number(reference.value)
        return _require_one(found, reference)

    def _find_at_stripe(self, filters: "Json") -> FoundSessions:
        """Return the complete sessions that match, or any others if none is complete, newest first."""
        rows: list[Json] = []
        with suppress(SessionNotFound):
            rows = self.stripe().search_sessions(filters)
        complete = [row for row in rows if row.get("status") == COMPLETE]
        return {row["id"]: _describe_row(row) for row in complete or rows}

    def _find_by_email(self, email: str) -> FoundSessions:
        """Return the sessions of this customer at Stripe, and those of the orders under this user id."""
        found = self._find_at_stripe({"customer_details": {"email": email}})
        users = dict.fromkeys(spellings((email,)))
        for order in find_orders(self.table, users, _FIRST_ORDER):
            if session_id := order.stripe_session_id or order.order_id:
                found.setdefault(session_id, f"order {order.order_number or 'without a number'}")
        return found

    def _find_by_number(self, number: str) -> FoundSessions:
        """Return the sessions with this order number among the outcomes, or else those that Stripe lists."""
        wanted = number.upper()
        found = dict(self._list_outcomes(wanted))
        if found or not wanted.startswith(f"{self.prefix.upper()}-"):
            return found
        listed = (row for row in self._list_recent() if self._number(row["id"]) == wanted)
        return {row["id"]: _describe_row(row) for row in listed}

    def _number(self, session_id: str) -> str:
        return order_number(session_id, self.prefix).upper()

    def _list_outcomes(self, wanted: str) -> Iterator[tuple[str, str]]:
        for run in self.runs.latest(RUNS_SEARCHED):
            items = self.table.query(
                "PK = :run", {":run": outcome_partition(run.run_id)}, projection="SK, orderNumber"
            )
            for outcome in map(parse_outcome, items):
                stored = (outcome.order_number or "").upper()
                if wanted in (stored, self._number(outcome.session_id)):
                    yield outcome.session_id, f"in run {run.run_id}"

    def _list_recent(self) -> "Iterator[Json]":
        """Yield the complete sessions of the last days, newest first."""
        after: str | None = None
        for _ in range(MOST_PAGES):
            page = self.stripe().list_sessions(self.now - OUTCOME_DAYS * DAY, self.now, after=after)
            yield from page.sessions
            if not page.has_more:
                return
            after = page.sessions[-1]["id"]


def _describe_row(row: "Mapping[str, object]") -> str:
    created = row.get("created")
    at = format_utc(datetime.fromtimestamp(created, UTC)) if isinstance(created, int) else ""
    parts = [at, str(row.get("status") or "")]
    return ", ".join(filter(None, parts))


def _require_one(found: FoundSessions, reference: Reference) -> str:
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise CommandError(_describe_unknown(reference))
    count = quantity(len(found), "session")
    raise CommandError(f"{_name(reference)} has {count}; explain one of them: {_list(found.items())}")


def _name(reference: Reference) -> str:
    # An address is never repeated: errors are copied into chats and tickets.
    is_address = reference.kind is ReferenceKind.EMAIL
    return "this e-mail address" if is_address else f"{reference.kind} {reference.value}"


def _list(found: Iterable[tuple[str, str]]) -> str:
    found = list(found)
    named = [f"{session_id} ({details})" for session_id, details in islice(found, MOST_NAMED)]
    more = len(found) - MOST_NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _describe_unknown(reference: Reference) -> str:
    match reference.kind:
        case ReferenceKind.EMAIL:
            return "no Checkout Session and no order has this e-mail address; check its spelling"
        case ReferenceKind.PAYMENT:
            return (
                f"no Checkout Session has the payment {reference.value}; the payment of a subscription "
                "belongs to its invoice: give the session's id"
            )
        case _:
            return (
                f"no session of the last {OUTCOME_DAYS} days has the order number {reference.value}; "
                "give the session's id"
            )
