"""Shops with their own layouts: their tables, what their code writes, and the `shape.toml` of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from testkit.fake_stripe.specs import SessionSpec
from testkit.shop.records import Record

INDEX: Final = "StripeSessionIndex"
_STATUS: Final = 'done = { status = ["PAID"] }\nopen = { status = ["PENDING"] }\n'


@dataclass(frozen=True)
class ShopLayout:
    """A layout. `build` returns the keys of a session's order.

    With `waits`, the shop makes the order as PENDING before the checkout, and its webhook sets it to PAID.
    Otherwise the webhook makes it. `lines` are those of `shape.toml` after the table.
    """

    what: str
    keys: tuple[str, ...]
    build: Callable[[SessionSpec], Record]
    lines: str
    waits: bool = False
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def order(self, spec: SessionSpec, *, is_done: bool = True) -> Record | None:
        """Return the order as the shop has it, after its webhook or before; None if there is none yet."""
        if not is_done and not self.waits:
            return None
        details: Record = {
            "total": spec.amount_total or 0,
            "currency": spec.currency or "usd",
            "stock": "reserved",
        }
        if self.waits:
            details |= {"status": "PAID"} if is_done else {"status": "PENDING", "ttl": spec.created + 86_400}
        return self.build(spec) | details

    def shape(self, table: str) -> str:
        """Return the text of the file."""
        return f'[find]\ntable = "{table}"\n{self.lines}'


def _order_id(spec: SessionSpec) -> str:
    return spec.metadata["orderId"]


LAYOUTS: Final[Mapping[str, ShopLayout]] = MappingProxyType(
    {
        "order-id-in-metadata": ShopLayout(
            "makes the order before the checkout, under its own id, which is in the metadata",
            ("orderId",),
            lambda spec: {"orderId": _order_id(spec)},
            'key = { orderId = "{metadata.orderId}" }\n' + _STATUS,
            waits=True,
        ),
        "user-and-order-id": ShopLayout(
            "the same, with the user as the partition key",
            ("userId", "orderId"),
            lambda spec: {"userId": spec.metadata["userId"], "orderId": f"ORDER#{_order_id(spec)}"},
            'key = { userId = "{metadata.userId}", orderId = "ORDER#{metadata.orderId}" }\n' + _STATUS,
            waits=True,
        ),
        "session-id-as-key": ShopLayout(
            "makes the order in the webhook, with the session's id as the key",
            ("sessionId",),
            lambda spec: {"sessionId": spec.id},
            'key = { sessionId = "{id}" }\n',
        ),
        "payment-intent-as-key": ShopLayout(
            "makes the order in the webhook, with the payment intent in the key",
            ("PK", "SK"),
            lambda spec: {"PK": f"PAYMENT#{spec.payment_intent}", "SK": "ORDER"},
            'key = { PK = "PAYMENT#{payment_intent}", SK = "ORDER" }\n',
        ),
        "index-on-session-id": ShopLayout(
            "makes the order before the checkout, under its own id, and indexes the session's id",
            ("id",),
            lambda spec: {"id": f"own-{spec.created}-{_order_id(spec)}", "stripeSessionId": spec.id},
            f'key = {{ stripeSessionId = "{{id}}" }}\nindex = "{INDEX}"\n' + _STATUS,
            waits=True,
            indexes={INDEX: ("stripeSessionId",)},
        ),
        "session-id-in-an-attribute": ShopLayout(
            "has the session's id in an attribute without an index, which no file can find",
            ("id",),
            lambda spec: {"id": f"own-{spec.created}-x", "stripeSessionId": spec.id},
            "",
        ),
    }
)
