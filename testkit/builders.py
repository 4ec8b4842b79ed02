"""Builders of test data: a Stripe session, a line item, a queue message, and a fake clock."""

from dataclasses import replace
from typing import Any

from recon.domain.message import SessionMessage
from recon.retry import Deadline
from testkit.doubles.faults import Killed

NOW = 1_732_672_800  # 2024-11-27T02:00:00Z
RUN = "20241127T020000Z"
TABLE = "commerce"


def a_session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_test_a1B2c3D4",
        "object": "checkout.session",
        "created": NOW - 3600,
        "status": "complete",
        "mode": "payment",
        "livemode": False,
        "payment_status": "paid",
        "amount_total": 4999,
        "amount_subtotal": 4599,
        "currency": "EUR",
        "payment_intent": "pi_1",
        "customer": "cus_1",
        "customer_details": {"email": "a+b@example.com", "phone": "+491701234567", "name": "A B"},
        "collected_information": {
            "shipping_details": {
                "name": "A B",
                "address": {
                    "line1": "Weg 1",
                    "line2": None,
                    "city": "Ulm",
                    "state": "",
                    "postal_code": "89073",
                    "country": "DE",
                },
            }
        },
        "metadata": {"userId": "user-1", "quoteSignature": "sig", "campaign": "autumn"},
    } | changes


def a_line(**changes: Any) -> dict[str, Any]:
    return {
        "id": "li_1",
        "description": "A mug",
        "quantity": 2,
        "currency": "eur",
        "amount_total": 4999,
        "amount_subtotal": 4600,
        "price": {
            "id": "price_1",
            "currency": "eur",
            "unit_amount": 2300,
            "product": {
                "id": "prod_1",
                "metadata": {"sku": "MUG", "collection": "c1", "variant_id": "v1", "color": "red"},
            },
        },
    } | changes


def a_detailed_session(**changes: Any) -> dict[str, Any]:
    """Return a session in which every part that an order can have is filled."""
    address = {
        "line1": "Ring 9",
        "line2": "",
        "city": "Bonn",
        "state": "",
        "postal_code": "53111",
        "country": "DE",
    }
    return (
        a_session()
        | {
            "amount_total": 6420,
            "amount_subtotal": 6000,
            "total_details": {"amount_discount": 1200, "amount_shipping": 700, "amount_tax": 920},
            "shipping_cost": {
                "amount_total": 700,
                "shipping_rate": {"id": "shr_express", "display_name": "Express"},
            },
            "discounts": [
                {"coupon": None, "promotion_code": {"id": "promo_1", "code": "AUTUMN20"}},
                {"coupon": "co_1", "promotion_code": None},
            ],
            "custom_fields": [
                _custom_field("engraving", "Engraving", "text", value="For Jane"),
                _custom_field("age", "Age", "numeric", value="7"),
                _custom_field(
                    "size", "Size", "dropdown", value="l", options=[{"label": "Large", "value": "l"}]
                ),
                _custom_field("note", "Note", "text", value=None),
            ],
            "customer_details": a_session()["customer_details"]
            | {
                "business_name": "A B GmbH",
                "address": address,
                "tax_ids": [{"type": "eu_vat", "value": "DE123456789"}, {"type": "unknown", "value": None}],
            },
            "presentment_details": {"presentment_amount": 7150, "presentment_currency": "USD"},
            "payment_intent": {
                "id": "pi_1",
                "latest_charge": {"id": "ch_1", "created": NOW - 3000, "balance_transaction": "txn_1"},
            },
            "client_reference_id": "cart-7",
            "subscription": "sub_1",
            "invoice": "in_1",
            "payment_link": "plink_1",
            "recovered_from": "cs_test_expired",
        }
        | changes
    )


def _custom_field(key: str, label: str, kind: str, **answer: Any) -> dict[str, Any]:
    return {"key": key, "label": {"type": "custom", "custom": label}, "type": kind, kind: answer}


def a_detailed_line(**changes: Any) -> dict[str, Any]:
    """Return a line in which every part that an item can have is filled, but for a price with decimals."""
    price = {
        "nickname": "Size L",
        "lookup_key": "mug_l",
        "unit_amount_decimal": "2300",
        "metadata": {"size": "L", "gift": "no"},
    }
    line = a_line(metadata={"gift": "yes"}, amount_discount=1200, amount_tax=920)
    return line | {"price": line["price"] | price} | changes


def a_message(**changes: Any) -> SessionMessage:
    message = SessionMessage(
        run_id=RUN,
        session_id="cs_1",
        user_id="a+b@example.com",
        created=NOW - 3600,
        amount_total=4999,
        currency="eur",
        payment_status="paid",
        mode="payment",
        livemode=False,
        event_ids=("evt_1",),
    )
    return replace(message, **changes)


class FakeTime:
    """A clock that only `sleep` advances. A sleep past `limit` raises Killed, like a Lambda timeout."""

    limit = float("inf")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.now > self.limit:
            self.now = self.limit
            raise Killed

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(self.now + seconds, self, self.sleep)
