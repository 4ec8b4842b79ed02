"""A Stripe session becomes an order snapshot: every field of the contract, and every odd session."""

import pytest

from recon.domain.order import SnapshotContext, build_order, clean_user_id, find_raw_user_id, order_number
from recon.errors import MalformedSession
from testkit.builders import NOW, RUN, a_line, a_session

WRITING = SnapshotContext(RUN, NOW)


def built(lines=None, **changes):
    return build_order(a_session(**changes), [a_line()] if lines is None else lines, "user-1", WRITING)


def test_the_snapshot_has_every_field_of_the_contract_and_no_other():
    assert built() == {
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
                "amountSubtotal": 4599,
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
        "stripePaymentIntentId": "pi_1",
        "stripeCustomerId": "cus_1",
        "stripePaymentStatus": "paid",
        "customerEmail": "a+b@example.com",
        "customerPhone": "+491701234567",
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


def test_a_free_session_has_no_amounts_and_no_nulls():
    order = built(
        amount_total=None,
        amount_subtotal=None,
        currency=None,
        payment_intent=None,
        customer=None,
        payment_status="no_payment_required",
    )
    assert (
        not {
            "amount",
            "amountSubtotal",
            "currency",
            "stripePaymentIntentId",
            "stripeCustomerId",
        }
        & order.keys()
    )
    assert None not in order.values()
    assert order["stripePaymentStatus"] == "no_payment_required"


def test_an_amount_of_zero_is_an_amount():
    assert built(amount_total=0)["amount"] == 0


def test_zero_decimal_currencies_are_not_divided():
    order = built(currency="JPY", amount_total=5000)
    assert (order["amount"], order["currency"]) == (5000, "jpy")


def test_shipping_is_read_from_its_old_place_too():
    old = {"name": "C D", "address": {"line1": "Road 2", "city": "Bath", "country": "GB"}}
    order = built(collected_information=None, shipping_details=old)
    assert order["shippingAddress"] == {"name": "C D", "line1": "Road 2", "city": "Bath", "country": "GB"}


def test_no_shipping_and_no_customer_details_leave_the_fields_out():
    order = built(collected_information=None, customer_details=None)
    assert not {"shippingAddress", "customerEmail", "customerPhone"} & order.keys()


def test_the_prefilled_address_stands_in_for_missing_customer_details():
    assert built(customer_details=None, customer_email="c@example.com")["customerEmail"] == "c@example.com"


@pytest.mark.parametrize("key", ["quoteSignature", "quote_signature"])
def test_the_quote_is_found_under_both_names_and_taken_out_of_the_metadata(key):
    order = built(metadata={"user_id": "u", key: "sig"})
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
def test_a_product_that_is_not_expanded_deleted_or_bare_leaves_its_metadata_out(product, expected):
    (item,) = built([a_line(price={"id": "price_1", "unit_amount": 5, "product": product})])["items"]
    assert {key: item[key] for key in item if key in ("stripeProductId", "sku", "color")} == expected


def test_a_line_without_a_price_keeps_what_the_line_says():
    (item,) = built([a_line(price=None)])["items"]
    assert item == {
        "name": "A mug",
        "quantity": 2,
        "currency": "eur",
        "amountTotal": 4999,
        "amountSubtotal": 4599,
    }


def test_all_lines_are_kept_in_order():
    order = built([a_line(description=f"line {n}") for n in range(250)])
    assert order["itemCount"] == 250
    assert [item["name"] for item in order["items"]] == [f"line {n}" for n in range(250)]


def test_an_order_expires_the_days_after_it_was_written():
    writing = SnapshotContext("run", NOW, ttl_days=30)
    assert build_order(a_session(), [a_line()], "u", writing)["expiresAt"] == NOW + 30 * 86_400
    assert "expiresAt" not in built()


@pytest.mark.parametrize(
    ("session_id", "number"),
    [("cs_test_a1B2c3D4", "BC-A1B2C3D4"), ("cs_test_abc_-def", "BC-ABCDEF"), ("cs_1", "BC-CS1")],
)
def test_the_order_number_is_made_of_the_last_eight_characters(session_id, number):
    assert order_number(session_id, "BC") == number


@pytest.mark.parametrize(
    ("raw", "clean"),
    [("a+b@x.com", "ab@x.com"), ("ü ser/1", "ser1"), ("x" * 300, "x" * 256), ("A-b_c.d@e", "A-b_c.d@e")],
)
def test_the_user_id_is_cleaned_as_the_webhook_does(raw, clean):
    assert clean_user_id(raw) == clean


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metadata": {"userId": "u1", "user_id": "u2"}}, "u1"),
        ({"metadata": {"user_id": "u2"}}, "u2"),
        ({"metadata": {"userId": "", "user_id": "u2"}}, "u2"),
        ({"metadata": {"userId": "+++", "user_id": "u2"}}, "u2"),
        ({"metadata": {}}, "a+b@example.com"),
        ({"metadata": None}, "a+b@example.com"),
        ({"metadata": {"userId": 7}}, "a+b@example.com"),
        ({"metadata": {}, "customer_details": None}, None),
        ({"metadata": {}, "customer_details": {"email": None}, "customer_email": "c@x.io"}, "c@x.io"),
        ({"metadata": "?", "customer_details": 3}, None),
    ],
)
def test_the_user_is_the_first_candidate_that_is_not_empty_after_cleaning(changes, expected):
    assert find_raw_user_id(a_session(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"created": "yesterday"}, "created"),
        ({"created": 10**17}, "created"),
        ({"amount_total": "4999"}, "amount_total"),
        ({"amount_total": True}, "amount_total"),
        ({"amount_total": 10**40}, "amount_total"),
        ({"amount_total": 49.99}, "amount_total"),
        ({"currency": 5}, "currency"),
        ({"payment_status": None}, "payment_status"),
        ({"customer_details": []}, "customer_details"),
        ({"metadata": {"campaign": {"deep": 1}}}, "metadata.campaign"),
        ({"collected_information": {"shipping_details": {"address": {"line1": 5}}}}, "line1"),
    ],
)
def test_a_session_that_cannot_be_read_is_an_error_that_names_the_field(changes, named):
    with pytest.raises(MalformedSession, match=named):
        built(**changes)


