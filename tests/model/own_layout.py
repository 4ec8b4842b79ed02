"""A shop with its own layout, whose webhook turns the status of the shop's order to paid.

It is no part of the system under test and shares no code with it.
"""

from dataclasses import dataclass, field

from testkit.fake_stripe.specs import SessionSpec
from testkit.fake_stripe.store import EventSpec
from tests.model.webhook import Webhook

LEDGER = "ledger"
CARTS = "CART#"
FILE = f"""\
[find]
key = {{ PK = "{CARTS}{{metadata.userId|metadata.user_id|customer_details.email}}", SK = "{{id}}" }}
done = {{ status = ["PAID"] }}
open = {{ status = ["PENDING"] }}
"""
SETTINGS = {"SYNC_LEDGER_TABLE": LEDGER, "SYNC_SHAPE": FILE}
_PENDING, _PAID = "PENDING", "PAID"


@dataclass
class OwnLayoutWebhook(Webhook):
    """A webhook that keeps no record of events, and orders under the shop's own keys."""

    _handled: set[str] = field(default_factory=set)

    def open_order(self, session: SessionSpec) -> None:
        """Put the order of most sessions before the checkout; a time-to-live has deleted the others."""
        if _find_customer(session) and session.created % 4:
            self.write_order(session)

    def has_handled(self, event: EventSpec) -> bool:
        return event.id in self._handled

    def mark_handled(self, event: EventSpec, session: SessionSpec, *, wrote_order: bool) -> None:
        self._handled.add(event.id)

    def claim(self, event: EventSpec, session: SessionSpec) -> None:
        """Keep no record of a claim."""

    def write_order(self, session: SessionSpec) -> None:
        """Put the order of an unpaid session, or turn its status to paid, which it stays."""
        if session.payment_status != "unpaid":
            self.done.setdefault(session.id, self.world.clock.now)
        status = _PAID if session.id in self.done else _PENDING
        self._put({"PK": f"{CARTS}{_find_customer(session)}", "SK": session.id, "status": status})


def _find_customer(session: SessionSpec) -> str | None:
    return session.metadata.get("userId") or session.metadata.get("user_id") or session.email
