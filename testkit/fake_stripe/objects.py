"""Stripe objects with every field of their types, built from specs when they are served.

Fields without content are null or empty. A contract test compares them with the types of the pinned stripe
library. It lists, with reasons, the few fields that are absent: parts that Stripe sends only if they were
set, and `line_items` unless it is expanded.
"""

from collections.abc import Sequence
from typing import Final

from testkit.fake_stripe.expansion import NOTHING, ExpandedFields
from testkit.fake_stripe.overrides import merge
from testkit.fake_stripe.payments import payment_intent_object, presentment_details
from testkit.fake_stripe.promotions import session_discounts
from testkit.fake_stripe.session_details import (
    collected_information,
    currency_conversion,
    custom_field,
    customer_details,
    shipping_cost,
    shipping_details,
    shipping_options,
    total_details,
)
from testkit.fake_stripe.specs import LineSpec, SessionSpec, stable_id
from testkit.fake_stripe.store import ASYNC_PAID, EventSpec
from testkit.shapes import JsonObject

API_VERSION: Final = "2026-10-28.endive"
ACCOUNT: Final = "acct_1FakeStripeSandbox"

# Stripe embeds only the first lines in an expanded session and sets `has_more` if there are others.
EMBEDDED_LINES: Final = 10

_SESSION_LIFETIME_SECONDS: Final = 24 * 3600
# Prices and products exist before any session sells them.
_CATALOGUE_CREATED: Final = 1_577_836_800

# The fields that are the same for every session. They are shared between responses and never changed.
_SESSION: Final[JsonObject] = {
    "adaptive_pricing": {"enabled": False},
    "after_expiration": None,
    "allow_promotion_codes": None,
    "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
    "billing_address_collection": None,
    "branding_settings": {
        "background_color": "#ffffff",
        "border_style": "rounded",
        "button_color": "#0074d4",
        "display_name": "Example Shop",
        "font_family": "default",
        "icon": None,
        "logo": None,
    },
    "cancel_url": "https://shop.example.com/cancel",
    "client_secret": None,
    "consent": None,
    "consent_collection": None,
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "customer_account": None,
    "customer_email": None,
    "excluded_payment_method_types": [],
    "integration_identifier": None,
    "invoice_creation": None,
    "livemode": False,
    "locale": None,
    "managed_payments": {"enabled": False},
    "name_collection": {
        "business": {"enabled": False, "optional": False},
        "individual": {"enabled": False, "optional": False},
    },
    "object": "checkout.session",
    "optional_items": [],
    "origin_context": None,
    "payment_method_collection": "if_required",
    "payment_method_configuration_details": {"id": "pmc_1FakeStripeSandbox", "parent": None},
    "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
    "payment_method_types": ["card"],
    "allowed_payment_method_types": None,
    "permissions": None,
    "phone_number_collection": {"enabled": True},
    "redirect_on_completion": "always",
    "return_url": "https://shop.example.com/return",
    "saved_payment_method_options": {
        "allow_redisplay_filters": ["always"],
        "payment_method_remove": "disabled",
        "payment_method_save": None,
    },
    "shipping_address_collection": None,
    "submit_type": None,
    "success_url": "https://shop.example.com/success",
    "tax_id_collection": {"enabled": False, "required": "never"},
    "ui_mode": "hosted_page",
    "wallet_options": None,
}

_PRICE: Final[JsonObject] = {
    "active": True,
    "billing_scheme": "per_unit",
    "created": _CATALOGUE_CREATED,
    "currency_options": {},
    "custom_unit_amount": None,
    "livemode": False,
    "object": "price",
    "tax_behavior": "unspecified",
    "tiers": [],
    "tiers_mode": None,
    "transform_quantity": None,
}

_MONTHLY: Final[JsonObject] = {
    "interval": "month",
    "interval_count": 1,
    "meter": None,
    "trial_period_days": None,
    "usage_type": "licensed",
}

_PRODUCT: Final[JsonObject] = {
    "active": True,
    "created": _CATALOGUE_CREATED,
    "default_price": None,
    "description": None,
    "images": [],
    "livemode": False,
    "marketing_features": [],
    "object": "product",
    "package_dimensions": None,
    "shippable": True,
    "statement_descriptor": None,
    "tax_code": None,
    "tax_details": None,
    "type": "good",
    "unit_label": None,
    "updated": _CATALOGUE_CREATED,
    "url": None,
}


