"""The truth about a shop: its sessions, what the webhook wrote, and what must become of each session."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum

from testkit.fake_stripe.specs import SessionSpec
from testkit.shop.records import Record


class Expected(StrEnum):
    """The possible truths about a session once the sync is done."""

    ORDER_KEPT = "order_kept"  # the webhook's order is still there, byte for byte
    ORDER_RECOVERED = "order_recovered"  # exactly one order, written by the sync
    SKIPPED = "skipped"  # no order, for the given reason
    DEAD = "dead"  # Stripe answers 404: an error until it is healed, then recovered


@dataclass(frozen=True, slots=True)
class Truth:
    """The required result of one session.

    `reason` is the sync's reason to skip it. `order` is the order that a recovery must write, without the
    attributes that depend on the time of writing and on the run.
    """

    session_id: str
    expected: Expected
    reason: str | None = None
    order: Record | None = None

    @property
    def is_lost(self) -> bool:
        """Return whether the webhook's order is missing although the session was paid."""
        return self.expected in (Expected.ORDER_RECOVERED, Expected.DEAD)


@dataclass(frozen=True, slots=True)
class RunCounters:
    """The counters that a run must have; `processed` is the sum of the last three."""

    enqueued: int
    processed: int
    created: int
    skipped: int
    errors: int


@dataclass(frozen=True, slots=True)
class ShopRecipe:
    """All that is needed to make the same shop again: size, seed and current time (epoch seconds)."""

    sessions: int
    seed: int
    now: int


@dataclass(frozen=True)
class Shop:
    """What Stripe holds, what the table holds before the sync, and what must be true after it."""

    recipe: ShopRecipe
    sessions: tuple[SessionSpec, ...]
    webhook_orders: tuple[Record, ...]
    webhook_events: tuple[Record, ...]
    truth: tuple[Truth, ...]

    @property
    def dead_sessions(self) -> list[str]:
        return [truth.session_id for truth in self.truth if truth.expected is Expected.DEAD]

    def counters(self, *, healed: bool) -> RunCounters:
        """Return the first run's numbers; dead sessions count as errors, or as created once healed."""
        found = Counter(truth.expected for truth in self.truth)
        dead = found[Expected.DEAD]
        return RunCounters(
            enqueued=len(self.truth),
            processed=len(self.truth),
            created=found[Expected.ORDER_RECOVERED] + (dead if healed else 0),
            skipped=found[Expected.ORDER_KEPT] + found[Expected.SKIPPED],
            errors=0 if healed else dead,
        )

    def wanted_orders(self, *, healed: bool) -> dict[str, int]:
        """Return the number of orders that each session must have, by session id."""
        without = {Expected.SKIPPED} if healed else {Expected.SKIPPED, Expected.DEAD}
        return {truth.session_id: int(truth.expected not in without) for truth in self.truth}

    def to_json(self) -> str:
        """Return the recipe as JSON; the shop that it makes is a thousand times larger."""
        return json.dumps(asdict(self.recipe))
