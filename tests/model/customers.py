"""The shop's customers, and what Stripe tells its webhook of them: what the books are held against."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from recon.timestamps import DAY, HOUR
from testkit.fake_stripe.specs import Mode, PaymentStatus, SessionSpec
from testkit.fake_stripe.store import ASYNC_PAID, COMPLETED, EventSpec, Store, make_events
from tests.simulation.webhook import user_of

# Stripe tries to deliver an event for three days.
DELIVERY = 3 * DAY
USERS = 3


@dataclass
class Sale:
    """One session as it is now. `pays_later` and `completes_as`: what it will be when it completes."""

    spec: SessionSpec
    pays_later: bool
    completes_as: PaymentStatus

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def is_paid(self) -> bool:
        return self.spec.status == "complete" and self.spec.payment_status != "unpaid"

    @property
    def wants_order(self) -> bool:
        return self.is_paid and self.spec.mode == "payment" and self.user is not None

    @property
    def user(self) -> str | None:
        return user_of(self.spec)


@dataclass(frozen=True)
class Told:
    """An event and the session as it was then."""

    event: EventSpec
    spec: SessionSpec


class Customers:
    """`in_flight`: events that Stripe has not seen acknowledged. `handled`: those the webhook has seen."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sales: dict[str, Sale] = {}
        self.in_flight: list[Told] = []
        self.handled: list[Told] = []

    def opens(self, rng: random.Random, now: int) -> Sale:
        metadata, email = _user(rng)
        spec = SessionSpec(
            f"cs_test_{len(self.sales):03}",
            now,
            mode=_mode(rng),
            status="open",
            payment_status="unpaid",
            metadata=metadata,
            email=email,
            event_made=rng.random() < 0.93,
        )
        free: PaymentStatus = "no_payment_required" if rng.random() < 0.1 else "paid"
        sale = Sale(spec, rng.random() < 0.25, free)
        self.sales[sale.id] = sale
        self._store.add(spec)
        return sale

    def open_at(self, now: int) -> list[Sale]:
        """Those that can still complete; the others are over."""
        return [sale for sale in self.sales.values() if sale.spec.status == "open" and _lives(sale, now)]

    def waiting_for_payment(self) -> list[Sale]:
        return [sale for sale in self.sales.values() if sale.spec.status == "complete" and not sale.is_paid]

    def completes(self, sale: Sale, now: int) -> None:
        status: PaymentStatus = "unpaid" if sale.pays_later else sale.completes_as
        self._becomes(
            sale, replace(sale.spec, status="complete", payment_status=status, completed_at=now), COMPLETED
        )

    def settles(self, sale: Sale, now: int) -> None:
        self._becomes(sale, replace(sale.spec, payment_status="paid", async_paid_at=now), ASYNC_PAID)

    def deliverable(self, now: float) -> list[Told]:
        return [told for told in self.in_flight if now < told.event.created + DELIVERY]

    def _becomes(self, sale: Sale, spec: SessionSpec, event_type: str) -> None:
        sale.spec = spec
        self._store.add(spec)
        self.in_flight += [Told(event, spec) for event in _made(spec, event_type)]


def _made(spec: SessionSpec, event_type: str) -> Iterator[EventSpec]:
    return (event for event in make_events(spec) if event.type == event_type)


def _lives(sale: Sale, now: int) -> bool:
    return sale.spec.created < now <= sale.spec.created + DAY - HOUR // 60


def _mode(rng: random.Random) -> Mode:
    return "setup" if rng.random() < 0.05 else "payment"


def _user(rng: random.Random) -> tuple[dict[str, str], str | None]:
    """A few people who come again. The `+` is one that the webhook cleans away."""
    name, draw = f"user{rng.randint(1, USERS)}", rng.random()
    if draw < 0.05:
        return {}, None
    if draw < 0.2:
        return {}, f"{name}+shop@example.com"
    return {"userId": name}, f"{name}@example.com"
