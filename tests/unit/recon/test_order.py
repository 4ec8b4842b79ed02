"""The order snapshot of a Stripe session: every field, and every unusual session."""

import pytest

from recon.domain.order import SnapshotContext, build_order, order_number
from recon.errors import MalformedSession
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, a_line, a_session

CONTEXT = SnapshotContext(RUN, NOW)


def build(lines=None, **changes):
    return build_order(a_session(**changes), [a_line()] if lines is None else lines, "user-1", CONTEXT)


def test_snapshot_has_exactly_the_documented_fields():
    assert build() == {
        "PK": "USER#user-1",
        "SK": f"ORDER#{NOW - 3600}#cs_test_a1B2c3D4",
        "orderId": "cs_test_a1B2c3D4",
        "orderNumber": "BC-A1B2C3D4",
        "userId": "user-1",
        "status": "completed",
        "amount": 4999,
        "amountSubtotal": 4599,
        "currency": "eur",
        "items": [
            {
                "name": "A mug",
                "quantity": 2,
                "unitPrice": 2300,
                "currency": "eur",
                "amountTotal": 4999,
                "amountSubtotal": 4600,
                "stripePriceId": "price_1",
                "stripeProductId": "prod_1",
                "sku": "MUG",
                "collectionId": "c1",
                "variantId": "v1",
                "color": "red",
            }
        ],
        "itemCount": 1,
        "createdAt": "2024-11-27T01:00:00Z",
        "updatedAt": "2024-11-27T02:00:00Z",
        "completedAt": "2024-11-27T02:00:00Z",
        "syncedAt": "2024-11-27T02:00:00Z",
        "syncRunId": "20241127T020000Z",
        "source": "nightly_sync",
        "stripeSessionId": "cs_test_a1B2c3D4",
        "stripeMode": "payment",
        "stripePaymentIntentId": "pi_1",
        "stripeCustomerId": "cus_1",
        "stripePaymentStatus": "paid",
        "customerEmail": "a+b@example.com",
        "customerPhone": "+491701234567",
        "customerName": "A B",
        "shippingAddress": {
            "name": "A B",
            "line1": "Weg 1",
            "city": "Ulm",
            "postalCode": "89073",
            "country": "DE",
        },
        "quoteSignature": "sig",
        "metadata": {"campaign": "autumn"},
    }


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        (
            {"amount_total": None, "amount_subtotal": None, "currency": None},
            {"amount", "amountSubtotal", "currency"},
        ),
        ({"payment_intent": None, "customer": None}, {"stripePaymentIntentId", "stripeCustomerId"}),
        (
            {"collected_information": None, "customer_details": None},
            {"shippingAddress", "customerEmail", "customerPhone", "customerName"},
        ),
        ({"metadata": {"campaign": ""}}, {"metadata", "quoteSignature"}),
    ],
)
def test_absent_values_are_omitted(changes, absent):
    order = build(**changes)
    assert order.keys() == build().keys() - absent
    assert None not in order.values()


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"payment_status": "no_payment_required"}, "stripePaymentStatus", "no_payment_required"),
        ({"amount_total": 0}, "amount", 0),
        ({"amount_total": 10**18 - 1}, "amount", 10**18 - 1),
        ({"currency": "JPY"}, "currency", "jpy"),
        ({"customer_details": None, "customer_email": "c@example.com"}, "customerEmail", "c@example.com"),
        ({"metadata": {"campaign": "", "note": None, "shop": "x"}}, "metadata", {"shop": "x"}),
        ({"payment_intent": {"id": "pi_2"}}, "stripePaymentIntentId", "pi_2"),
        *(
            (
                {
                    "collected_information": None,
                    place: {"name": "C D", "address": {"line1": "Road 2", "city": "Bath"}},
                },
                "shippingAddress",
                {"name": "C D", "line1": "Road 2", "city": "Bath"},
            )
            for place in ("shipping_details", "shipping")
        ),
    ],
)
def test_unusual_value_is_taken_over(changes, field, value):
    assert build(**changes)[field] == value


