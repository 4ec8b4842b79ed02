"""Pure: the items of an order snapshot, one for each line of a Stripe session.

Shapes: https://docs.stripe.com/api/checkout/sessions/line_items and https://docs.stripe.com/api/prices/object.
"""

import re

from recon.domain.stripe_objects import Json
from recon.domain.stripe_values import (
    find_text,
    find_texts,
    present,
    read_currency,
    read_integer,
    read_object,
    read_text,
)
from recon.errors import MalformedSession

_PRODUCT_METADATA = {"sku": "sku", "collection": "collectionId", "variant_id": "variantId", "color": "color"}
_DECIMAL = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?")


def build_item(line: Json) -> Json:
    """Build the item of a line without absent values. Raise MalformedSession that names a wrong field."""
    price = read_object(line, "price")
    product = price.get("product")
    details = product if isinstance(product, dict) else {}
    # A deleted product expands to its id and `deleted` only; the line's own fields remain.
    metadata = read_object(details, "metadata")
    currency = read_currency(line, "currency")
    return present(
        {
            "name": read_text(line, "description", null=True) or find_text(details, "name"),
            "quantity": read_integer(line, "quantity", null=True),
            "unitPrice": _find_unit_price(line, price),
            "unitPriceDecimal": _find_unit_price_decimal(line, price),
            "currency": currency,
            "amountTotal": read_integer(line, "amount_total", null=True),
            "amountSubtotal": read_integer(line, "amount_subtotal", null=True),
            "amountDiscount": read_integer(line, "amount_discount", null=True) or None,
            "amountTax": read_integer(line, "amount_tax", null=True) or None,
            "stripePriceId": read_text(price, "id", null=True),
            "stripeProductId": product if isinstance(product, str) else read_text(details, "id", null=True),
            "variant": find_text(price, "nickname"),
            "lookupKey": find_text(price, "lookup_key"),
            "metadata": find_texts(price, "metadata") | find_texts(line, "metadata") or None,
        }
        | {ours: read_text(metadata, theirs, null=True) for theirs, ours in _PRODUCT_METADATA.items()}
    )


def _find_unit_price(line: Json, price: Json) -> int | None:
    """Return the price of one piece in the line's currency, or None if it is not a whole number.

    The price's own `unit_amount` may be in another currency, or be the price of ten pieces
    (`transform_quantity`). Otherwise it is the subtotal divided by the quantity, unless the quantity is 0.
    """
    unit_amount: int | None = read_integer(price, "unit_amount", null=True)
    quantity = read_integer(line, "quantity", null=True)
    subtotal = read_integer(line, "amount_subtotal", null=True)
    if quantity is None or subtotal is None:
        return None
    if unit_amount is not None and unit_amount * quantity == subtotal and _is_in_line_currency(line, price):
        return unit_amount
    if quantity == 0 or subtotal % quantity:
        return None
    return int(subtotal // quantity)


def _find_unit_price_decimal(line: Json, price: Json) -> str | None:
    """Return the price of one piece with decimals, of a price that is no whole number."""
    decimal: str | None = read_text(price, "unit_amount_decimal", null=True)
    if decimal is not None and not _DECIMAL.fullmatch(decimal):
        raise MalformedSession("unit_amount_decimal must be a decimal number")
    is_whole = price.get("unit_amount") is not None
    return None if is_whole or not _is_in_line_currency(line, price) else decimal


def _is_in_line_currency(line: Json, price: Json) -> bool:
    currency = read_currency(line, "currency")
    return currency is not None and read_currency(price, "currency") == currency