def session_object(spec: SessionSpec, expand: ExpandedFields = NOTHING) -> JsonObject:
    """Return a `checkout.session`. It has `line_items` only if that is expanded."""
    built: JsonObject = {
        **_SESSION,
        "id": spec.id,
        "amount_subtotal": spec.amount_subtotal,
        "amount_total": spec.amount_total,
        "client_reference_id": spec.details.client_reference_id,
        "collected_information": collected_information(spec),
        "created": spec.created,
        "currency": spec.currency,
        "currency_conversion": currency_conversion(spec),
        "custom_fields": [custom_field(asked) for asked in spec.details.custom_fields],
        "customer": spec.customer,
        "customer_creation": "if_required" if spec.mode == "payment" else None,
        "customer_details": customer_details(spec),
        "discounts": session_discounts(spec, expand.get("discounts", NOTHING)),
        "expires_at": spec.created + _SESSION_LIFETIME_SECONDS,
        "metadata": dict(spec.metadata),
        "mode": spec.mode,
        "payment_link": spec.details.payment_link,
        "payment_status": spec.payment_status,
        **presentment_details(spec),
        "recovered_from": spec.details.recovered_from,
        "shipping_cost": shipping_cost(spec, expand.get("shipping_cost", NOTHING)),
        "shipping_options": shipping_options(spec),
        "status": spec.status,
        "total_details": total_details(spec, expand.get("total_details", NOTHING)),
        "url": f"https://checkout.stripe.com/c/pay/{spec.id}" if spec.status == "open" else None,
        **_payment_references(spec, expand),
    }
    if spec.shipping is not None and spec.shipping.place == "shipping_details":
        built["shipping_details"] = shipping_details(spec.shipping)
    if "line_items" in expand:
        within = expand["line_items"].get("data", NOTHING)
        shown = item_objects(spec, range(min(len(spec.lines), EMBEDDED_LINES)), within)
        built["line_items"] = list_object(
            shown, line_items_url(spec.id), has_more=len(spec.lines) > EMBEDDED_LINES
        )
    return merge(built, spec.objects.get("session"))


def item_objects(
    spec: SessionSpec, positions: Sequence[int], expand: ExpandedFields = NOTHING
) -> list[JsonObject]:
    """Return the `item` objects (line items) at these positions of a session."""
    given = dict(enumerate(spec.objects.get("line_items", ())))
    return [
        merge(_item_object(spec, position, expand.get("price", NOTHING)), given.get(position))
        for position in positions
    ]


def event_object(event: EventSpec, spec: SessionSpec) -> JsonObject:
    """Return an `event` with its session, which was unpaid at completion if it was paid later."""
    session = session_object(spec)
    if event.type != ASYNC_PAID and spec.async_paid_at is not None:
        session["payment_status"] = "unpaid"
    return {
        "id": event.id,
        "account": ACCOUNT,
        "api_version": API_VERSION,
        "context": ACCOUNT,
        "created": event.created,
        "data": {"object": session, "previous_attributes": {}},
        "livemode": False,
        "object": "event",
        "pending_webhooks": 0 if spec.event_delivered else 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event.type,
    }


def list_object(data: list[JsonObject], url: str, *, has_more: bool) -> JsonObject:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def line_items_url(session_id: str) -> str:
    return f"/v1/checkout/sessions/{session_id}/line_items"


def _payment_references(spec: SessionSpec, expand: ExpandedFields) -> JsonObject:
    """Return the object that a session's mode creates, and null for the others."""
    payment_intent: str | JsonObject | None = spec.payment_intent
    if payment_intent is not None and "payment_intent" in expand:
        payment_intent = payment_intent_object(spec, expand["payment_intent"])
    subscribed = spec.mode == "subscription" and spec.status == "complete"
    return {
        "invoice": spec.invoice,
        "payment_intent": payment_intent,
        "setup_intent": stable_id("seti", spec.id) if spec.mode == "setup" else None,
        "subscription": stable_id("sub", spec.id) if subscribed else None,
    }


def _item_object(spec: SessionSpec, position: int, expand_price: ExpandedFields) -> JsonObject:
    line = spec.lines[position]
    return {
        "id": spec.line_id(position),
        "adjustable_quantity": None,
        "amount_discount": line.discount,
        "amount_subtotal": line.amount_subtotal,
        "amount_tax": line.tax,
        "amount_total": line.amount_total,
        "currency": spec.line_currency,
        "description": line.description,
        "discounts": [],
        "metadata": dict(line.metadata),
        "object": "item",
        "price": _price_object(spec, line, expand_price) if line.has_price else None,
        "quantity": line.quantity,
        "taxes": [],
    }


def _price_object(spec: SessionSpec, line: LineSpec, expand: ExpandedFields) -> JsonObject:
    recurring = spec.mode == "subscription"
    price = line.price
    unit_amount = line.unit_amount if price.unit_amount is None else price.unit_amount
    return {
        **_PRICE,
        "id": line.price_id(spec.line_currency),
        "currency": price.currency or spec.line_currency,
        "lookup_key": price.lookup_key,
        "metadata": dict(price.metadata),
        "nickname": price.nickname,
        "product": product_object(line) if "product" in expand else line.product_id,
        "recurring": _MONTHLY if recurring else None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": None if price.decimal else unit_amount,
        "unit_amount_decimal": price.decimal or str(unit_amount),
    }


def product_object(line: LineSpec) -> JsonObject:
    """Return a product. Of a deleted one, Stripe returns only that it existed."""
    if line.product == "deleted":
        return {"id": line.product_id, "object": "product", "deleted": True}
    return {
        **_PRODUCT,
        "id": line.product_id,
        "metadata": dict(line.product_metadata),
        "name": line.description or "Product",
    }
