"""What will happen to a shop, drawn from one seed before anything of it does.

A plan holds the truth: when each session completes and is paid, what becomes of each of its events at the
webhook, and which nights are bad. Nothing here knows how the sync works.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import NOW
from testkit.fake_stripe.specs import Mode, PaymentStatus, SessionSpec

NIGHTS = 21
# The last sale completes a day after the 21st night, settles within 14 days and is acknowledged in three.
NIGHTS_TO_SETTLE = 20
GRACE = 10 * MINUTE
RETRIES_OF_STRIPE = 3 * DAY
_OPENING = NOW - 22 * HOUR
_CLOSING = NOW + (NIGHTS - 1) * DAY + 12 * HOUR
# How long the events of the blind night cannot be read, its repeated producers included.
BLIND = 15 * MINUTE


class Fate(StrEnum):
    """What becomes of an event at the shop's webhook."""

    WRITES = "writes"  # handled, with an order when the session is paid
    FAILS = "fails"  # acknowledged, its record says that no order was written
    SWALLOWED = "swallowed"  # a proxy answered 200, the webhook never heard of it
    LOST = "lost"  # never acknowledged


@dataclass(frozen=True)
class Hook:
    """One event at the webhook. `after`: seconds from the event to its acknowledgement."""

    fate: Fate
    after: int = 0


@dataclass(frozen=True)
class Sale:
    """One session. `completed` and `paid` are moments (epoch seconds), None where it never comes to that."""

    id: str
    created: int
    completed: int | None
    paid: int | None
    payment: PaymentStatus
    mode: Mode
    metadata: Mapping[str, str]
    email: str | None
    event_made: bool
    on_completed: Hook
    on_paid_later: Hook

    @property
    def paid_later(self) -> bool:
        return self.paid is not None and self.paid != self.completed

    @property
    def wants_order(self) -> bool:
        has_user = bool(self.metadata) or self.email is not None
        return self.paid is not None and self.mode == "payment" and has_user

    def opened(self) -> SessionSpec:
        return SessionSpec(
            self.id,
            self.created,
            mode=self.mode,
            status="open",
            payment_status="unpaid",
            metadata=self.metadata,
            email=self.email,
            event_made=self.event_made,
        )

    def complete(self) -> SessionSpec:
        status: PaymentStatus = self.payment if self.paid == self.completed else "unpaid"
        return replace(self.opened(), status="complete", payment_status=status, completed_at=self.completed)

    def settled(self) -> SessionSpec:
        return replace(self.complete(), payment_status="paid", async_paid_at=self.paid)


@dataclass(frozen=True)
class Calendar:
    """The nights by number, from 0. The first is an ordinary one: before it nobody knows what was covered."""

    missed: frozenset[int]
    killed: int
    rejected: int
    blind: int
    # Whether the key is rejected from before the producer on, or only once it has listed.
    rejected_early: bool
    backfill: tuple[int, int, int]  # when, from, to
    manual: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    seed: int
    sales: tuple[Sale, ...]
    calendar: Calendar
    # Stripe's pages, the slices of a listing and a producer's part are cut so small that a run of this shop
    # takes many of each.
    in_small_pieces: bool
    rng: random.Random = field(repr=False)


def night(number: int) -> int:
    """Its scheduled time, in epoch seconds."""
    return NOW + number * DAY


def plan_of(seed: int) -> Plan:
    rng = random.Random(seed)
    calendar = _calendar(rng)
    drawn = [_sale(rng, seed, number) for number in range(rng.randint(24, 36))]
    drawn = [_paid_when_runs_begin_again(rng, sale, calendar) for sale in drawn]
    drawn += [_at_the_same_second(rng, rng.choice(drawn), seed, 100 + number) for number in range(3)]
    drawn += _sales_on_the_eve(rng, seed, calendar)
    sales = tuple(_without_hopeless_races(sale, night(calendar.blind)) for sale in drawn)
    calendar = replace(calendar, manual=tuple(_manual(rng, sales, night(calendar.blind))))
    return Plan(seed, sales, calendar, rng.random() < 0.5, rng)


def _calendar(rng: random.Random) -> Calendar:
    # In a row or scattered: both happen, and they leave different holes.
    start = rng.randint(1, NIGHTS - 4)
    row = frozenset(range(start, start + 3))
    missed = row if rng.random() < 0.6 else frozenset(rng.sample(range(1, NIGHTS), 3))
    killed, rejected, blind = rng.sample(sorted(set(range(1, NIGHTS)) - missed), 3)
    when = rng.randint(_OPENING + 3 * DAY, _CLOSING)
    first = rng.randint(_OPENING, when - DAY)
    return Calendar(
        missed,
        killed,
        rejected,
        blind,
        rejected_early=rng.random() < 0.5,
        backfill=(when, first, rng.randint(first + HOUR, when)),
    )


