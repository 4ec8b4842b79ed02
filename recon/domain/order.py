"""Pure: build the order snapshot from a Stripe session and its line items.

Shapes of Stripe's objects: https://docs.stripe.com/api/checkout/sessions/object and
https://docs.stripe.com/api/checkout/sessions/line_items.
"""

import re
from dataclasses import dataclass

from recon.domain.order_details import (
    build_custom_fields,
    build_customer,
    build_discounts,
    build_presentment,
    build_shipping_address,
    build_shipping_method,
    build_totals,
    find_paid_at,
)
from recon.domain.order_items import build_item
from recon.domain.order_keys import own_sort_key, partition_key
from recon.domain.stripe_objects import Json
from recon.domain.stripe_values import (
    find_object,
    find_reference,
    find_text,
    is_storable,
    present,
    read_currency,
    read_integer,
    read_object,
    read_reference,
    read_text,
)
from recon.errors import MalformedSession
from recon.timestamps import DAY, to_iso

SOURCE = "nightly_sync"
_NOT_ALPHANUMERIC = re.compile(r"[^a-zA-Z0-9]")
_USER_ID_KEYS = ("userId", "user_id")
_QUOTE_KEYS = ("quoteSignature", "quote_signature")


@dataclass(frozen=True)
class SnapshotContext:
    """The run that writes a snapshot, the time (epoch seconds) and the shop's settings."""

    run_id: str
    now: int
    number_prefix: str = "BC"
    ttl_days: int = 0


def build_order(
    session: Json,
    line_items: list[Json],
    user_id: str,
    context: SnapshotContext,
    *,
    raw_user_id: str | None = None,
    charge: Json | None = None,
) -> Json:
    """Build the order snapshot with its keys; absent values are omitted.

    `user_id` is the cleaned one, `raw_user_id` the one before cleaning and lower-casing. `charge` is the
    charge that paid the session; by default the latest one of its payment intent, if that is expanded.
    Amounts are integers in the currency's smallest unit. Raise MalformedSession that names the field if
    Stripe's response has a wrong value in money or in what every order needs. A wrong value in any other
    detail is omitted.
    """
    created = read_integer(session, "created")
    session_id = read_text(session, "id")
    metadata = read_object(session, "metadata")
    metadata = {key: read_text(metadata, key, null=True, parent="metadata.") for key in metadata}
    now = to_iso(context.now)
    if charge is None:
        charge = find_object(find_object(session, "payment_intent"), "latest_charge")
    return present(
        {
            "PK": partition_key(user_id),
            "SK": own_sort_key(created, session_id),
            "orderId": session_id,
            "orderNumber": order_number(session_id, context.number_prefix),
            "userId": user_id,
            "rawUserId": _changed_user_id(raw_user_id, user_id),
            "status": "completed",
            "amount": read_integer(session, "amount_total", null=True),
            "amountSubtotal": read_integer(session, "amount_subtotal", null=True),
            **build_totals(session),
            "currency": read_currency(session, "currency"),
            "presentment": build_presentment(session),
            "items": [build_item(line) for line in line_items],
            "itemCount": len(line_items),
            "createdAt": _format_created(created),
            "paidAt": find_paid_at(charge),
            "updatedAt": now,
            "completedAt": now,
            "syncedAt": now,
            "syncRunId": context.run_id,
            "source": SOURCE,
            "stripeSessionId": session_id,
            "stripeMode": find_text(session, "mode"),
            "stripePaymentIntentId": read_reference(session, "payment_intent"),
            "stripeCustomerId": read_reference(session, "customer"),
            "stripeSubscriptionId": find_reference(session, "subscription"),
            "stripeInvoiceId": find_reference(session, "invoice"),
            "stripePaymentLinkId": find_reference(session, "payment_link"),
            "stripePaymentStatus": read_text(session, "payment_status"),
            "stripeDiscounts": build_discounts(session),
            "recoveredFrom": find_reference(session, "recovered_from"),
            "clientReferenceId": find_text(session, "client_reference_id"),
            **build_customer(session),
            "shippingAddress": build_shipping_address(session),
            "shippingMethod": build_shipping_method(session),
            "customFields": build_custom_fields(session),
            "quoteSignature": next((metadata[key] for key in _QUOTE_KEYS if metadata.get(key)), None),
            "metadata": present(_without(metadata, (*_USER_ID_KEYS, *_QUOTE_KEYS))) or None,
            "expiresAt": context.now + context.ttl_days * DAY if context.ttl_days else None,
        }
    )


def without_item_metadata(order: Json) -> Json:
    """Return the order without the metadata of its items, which is the only part that can be that large."""
    return order | {"items": [_without(item, ("metadata",)) for item in order["items"]]}


def order_number(session_id: str, prefix: str) -> str:
    """Return the prefix, a dash, and the alphanumerics of the id's last 8 characters in upper case."""
    return f"{prefix}-{_NOT_ALPHANUMERIC.sub('', session_id[-8:]).upper()}"


def _changed_user_id(raw: str | None, cleaned: str) -> str | None:
    """Return the raw user id if cleaning or lower-casing changed it."""
    return raw if raw and raw != cleaned and is_storable(raw) else None


def _format_created(epoch: int) -> str:
    try:
        return to_iso(epoch)
    except (ValueError, OverflowError, OSError) as exc:
        raise MalformedSession("created is not a valid time") from exc


def _without(fields: Json, names: tuple[str, ...]) -> Json:
    return {name: value for name, value in fields.items() if name not in names}
