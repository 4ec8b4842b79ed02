"""The shop's customers and the events that Stripe sends about them: the truth to check against."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

from recon.timestamps import DAY, MINUTE
from testkit.fake_stripe.specs import IntentStatus, Mode, PaymentStatus, SessionSpec
from testkit.fake_stripe.store import ASYNC_PAID, COMPLETED, EventSpec, Store, make_events
from testkit.shop import user_id

# Stripe tries to deliver an event for three days.
DELIVERY_SECONDS = 3 * DAY
LONGEST_PAYMENT = 14 * DAY
# What else is true of a payment that is made at once; a plain one is drawn most often.
PAYMENTS: tuple[dict[str, Any], ...] = (
    {"amount_captured": 900},
    {"amount_refunded": 300},
    {"amount_refunded": 1500},
    {"dispute_status": "needs_response"},
    {"dispute_status": "lost"},
    {"review": "open"},
)
# How a delayed payment waits: the last one is a hold.
WAITS: tuple[IntentStatus, ...] = ("processing", "requires_payment_method", "requires_capture")
USERS = 3
# Every so many sessions, one is another shop's, of the same Stripe account.
FOREIGN_EVERY = 9


@dataclass
class Sale:
    """One session as it is now.

    `pays_after` is the number of seconds from completion to payment of a delayed method, None for an
    immediate one. `completes_as` is the payment status of a session that is paid immediately, and `payment`
    what else is true of its payment. `is_removed` is True once a person has deleted its order, `is_claimed`
    once its order is under a customer's account, and `is_gone` once Stripe has deleted the session.
    """

    spec: SessionSpec
    pays_after: int | None
    completes_as: PaymentStatus
    payment: dict[str, Any] = field(default_factory=dict)
    is_removed: bool = False
    is_claimed: bool = False
    is_gone: bool = False

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def is_foreign(self) -> bool:
        """Return whether another shop sold it, which the filter of the settings leaves out."""
        return "foreign" in self.spec.metadata

    @property
    def is_unpaid(self) -> bool:
        """Return whether the payment may still arrive."""
        is_unpaid = self.spec.status == "complete" and self.spec.payment_status == "unpaid"
        return is_unpaid and self.spec.intent_status != "canceled" and not self.is_gone

    @property
    def is_returned(self) -> bool:
        """Return whether the customer got all of the money back."""
        return self.spec.amount_refunded == self.spec.amount_total or self.spec.dispute_status == "lost"

    @property
    def wants_order(self) -> bool:
        is_paid = self.spec.status == "complete" and self.spec.payment_status != "unpaid"
        is_sale = self.spec.mode != "setup" and not self.is_returned and not self.is_foreign
        return is_paid and is_sale and user_id(self.spec) is not None and not self.is_removed


@dataclass(frozen=True)
class SentEvent:
    """An event, and the session at its time."""

    event: EventSpec
    spec: SessionSpec


class Customers:
    """`in_flight` are events that were not acknowledged, `handled` are those that the webhook received."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sales: dict[str, Sale] = {}
        self.in_flight: list[SentEvent] = []
        self.handled: list[SentEvent] = []

    def open_session(self, rng: random.Random, now: int) -> Sale:
        metadata, email = _draw_user(rng)
        if len(self.sales) % FOREIGN_EVERY == FOREIGN_EVERY - 1:
            metadata["foreign"] = "yes"
        mode: Mode = rng.choices(("setup", "subscription", "payment"), (5, 15, 80))[0]
        spec = SessionSpec(
            f"cs_test_{len(self.sales):03}",
            now,
            mode=mode,
            status="open",
            payment_status="unpaid",
            metadata=metadata,
            email=email,
            event_made=rng.random() < 0.93,
        )
        free: PaymentStatus = "no_payment_required" if rng.random() < 0.1 else "paid"
        payment = rng.choice(PAYMENTS) if free == "paid" and mode != "setup" and rng.random() < 0.2 else {}
        sale = self.sales[spec.id] = Sale(spec, _draw_payment_delay(rng), free, payment)
        self._store.add(spec)
        return sale

    def list_open(self, now: int) -> list[Sale]:
        """Return the sessions that can still complete."""
        return [
            sale
            for sale in self.sales.values()
            if sale.spec.status == "open" and sale.spec.created < now <= sale.spec.created + DAY - MINUTE
        ]

    def list_unpaid(self) -> list[Sale]:
        return [sale for sale in self.sales.values() if sale.is_unpaid]

    def list_due(self, now: int) -> list[Sale]:
        """Return the unpaid sessions whose payment may arrive now."""
        return [
            sale
            for sale in self.list_unpaid()
            if now >= (sale.spec.completion or now) + (sale.pays_after or 0)
        ]

    def complete(self, sale: Sale, now: int) -> None:
        status: PaymentStatus = sale.completes_as if sale.pays_after is None else "unpaid"
        payment = sale.payment if sale.pays_after is None else {"intent_status": _draw_wait(sale)}
        spec = replace(sale.spec, status="complete", payment_status=status, completed_at=now, **payment)
        self._update(sale, spec, COMPLETED)

    def settle(self, sale: Sale, now: int) -> None:
        """Let a payment arrive, or capture a hold."""
        paid = replace(sale.spec, payment_status="paid", async_paid_at=now, intent_status=None)
        self._update(sale, paid, ASYNC_PAID)

    def cancel(self, sale: Sale) -> None:
        """Let a payment fail for good, or release a hold."""
        self._update(sale, replace(sale.spec, intent_status="canceled"), None)

    def refund(self, sale: Sale) -> None:
        """Give all of the money back."""
        self._update(sale, replace(sale.spec, amount_refunded=sale.spec.amount_total), None)

    def delete(self, sale: Sale) -> None:
        sale.is_gone = True
        self._store.remove(sale.id)

    def expire(self, now: int) -> list[Sale]:
        """Let the open sessions that are older than a day expire, and return them."""
        old = [
            sale
            for sale in self.sales.values()
            if sale.spec.status == "open" and sale.spec.created + DAY < now
        ]
        for sale in old:
            self._update(sale, replace(sale.spec, status="expired"), None)
        return old

    def list_deliverable(self, now: float) -> list[SentEvent]:
        return [sent for sent in self.in_flight if now < sent.event.created + DELIVERY_SECONDS]

    def lose_events_of_sessions_before(self, moment: int) -> None:
        """Never deliver the events in flight of sessions that were created before the moment."""
        self.in_flight = [sent for sent in self.in_flight if sent.spec.created >= moment]
        self.handled = [sent for sent in self.handled if sent.spec.created >= moment]

    def _update(self, sale: Sale, spec: SessionSpec, event_type: str | None) -> None:
        sale.spec = spec
        self._store.add(spec)
        self.in_flight += [SentEvent(event, spec) for event in make_events(spec) if event.type == event_type]


def _draw_payment_delay(rng: random.Random) -> int | None:
    """Return None for an immediate payment; delayed ones take no time, or up to two weeks."""
    if rng.random() >= 0.25:
        return None
    return rng.choice((0, 0, rng.randint(DAY, LONGEST_PAYMENT)))


def _draw_wait(sale: Sale) -> IntentStatus:
    return WAITS[sale.spec.created % len(WAITS)]


def _draw_user(rng: random.Random) -> tuple[dict[str, str], str | None]:
    """Return metadata and e-mail of one of a few returning customers; the webhook's rule removes the `+`."""
    name, draw = f"user{rng.randint(1, USERS)}", rng.random()
    if draw < 0.05:
        return {}, None
    if draw < 0.2:
        return {}, f"{name}+shop@example.com"
    return {rng.choice(("userId", "userId", "user_id")): name}, f"{name.capitalize()}@Example.com"
