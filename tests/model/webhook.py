"""The shop's webhook: it handles an event once, by the record that it leaves of it.

It is no part of the system under test and shares no code with it. `receive` does everything at one moment;
the second model (`interleavings`) takes its three steps one by one.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from recon.timestamps import HOUR
from testkit.fake_stripe.specs import SessionSpec
from testkit.fake_stripe.store import COMPLETED, EventSpec
from testkit.invariants import RawItem, to_wire
from testkit.shop import Record, build_event_record, build_webhook_order, clean_user_id, user_id
from testkit.world import World


class Handling(StrEnum):
    """What becomes of an event at the shop's webhook."""

    WRITES = "writes"  # handled, with an order if the session is paid
    FAILS = "fails"  # acknowledged, and its record says that no order was written
    SWALLOWED = "swallowed"  # a proxy answered 200, and the webhook never received it
    LOST = "lost"  # never acknowledged
    ACKNOWLEDGES = "acknowledges"  # first, and does the work later
    CLAIMS = "claims"  # marks the event as being processed, and works after that


# An older webhook stored an order under its payment intent only.
_SESSION_NAMES = ("orderId", "stripeSessionId")
# A webhook that claims an event has handled it by then, or has died.
CLAIM_SECONDS = 900
# An event of an unpaid session that comes later than this gives no order before its payment.
SOON = 6 * HOUR


@dataclass
class Webhook:
    """`written` are its items as it wrote them, `acknowledged` the events that Stripe stops sending.

    `backlog` are the events that it has acknowledged or claimed and not handled yet. `unpaid` are the
    sessions whose order it wrote before their payment arrived. `done` are those whose order a shop with its
    own layout has done, and when.
    """

    world: World
    acknowledged: set[str] = field(default_factory=set)
    written: list[RawItem] = field(default_factory=list)
    backlog: list[tuple[EventSpec, SessionSpec, Handling]] = field(default_factory=list)
    unpaid: set[str] = field(default_factory=set)
    done: dict[str, float] = field(default_factory=dict)

    def open_order(self, session: SessionSpec) -> None:
        """Put nothing before the checkout."""

    def receive(self, event: EventSpec, session: SessionSpec, handling: Handling) -> str:
        """Handle an event and return a text about it for the story."""
        if handling is Handling.LOST:
            return "is never acknowledged"
        self.acknowledged.add(event.id)
        if handling is Handling.SWALLOWED:
            return "is acknowledged by a proxy"
        if handling is Handling.ACKNOWLEDGES:
            self.backlog.append((event, session, handling))
            return "is acknowledged and will be handled later"
        if self.has_handled(event):
            return "was handled before"
        if handling is Handling.CLAIMS:
            self.backlog.append((event, session, handling))
            self.claim(event, session)
            return "is claimed"
        writes = handling is Handling.WRITES and self._wants_order(event, session)
        if writes:
            self.write_order(session)
        self.mark_handled(event, session, wrote_order=writes)
        return f"is handled {'with its' if writes else 'without an'} order"

    def work(self, number: int) -> str:
        """Do the work of one event of the backlog, and return a text about it for the story.

        A webhook that claimed the event does not look at its marker again. If it died, nobody goes on.
        """
        event, session, handling = self.backlog.pop(number)
        if handling is Handling.CLAIMS:
            if self.world.clock.now >= event.created + CLAIM_SECONDS:
                return "died after its claim"
        elif self.has_handled(event):
            return "was handled before"
        if writes := self._wants_order(event, session):
            self.write_order(session)
        self.mark_handled(event, session, wrote_order=writes)
        return f"is handled {'with its' if writes else 'without an'} order"

    def lose_work_of_sessions_before(self, moment: int) -> None:
        """Never handle the events of the backlog of sessions that were created before the moment."""
        self.backlog = [work for work in self.backlog if work[1].created >= moment]

    def has_handled(self, event: EventSpec) -> bool:
        """Return whether the event has a marker, other than the claim of a webhook that has died."""
        marker = self.world.item(f"EVENT#{event.id}", "METADATA")
        is_dead = self.world.clock.now >= event.created + CLAIM_SECONDS
        return marker is not None and not (marker["status"] == "processing" and is_dead)

    def write_order(self, session: SessionSpec) -> None:
        """Write the order, or the payment into the order that was written before it."""
        now = int(self.world.clock.now)
        changes = _draw_key(session)
        if self.world.settings.order_sort_key == "any":
            # As a ULID: it sorts before each time in epoch seconds.
            changes |= {"SK": f"ORDER#01JD{now}#{session.id}"}
        order = build_webhook_order(session, now, **changes)
        if session.id in self.unpaid:
            [written] = self._list_orders(session)
            order["SK"] = written["SK"]["S"]
        if session.payment_status == "unpaid":
            self.unpaid.add(session.id)
        elif session.payment_intent and session.created % 5 == 0:
            order = {name: value for name, value in order.items() if name not in _SESSION_NAMES}
        self._put(order)

    def _list_orders(self, session: SessionSpec) -> list[RawItem]:
        return [item for item in self.written if item["SK"]["S"].endswith(f"#{session.id}")]

    def _wants_order(self, event: EventSpec, session: SessionSpec) -> bool:
        """Return whether the webhook writes an order. It also does so soon for some unpaid sessions."""
        is_soon = event.type == COMPLETED and self.world.clock.now < event.created + SOON
        writes_unpaid = is_soon and not self._list_orders(session) and session.created // 3 % 2 == 0
        return _is_own(session) and (session.payment_status != "unpaid" or writes_unpaid)

    def mark_handled(self, event: EventSpec, session: SessionSpec, *, wrote_order: bool) -> None:
        now = int(self.world.clock.now)
        number = build_webhook_order(session, now)["orderNumber"] if wrote_order else None
        self._put(build_event_record(event.id, session.id, now, order_number=number, event_type=event.type))

    def claim(self, event: EventSpec, session: SessionSpec) -> None:
        now = int(self.world.clock.now)
        record = build_event_record(event.id, session.id, now, order_number=None, event_type=event.type)
        self._put(record | {"status": "processing"})

    def _put(self, record: Record) -> None:
        item = to_wire(record)
        self.written = [
            other for other in self.written if (other["PK"], other["SK"]) != (item["PK"], item["SK"])
        ]
        self.written.append(item)
        self.world.memory.put_item(TableName=self.world.table, Item=item)


def _draw_key(session: SessionSpec) -> Record:
    """Return the user id and key of some orders: an older webhook took the lower-cased address first."""
    if session.email is None or session.created % 3:
        return {}
    user = clean_user_id(session.email.lower())
    return {"PK": f"USER#{user}", "userId": user}


def _is_own(session: SessionSpec) -> bool:
    return session.mode != "setup" and "foreign" not in session.metadata and user_id(session) is not None
