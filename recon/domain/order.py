"""Pure: build the order snapshot from a Stripe session and its line items.

Shapes of Stripe's objects: https://docs.stripe.com/api/checkout/sessions/object and
https://docs.stripe.com/api/checkout/sessions/line_items.
"""

import re
from dataclasses import dataclass
from typing import Any

from recon.domain.stripe_objects import MAX_NUMBER, Json
from recon.errors import MalformedSession
from recon.timestamps import DAY, to_iso

SOURCE = "nightly_sync"
MAX_USER_ID = 256  # the webhook truncates there, and both must produce the same key
_NOT_IN_USER_ID = re.compile(r"[^a-zA-Z0-9@.\-_]")
_NOT_ALPHANUMERIC = re.compile(r"[^a-zA-Z0-9]")
_USER_ID_KEYS = ("userId", "user_id")
_QUOTE_KEYS = ("quoteSignature", "quote_signature")
_ADDRESS_FIELDS = {
    "line1": "line1",
    "line2": "line2",
    "city": "city",
    "state": "state",
    "postal_code": "postalCode",
    "country": "country",
}
_PRODUCT_METADATA = {"sku": "sku", "collection": "collectionId", "variant_id": "variantId", "color": "color"}


@dataclass(frozen=True)
class SnapshotContext:
    """The run that writes a snapshot, the time (epoch seconds) and the shop's settings."""

    run_id: str
    now: int
    number_prefix: str = "BC"
    ttl_days: int = 0


def build_order(session: Json, line_items: list[Json], user_id: str, context: SnapshotContext) -> Json:
    """Build the order snapshot with its keys; absent values are omitted.

    `user_id` is the cleaned one. Amounts are integers in the currency's smallest unit. Raise
    MalformedSession that names the field if Stripe's response has a wrong value.
    """
    created = _integer(session, "created")
    session_id = _text(session, "id")
    customer = _object(session, "customer_details")
    metadata = _object(session, "metadata")
    metadata = {key: _text(metadata, key, null=True, parent="metadata.") for key in metadata}
    now = to_iso(context.now)
    return _present(
        {
            "PK": partition_key(user_id),
            "SK": f"ORDER#{created}#{session_id}",
            "orderId": session_id,
            "orderNumber": order_number(session_id, context.number_prefix),
            "userId": user_id,
            "status": "completed",
            "amount": _integer(session, "amount_total", null=True),
            "amountSubtotal": _integer(session, "amount_subtotal", null=True),
            "currency": _lower(_text(session, "currency", null=True)),
            "items": [_item(line) for line in line_items],
            "itemCount": len(line_items),
            "createdAt": _format_created(created),
            "updatedAt": now,
            "completedAt": now,
            "syncedAt": now,
            "syncRunId": context.run_id,
            "source": SOURCE,
            "stripeSessionId": session_id,
            "stripePaymentIntentId": _reference_id(session, "payment_intent"),
            "stripeCustomerId": _reference_id(session, "customer"),
            "stripePaymentStatus": _text(session, "payment_status"),
            "customerEmail": _text(customer, "email", null=True)
            or _text(session, "customer_email", null=True),
            "customerPhone": _text(customer, "phone", null=True),
            "shippingAddress": _shipping(session),
            "quoteSignature": next((metadata[key] for key in _QUOTE_KEYS if metadata.get(key)), None),
            "metadata": _present(_without(metadata, (*_USER_ID_KEYS, *_QUOTE_KEYS))) or None,
            "expiresAt": context.now + context.ttl_days * DAY if context.ttl_days else None,
        }
    )


def order_number(session_id: str, prefix: str) -> str:
    """Return the prefix, a dash, and the alphanumerics of the id's last 8 characters in upper case."""
    return f"{prefix}-{_NOT_ALPHANUMERIC.sub('', session_id[-8:]).upper()}"


def partition_key(user_id: str) -> str:
    return f"USER#{user_id}"


def clean_user_id(raw: str) -> str:
    """Clean a user id by the webhook's rule, so that both use the same key."""
    return _NOT_IN_USER_ID.sub("", raw)[:MAX_USER_ID]


def find_raw_user_id(session: Json) -> str | None:
    """Return the first of `metadata.userId`, `metadata.user_id` and the e-mail that is valid.

    A candidate that is not a string, or is empty after cleaning, counts as absent, as in the webhook.
    """
    metadata, customer = session.get("metadata"), session.get("customer_details")
    candidates = [metadata.get(key) for key in _USER_ID_KEYS] if isinstance(metadata, dict) else []
    if isinstance(customer, dict):
        candidates.append(customer.get("email"))
    candidates.append(session.get("customer_email"))
    return next((c for c in candidates if isinstance(c, str) and clean_user_id(c)), None)


def _item(line: Json) -> Json:
    price = _object(line, "price")
    product = price.get("product")
    details = product if isinstance(product, dict) else {}
    # A deleted product expands to its id and `deleted` only; the line's own fields remain.
    metadata = _object(details, "metadata")
    return _present(
        {
            "name": _text(line, "description", null=True),
            "quantity": _integer(line, "quantity", null=True),
            "unitPrice": _integer(price, "unit_amount", null=True),
            "currency": _lower(_text(line, "currency", null=True)),
            "amountTotal": _integer(line, "amount_total", null=True),
            "amountSubtotal": _integer(line, "amount_subtotal", null=True),
            "stripePriceId": _text(price, "id", null=True),
            "stripeProductId": product if isinstance(product, str) else _text(details, "id", null=True),
        }
        | {ours: _text(metadata, theirs, null=True) for theirs, ours in _PRODUCT_METADATA.items()}
    )


def _shipping(session: Json) -> Json | None:
    """Return the shipping address.

    Stripe moved it from `shipping_details` to `collected_information` in 2025; old sessions keep it.
    """
    collected = _object(session, "collected_information")
    details = _object(collected, "shipping_details") or _object(session, "shipping_details")
    address = _object(details, "address")
    lines = {ours: _text(address, theirs, null=True) for theirs, ours in _ADDRESS_FIELDS.items()}
    return _present({"name": _text(details, "name", null=True)} | lines) or None


def _reference_id(session: Json, name: str) -> str | None:
    """Return the id of a reference, expanded or not."""
    value = session.get(name)
    if isinstance(value, dict):
        value = value.get("id")
        if not isinstance(value, str) or not value:
            raise MalformedSession(f"{name} must have an id")
        return value
    reference: str | None = _text(session, name, null=True)
    return reference


def _format_created(epoch: int) -> str:
    try:
        return to_iso(epoch)
    except (ValueError, OverflowError, OSError) as exc:
        raise MalformedSession("created is not a valid time") from exc


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _without(fields: Json, names: tuple[str, ...]) -> Json:
    return {name: value for name, value in fields.items() if name not in names}


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None


def _object(source: Json, name: str) -> Json:
    value = source.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedSession(f"{name} must be an object")
    return value


def _text(source: Json, name: str, *, null: bool = False, parent: str = "") -> Any:  # noqa: ANN401 - str, or None where null is allowed
    value = source.get(name)
    if null and value in (None, ""):
        return None
    if isinstance(value, str) and value:
        return value
    raise MalformedSession(f"{parent}{name} must be a string")


def _integer(source: Json, name: str, *, null: bool = False) -> Any:  # noqa: ANN401 - int, or None where null is allowed
    value = source.get(name)
    # type() instead of isinstance(), which accepts a boolean as an integer.
    if (value is None and null) or (type(value) is int and abs(value) < MAX_NUMBER):
        return value
    raise MalformedSession(f"{name} must be an integer")
