"""The table's records of a session, worked out from its spec without the code under test.

Every shop of every test takes its webhook orders, event records and user ids from here.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from testkit.fake_stripe.specs import LineSpec, SessionSpec, ShippingSpec
from testkit.shop.details import find_unit_price, item_details, order_details, payment_details

type Record = dict[str, Any]

_EVENT_RECORD_SECONDS: Final = 30 * 24 * 3600
_MAX_USER_ID: Final = 256
_CREATED_SECONDS_AGO: Final = 3600


def build_session(name: str, now: int, /, **changes: Any) -> SessionSpec:
    """Return a paid session `cs_test_<name>` of the user of that name, opened an hour before `now`."""
    fields: Record = {"created": now - _CREATED_SECONDS_AGO, "metadata": {"userId": name}} | changes
    return SessionSpec(f"cs_test_{name}", **fields)


def user_id(spec: SessionSpec) -> str | None:
    """Return the user id: the first candidate that has a letter or digit after the webhook's cleaning."""
    email = spec.email if spec.has_customer_details else None
    candidates = (spec.metadata.get("userId"), spec.metadata.get("user_id"), email)
    cleaned = (clean_user_id(candidate or "") for candidate in candidates)
    return next((user for user in cleaned if re.search("[a-zA-Z0-9]", user)), None)


def clean_user_id(raw: str) -> str:
    """Return a user id without the characters that the webhook removes."""
    return re.sub(r"[^a-zA-Z0-9@.\-_]", "", raw)[:_MAX_USER_ID]


def raw_user_id(spec: SessionSpec) -> str | None:
    """Return the candidate that the user id was cleaned from."""
    email = spec.email if spec.has_customer_details else None
    candidates = (spec.metadata.get("userId"), spec.metadata.get("user_id"), email)
    return next((raw for raw in candidates if re.search("[a-zA-Z0-9]", raw or "")), None)


def build_webhook_order(spec: SessionSpec, moment: int, **changes: Any) -> Record:
    """Return the order as the webhook writes it at `moment`: dated by that moment, without a `source`."""
    dated = {"SK": f"ORDER#{moment}#{spec.id}", "updatedAt": _iso(moment), "completedAt": _iso(moment)}
    return _order(spec) | dated | changes


def build_recovered_order(spec: SessionSpec) -> Record:
    """Return the order that the sync must write, without the attributes that depend on time and run."""
    order = _order(spec) | {"SK": f"ORDER#{spec.created}#{spec.id}", "source": "nightly_sync"}
    items = [item | item_details(line) for item, line in zip(order["items"], spec.lines, strict=True)]
    raw = raw_user_id(spec)
    details = (
        order_details(spec) | payment_details(spec) | {"rawUserId": raw if raw != order["userId"] else None}
    )
    return _without_nones(order | details | {"items": items})


def build_event_record(
    event_id: str,
    session_id: str,
    moment: int,
    *,
    order_number: str | None,
    event_type: str = "checkout.session.completed",
) -> Record:
    """Return the webhook's record of a handled event; `order_number` is None if it wrote no order."""
    return _without_nones(
        {
            "PK": f"EVENT#{event_id}",
            "SK": "METADATA",
            "eventType": event_type,
            "sessionId": session_id,
            "status": "processed",
            "orderCreated": order_number is not None,
            "orderNumber": order_number,
            "processedAt": _iso(moment),
            "expiresAt": moment + _EVENT_RECORD_SECONDS,
        }
    )


def _order(spec: SessionSpec) -> Record:
    user = user_id(spec)
    if user is None:
        raise ValueError(f"{spec.id} has no user, so it has no order")
    return _without_nones(
        {
            "PK": f"USER#{user}",
            "orderId": spec.id,
            "orderNumber": "BC-" + re.sub(r"[^A-Za-z0-9]", "", spec.id[-8:]).upper(),
            "userId": user,
            "status": "completed",
            "amount": spec.amount_total,
            "amountSubtotal": spec.amount_subtotal,
            "currency": spec.currency,
            "items": [_order_item(line, spec.line_currency) for line in spec.lines],
            "itemCount": len(spec.lines),
            "createdAt": _iso(spec.created),
            "stripeSessionId": spec.id,
            "stripePaymentIntentId": spec.payment_intent,
            "stripeCustomerId": spec.customer,
            "stripePaymentStatus": spec.payment_status,
            "customerEmail": spec.email if spec.has_customer_details else None,
            "customerPhone": spec.phone if spec.has_customer_details else None,
            "shippingAddress": _address(spec.shipping) if spec.shipping else None,
            "quoteSignature": spec.metadata.get("quoteSignature") or spec.metadata.get("quote_signature"),
            "metadata": _other_metadata(spec.metadata) or None,
        }
    )


def _order_item(line: LineSpec, currency: str) -> Record:
    known = line.product_metadata if line.has_price and line.product == "active" else {}
    return _without_nones(
        {
            "name": line.description or ("Product" if line.has_price and line.product == "active" else None),
            "quantity": line.quantity,
            "unitPrice": find_unit_price(line),
            "currency": currency,
            "amountTotal": line.amount_total,
            "amountSubtotal": line.amount_subtotal,
            "stripePriceId": line.price_id(currency) if line.has_price else None,
            "stripeProductId": line.product_id if line.has_price else None,
            "sku": known.get("sku"),
            "collectionId": known.get("collection"),
            "variantId": known.get("variant_id"),
            "color": known.get("color"),
        }
    )


def _address(shipping: ShippingSpec) -> Record:
    return _without_nones(
        {
            "name": shipping.name,
            "line1": shipping.line1,
            "line2": shipping.line2,
            "city": shipping.city,
            "state": shipping.state,
            "postalCode": shipping.postal_code,
            "country": shipping.country,
        }
    )


def _other_metadata(metadata: Mapping[str, str]) -> Record:
    read = {"userId", "user_id", "quoteSignature", "quote_signature"}
    return {name: value for name, value in metadata.items() if name not in read}


def _without_nones(fields: Record) -> Record:
    return {name: value for name, value in fields.items() if value is not None}


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
