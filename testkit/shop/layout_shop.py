"""A shop with its own layout over two nights: what its code wrote, and what must become of each session."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from testkit.fake_stripe.specs import SessionSpec
from testkit.shop.layouts import LAYOUTS, ShopLayout
from testkit.shop.records import Record

LATE: Final = 3
LOST: Final = 2
REFUNDED: Final = 2
CARTS: Final = 5
_DAY: Final = 24 * 3600
# Sessions of the last minutes before a night are left to the next one.
_GRACE: Final = 30 * 60
_CHECKOUT: Final = 120


class Fate(StrEnum):
    """What must become of a session in the first night and in the second."""

    FOUND = "found"  # its order is done
    LATE = "late"  # missing, then found: the shop's webhook got its event again
    LOST = "lost"  # missing in both nights
    REFUNDED = "refunded"  # without an order, and the money was returned


@dataclass(frozen=True)
class LayoutShop:
    """What Stripe holds, what the shop's table holds before the first night, and the truth.

    `late_items` are put between the nights by the shop's webhook, in place of those with the same key.
    """

    layout: ShopLayout
    first_night: int
    sessions: tuple[SessionSpec, ...]
    items: tuple[Record, ...]
    late_items: tuple[Record, ...]
    fates: dict[str, Fate]

    def count(self, fate: Fate) -> int:
        return list(self.fates.values()).count(fate)

    def items_after(self) -> list[Record]:
        """Return what the table holds once the webhook has got its events again."""
        keys = [self._key(item) for item in self.late_items]
        return [*(item for item in self.items if self._key(item) not in keys), *self.late_items]

    def _key(self, item: Record) -> list[object]:
        return [item[name] for name in self.layout.keys]


def make_layout_shop(name: str, sessions: int, seed: int, first_night: int) -> LayoutShop:
    """Return a shop of that many sessions, opened in the day before `first_night` (epoch seconds).

    Five further items are of carts that never became a session.
    """
    layout, rng = LAYOUTS[name], random.Random(f"{name} {seed}")
    fates = [Fate.LATE] * LATE + [Fate.LOST] * LOST + [Fate.REFUNDED] * REFUNDED
    fates += [Fate.FOUND] * (sessions - len(fates))
    rng.shuffle(fates)
    specs, items, late = [], [], []
    for number, fate in enumerate(fates):
        created = rng.randint(first_night - _DAY + _GRACE, first_night - _GRACE)
        spec = SessionSpec(
            f"cs_test_{rng.randrange(16**12):012x}{number:05}",
            created,
            completed_at=created + _CHECKOUT,
            metadata={
                "orderId": f"{rng.randrange(16**8):08x}-{number}",
                "userId": f"u{rng.randrange(sessions)}",
            },
            email=f"buyer{number}@example.com",
            amount_refunded=1500 if fate is Fate.REFUNDED else 0,
            event_delivered=fate is Fate.FOUND,
        )
        specs.append(spec)
        if order := layout.order(spec, is_done=fate is Fate.FOUND):
            items.append(order)
        if fate is Fate.LATE:
            late.append(layout.order(spec) or {})
    for number in range(CARTS):
        cart = SessionSpec(
            f"cs_test_cart{number}", first_night, metadata={"orderId": f"cart-{number}", "userId": "u"}
        )
        if order := layout.order(cart, is_done=False):
            items.append(order)
    ids = [spec.id for spec in specs]
    return LayoutShop(
        layout, first_night, tuple(specs), tuple(items), tuple(late), dict(zip(ids, fates, strict=True))
    )