def _manual(rng: random.Random, sales: tuple[Sale, ...], blind: int) -> Iterator[int]:
    """Runs over one hour, by somebody who saw a sale in it: its webhook may just be at work.

    Not while events cannot be read: then nothing at all protects a webhook at work from a run by hand.
    """
    for sale in rng.sample(sales, 6):
        completed = sale.completed or sale.created
        moment = min(completed, sale.created + HOUR) + rng.randint(1, 60)
        if not blind <= moment <= blind + 2 * BLIND:
            yield moment


def _sale(rng: random.Random, seed: int, number: int) -> Sale:
    created = rng.randint(_OPENING, _CLOSING)
    if rng.random() < 0.3:
        created = _near_a_night(rng, created)
    completed = None if rng.random() < 0.1 else _completion(rng, created)
    metadata, email = _user(rng)
    return Sale(
        id=f"cs_test_{seed}x{number:03}",
        created=created,
        completed=completed,
        paid=None if completed is None else _payment(rng, completed),
        payment="no_payment_required" if rng.random() < 0.1 else "paid",
        mode="setup" if rng.random() < 0.05 else "payment",
        metadata=metadata,
        email=email,
        event_made=rng.random() < 0.95,
        on_completed=_hook(rng, completed),
        on_paid_later=_hook(rng, completed),
    )


def _at_the_same_second(rng: random.Random, sale: Sale, seed: int, number: int) -> Sale:
    """Another session opened in the same second, completed and paid when the other is."""
    other = _sale(rng, seed, number)
    return replace(other, created=sale.created, completed=sale.completed, paid=sale.paid)


def _paid_when_runs_begin_again(rng: random.Random, sale: Sale, calendar: Calendar) -> Sale:
    """Some that nobody has seen yet when they are paid, right before the first run after missed nights."""
    paid = _near_a_night(rng, night(max(calendar.missed) + 1))
    if not sale.paid_later or rng.random() < 0.5 or not DAY <= paid - (sale.completed or 0) <= 14 * DAY:
        return sale
    return replace(sale, paid=paid)


def _sales_on_the_eve(rng: random.Random, seed: int, calendar: Calendar) -> Iterator[Sale]:
    """Paid in the last minutes before the blind night, their webhooks on the way: only the grace knows."""
    for number in range(2):
        created = night(calendar.blind) - rng.randint(30, GRACE - 30)
        completed = night(calendar.blind) - rng.randint(0, 15)
        sale = _sale(rng, seed, 900 + number)
        hook = Hook(Fate.WRITES, rng.randint(60, 10 * MINUTE))
        yield replace(
            sale, created=created, completed=completed, paid=completed, on_completed=hook, event_made=True
        )


def _near_a_night(rng: random.Random, moment: int) -> int:
    """Around the grace, or while the run is at work."""
    first, last = rng.choice(((-25 * MINUTE, 2 * MINUTE), (-30, 90)))
    return night(round((moment - NOW) / DAY)) + rng.randint(first, last)


def _completion(rng: random.Random, created: int) -> int:
    draw = rng.random()
    if draw < 0.5:
        return created + rng.randint(20, 15 * MINUTE)
    completed = created + rng.randint(0, DAY)
    if draw < 0.7:
        completed = _near_a_night(rng, completed)
    return min(max(completed, created + 1), created + DAY)


def _payment(rng: random.Random, completed: int) -> int | None:
    if rng.random() < 0.75:
        return completed
    if rng.random() < 0.2:
        return None
    paid = completed + rng.randint(DAY, 14 * DAY)
    near = _near_a_night(rng, paid)
    return near if rng.random() < 0.3 and completed + DAY <= near <= completed + 14 * DAY else paid


def _user(rng: random.Random) -> tuple[dict[str, str], str | None]:
    """A few people who come again. The `+` is one that the webhook cleans away."""
    name = f"user{rng.randint(1, 6)}"
    draw = rng.random()
    if draw < 0.05:
        return {}, None
    if draw < 0.2:
        return {}, f"{name}+shop@example.com"
    return {rng.choice(("userId", "userId", "user_id")): name}, f"{name}@example.com"


def _hook(rng: random.Random, completed: int | None) -> Hook:
    (fate,) = rng.choices(list(Fate), (55, 15, 10, 20))
    soon = rng.randint(1, 30)
    late = rng.randint(2 * MINUTE, RETRIES_OF_STRIPE)
    return Hook(fate, late if rng.random() < 0.35 else soon)


def _without_hopeless_races(sale: Sale, blind: int) -> Sale:
    """A run that may not read events cannot fence off a webhook that is still on its way, as its warning
    says. So on the blind night none is, but for sessions so young that the run leaves them alone.
    """
    if sale.created >= blind - GRACE:
        return sale
    return replace(
        sale,
        on_completed=_not_across(sale.on_completed, sale.completed, blind),
        on_paid_later=_not_across(sale.on_paid_later, sale.paid, blind),
    )


def _not_across(hook: Hook, event: int | None, blind: int) -> Hook:
    if event is None or not event < blind + BLIND or event + hook.after < blind:
        return hook
    return Hook(Fate.LOST)