@pytest.mark.parametrize("name", ["payment_intent", "customer"])
@pytest.mark.parametrize("reference", [{}, {"id": ""}, {"id": None}, {"id": 7}])
def test_an_expanded_reference_without_an_id_is_named(name, reference):
    with pytest.raises(MalformedSession, match=f"^{name} must have an id$"):
        built(**{name: reference})


def test_a_moment_that_no_calendar_has_is_named():
    with pytest.raises(MalformedSession, match=r"^created is no time$"):
        built(created=10**17)


def test_metadata_that_says_nothing_is_left_out_and_no_error():
    assert built(metadata={"campaign": "", "note": None, "shop": "x"})["metadata"] == {"shop": "x"}
    assert "metadata" not in built(metadata={"campaign": ""})


@pytest.mark.parametrize("created", [None, ""])
def test_a_session_says_when_it_was_created(created):
    with pytest.raises(MalformedSession, match=r"^created must be an integer$"):
        built(created=created)


def test_an_amount_has_at_most_eighteen_digits():
    assert built(amount_total=10**18 - 1)["amount"] == 10**18 - 1
    for amount in (10**18, -(10**18)):
        with pytest.raises(MalformedSession, match=r"^amount_total must be an integer$"):
            built(amount_total=amount)


def test_a_line_that_says_nothing_is_an_item_that_says_nothing():
    assert build_order(a_session(), [{"id": "li_1"}], "u1", WRITING)["items"] == [{}]


def test_a_line_of_empty_texts_and_nulls_is_one_that_says_nothing():
    price = {"id": "", "unit_amount": None, "product": {"id": "", "metadata": {"sku": "", "color": None}}}
    line = {"description": "", "quantity": None, "currency": "", "amount_total": None, "price": price}
    assert build_order(a_session(), [line | {"amount_subtotal": None}], "u1", WRITING)["items"] == [{}]


@pytest.mark.parametrize(
    "name",
    ["description", "quantity", "currency", "amount_total", "amount_subtotal"],
)
def test_a_line_with_a_field_of_the_wrong_kind_is_named(name):
    kind = "an integer" if "amount" in name or name == "quantity" else "a string"
    with pytest.raises(MalformedSession, match=f"^{name} must be {kind}$"):
        build_order(a_session(), [a_line(**{name: []})], "u1", WRITING)
