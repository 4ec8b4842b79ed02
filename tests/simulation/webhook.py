"""The shop's webhook as DESIGN describes it: handles an event once, by the record that it leaves of it.

`receives` does all of it at one moment; its three steps can be taken apart. It is no part of the system under
test and shares no code with it.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from recon.timestamps import DAY
from testkit.fake_stripe.specs import SessionSpec
from testkit.fake_stripe.store import EventSpec
from testkit.shapes import JsonObject
from testkit.world import World, wire
from tests.simulation.plans import Fate

_NOT_IN_USER_ID = re.compile(r"[^a-zA-Z0-9@.\-_]")


@dataclass
class Webhook:
    """`written`: its orders by key, as they were written. `acknowledged`: events Stripe stops sending."""

    world: World
    acknowledged: set[str] = field(default_factory=set)
    written: dict[tuple[str, str], JsonObject] = field(default_factory=dict)

    def receives(self, event: EventSpec, session: SessionSpec, fate: Fate) -> str:
        """Answers what it did, for the trace."""
        if fate is Fate.LOST:
            return "is never acknowledged"
        self.acknowledged.add(event.id)
        if fate is Fate.SWALLOWED:
            return "is acknowledged by a proxy, the webhook sees nothing"
        if self.knows(event):
            return "is known to the webhook, which does nothing"
        writes = fate is Fate.WRITES and self.sells(session)
        if writes:
            self.writes(session)
        self.marks(event, created=writes)
        return f"is acknowledged, the webhook writes {'its order' if writes else 'no order'}"

    # Its three steps

    def knows(self, event: EventSpec) -> bool:
        return self.world.item(f"EVENT#{event.id}", "METADATA") is not None

    def writes(self, session: SessionSpec) -> None:
        self._put(self._order(session, str(user_of(session))), keep=True)

    def marks(self, event: EventSpec, *, created: bool) -> None:
        self._put(self._record(event, created=created))

    def sells(self, session: SessionSpec) -> bool:
        return (
            session.mode == "payment" and session.payment_status != "unpaid" and user_of(session) is not None
        )

    def _put(self, item: JsonObject, *, keep: bool = False) -> None:
        if keep:
            self.written[item["PK"], item["SK"]] = wire(item)
        self.world.memory.put_item(TableName=self.world.table, Item=wire(item))

    def _order(self, session: SessionSpec, user: str) -> JsonObject:
        now = int(self.world.clock.now)
        return {
            "PK": f"USER#{user}",
            "SK": f"ORDER#{now}#{session.id}",
            "orderId": session.id,
            "orderNumber": _number_of(session),
            "userId": user,
            "status": "completed",
            "amount": session.amount_total,
            "amountSubtotal": session.amount_subtotal,
            "currency": session.currency,
            "items": [{"name": line.description, "quantity": line.quantity} for line in session.lines],
            "itemCount": len(session.lines),
            "createdAt": _iso(session.created),
            "updatedAt": _iso(now),
            "completedAt": _iso(now),
            "stripeSessionId": session.id,
            "stripePaymentStatus": session.payment_status,
        }

    def _record(self, event: EventSpec, *, created: bool) -> JsonObject:
        now = int(self.world.clock.now)
        record: dict[str, Any] = {
            "PK": f"EVENT#{event.id}",
            "SK": "METADATA",
            "eventType": event.type,
            "sessionId": event.session_id,
            "status": "completed" if created else "failed",
            "orderCreated": created,
            "processedAt": _iso(now),
            "expiresAt": now + 90 * DAY,
        }
        return record


def user_of(session: SessionSpec) -> str | None:
    candidates = (session.metadata.get("userId"), session.metadata.get("user_id"), session.email)
    cleaned = (_NOT_IN_USER_ID.sub("", candidate)[:256] for candidate in candidates if candidate)
    return next((user for user in cleaned if user), None)


def _number_of(session: SessionSpec) -> str:
    return "BC-" + "".join(filter(str.isalnum, session.id[-8:])).upper()


def _iso(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
