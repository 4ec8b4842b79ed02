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
        "amount_subtotal": 4599,
        "price": {
            "id": "price_1",
            "unit_amount": 2300,
            "product": {
                "id": "prod_1",
                "metadata": {"sku": "MUG", "collection": "c1", "variant_id": "v1", "color": "red"},
            },
        },
    } | changes


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