@pytest.mark.parametrize("key", ["quoteSignature", "quote_signature"])
def test_quote_is_taken_out_of_the_metadata(key):
    order = build(metadata={"user_id": "u", key: "sig"})
    assert order["quoteSignature"] == "sig"
    assert "metadata" not in order


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ("prod_9", {"stripeProductId": "prod_9"}),
        ({"id": "prod_9", "object": "product", "deleted": True}, {"stripeProductId": "prod_9"}),
        ({"id": "prod_9", "metadata": {}}, {"stripeProductId": "prod_9"}),
        (None, {}),
    ],
)
def test_product_without_metadata_leaves_its_fields_out(product, expected):
    (item,) = build([a_line(price={"id": "price_1", "unit_amount": 5, "product": product})])["items"]
    assert {key: item[key] for key in item if key in ("stripeProductId", "sku", "color")} == expected


EMPTY_PRICE = {"id": "", "unit_amount": None, "product": {"id": "", "metadata": {"sku": "", "color": None}}}
AMOUNTS = {"amount_total": None, "amount_subtotal": None}


@pytest.mark.parametrize(
    ("line", "item"),
    [
        (
            a_line(price=None),
            {
                "name": "A mug",
                "quantity": 2,
                "currency": "eur",
                "amountTotal": 4999,
                "amountSubtotal": 4600,
                "unitPrice": 2300,
            },
        ),
        ({"id": "li_1"}, {}),
        ({"description": "", "quantity": None, "currency": "", "price": EMPTY_PRICE} | AMOUNTS, {}),
    ],
)
def test_line_with_absent_values_keeps_the_others(line, item):
    assert build([line])["items"] == [item]


def test_all_lines_are_kept_in_order():
    order = build([a_line(description=f"line {n}") for n in range(250)])
    assert order["itemCount"] == 250
    assert [item["name"] for item in order["items"]] == [f"line {n}" for n in range(250)]


def test_order_expires_some_days_after_it_is_written():
    context = SnapshotContext("run", NOW, ttl_days=30)
    assert build_order(a_session(), [a_line()], "u", context)["expiresAt"] == NOW + 30 * DAY


@pytest.mark.parametrize(
    ("session_id", "number"),
    [("cs_test_a1B2c3D4", "BC-A1B2C3D4"), ("cs_test_abc_-def", "BC-ABCDEF"), ("cs_1", "BC-CS1")],
)
def test_order_number_is_made_of_the_last_eight_characters(session_id, number):
    assert order_number(session_id, "BC") == number


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"created": "yesterday"}, "created must be an integer"),
        ({"created": None}, "created must be an integer"),
        ({"created": 10**17}, "created is not a valid time"),
        ({"amount_total": "4999"}, "amount_total must be an integer"),
        ({"amount_total": True}, "amount_total must be an integer"),
        ({"amount_total": 10**18}, "amount_total must be an integer"),
        ({"amount_total": -(10**18)}, "amount_total must be an integer"),
        ({"amount_total": 49.99}, "amount_total must be an integer"),
        ({"currency": 5}, "currency must be a string"),
        ({"payment_status": None}, "payment_status must be a string"),
        ({"customer_details": []}, "customer_details must be an object"),
        ({"metadata": {"campaign": {"deep": 1}}}, "metadata.campaign must be a string"),
        (
            {"collected_information": {"shipping_details": {"address": {"line1": 5}}}},
            "line1 must be a string",
        ),
        *(
            ({name: reference}, f"{name} must have an id")
            for name in ("payment_intent", "customer")
            for reference in ({}, {"id": ""}, {"id": None}, {"id": 7})
        ),
    ],
)
def test_wrong_field_of_a_session_is_named(changes, problem):
    with pytest.raises(MalformedSession, match=f"^{problem}$"):
        build(**changes)


@pytest.mark.parametrize("name", ["description", "quantity", "currency", "amount_total", "amount_subtotal"])
def test_wrong_field_of_a_line_is_named(name):
    kind = "an integer" if "amount" in name or name == "quantity" else "a string"
    with pytest.raises(MalformedSession, match=f"^{name} must be {kind}$"):
        build([a_line(**{name: []})])
