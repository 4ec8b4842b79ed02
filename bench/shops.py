"""A shop whose sessions are all alike, as Stripe and the table hold it before a run."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from bench.meter import MeteredTable
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.fake_stripe import FakeStripe, LineSpec, RateLimits, SessionSpec, ShippingSpec
from testkit.shapes import JsonObject
from testkit.shop import build_webhook_order
from testkit.world import KEY, World, wire

MISSING_SHARE = 0.02
GRACE = 600
WEBHOOK_SECONDS = 5  # from a session's creation to its order


@dataclass(frozen=True)
class UniformShop:
    """The sessions of the day before `now` (epoch seconds), evenly spaced.

    `missing` is the share of lost webhooks and `lines` the number of items in an order. Each customer has
    `orders` sessions, spread over the day unless they are `in_a_row`.
    """

    sessions: int
    missing: float = MISSING_SHARE
    orders: int = 1
    in_a_row: bool = False
    lines: int = 2
    name: str = ""
    now: int = NOW

    @property
    def lost(self) -> int:
        """Return the number of sessions whose webhook was lost."""
        return round(self.sessions * self.missing)

    @property
    def customers(self) -> int:
        return ceil(self.sessions / self.orders)

    def customer(self, n: int) -> int:
        """Return the number of the customer who bought session `n`."""
        return n // self.orders if self.in_a_row else n % self.customers

    def is_lost(self, n: int) -> bool:
        """Return whether the webhook of session `n` was lost."""
        return bool(self.lost) and n % (self.sessions // self.lost) == 0

    def sales(self) -> Iterator[SessionSpec]:
        lines = tuple(LineSpec(product_metadata={"sku": f"P-{line}"}) for line in range(self.lines))
        for n in range(self.sessions):
            yield SessionSpec(
                f"cs_live_{n:050}",
                self.now - GRACE - 60 - n * (DAY - GRACE) // self.sessions,
                lines=lines,
                metadata={"userId": f"user-{self.customer(n):08}"},
                email=f"customer-{n}@example.com",
                phone="+15550100",
                shipping=ShippingSpec(),
            )

    def webhook_orders(self) -> Iterator[JsonObject]:
        """Yield the orders that the webhook wrote, as boto3's client takes them."""
        for n, sale in enumerate(self.sales()):
            if not self.is_lost(n):
                yield wire(build_webhook_order(sale, sale.created + WEBHOOK_SECONDS))


@contextlib.contextmanager
def open_world(shop: UniformShop) -> Iterator[tuple[World, MeteredTable]]:
    """Yield a world that holds the shop, and its table, which counts from now on."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        table = MeteredTable(MemoryDynamoDB(), TABLE)
        table.add_table(TABLE)
        stripe.store.add_all(shop.sales())
        for order in shop.webhook_orders():
            table.put_item(TableName=TABLE, Item=order)
        world = World(stripe, table)
        table.reset()
        try:
            yield world, table
        finally:
            world.close()
