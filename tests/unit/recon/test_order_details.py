"""The parts of an order beside its items: money, shipping, discounts, and who bought."""

import pytest

from recon.domain.order import SnapshotContext, build_order
from recon.errors import MalformedSession
from testkit.builders import NOW, RUN, a_detailed_session, a_line, a_session

TAX_ID = {"type": "eu_vat", "value": "X"}
# The order of a session without details.
PLAIN = build_order(a_session(), [a_line()], "user-1", SnapshotContext(RUN, NOW))


def build(session, **arguments):
    return build_order(session, [a_line()], "user-1", SnapshotContext(RUN, NOW), **arguments)


def changed(session, **changes):
    """Return the session with a change inside its `customer_details`, `total_details` or another object."""
    return session | {name: (session.get(name) or {}) | inner for name, inner in changes.items()}


def test_detailed_session_keeps_every_detail():
    order = build(a_detailed_session(), raw_user_id="User 1")
    assert order == PLAIN | {
        "rawUserId": "User 1",
        "amount": 6420,
        "amountSubtotal": 6000,
        "amountDiscount": 1200,
        "amountShipping": 700,
        "amountTax": 920,
        "presentment": {"amount": 7150, "currency": "usd"},
        "paidAt": "2024-11-27T01:10:00Z",
        "shippingMethod": {"rateId": "shr_express", "name": "Express", "amount": 700},
        "stripeDiscounts": [{"promotionCodeId": "promo_1", "code": "AUTUMN20"}, {"couponId": "co_1"}],
        "customFields": [
            {"key": "engraving", "label": "Engraving", "value": "For Jane"},
            {"key": "age", "label": "Age", "value": "7"},
            {"key": "size", "label": "Size", "value": "Large"},
        ],
        "customerBusinessName": "A B GmbH",
        "customerTaxIds": [{"type": "eu_vat", "value": "DE123456789"}],
        "billingAddress": {"line1": "Ring 9", "city": "Bonn", "postalCode": "53111", "country": "DE"},
        "clientReferenceId": "cart-7",
        "stripeSubscriptionId": "sub_1",
        "stripeInvoiceId": "in_1",
        "stripePaymentLinkId": "plink_1",
        "recoveredFrom": "cs_test_expired",
    }


def test_details_are_absent_where_stripe_has_none():
    empty = {
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "shipping_cost": {"amount_total": 0, "shipping_rate": None},
        "discounts": [],
        "custom_fields": [],
        "presentment_details": {"presentment_amount": 0, "presentment_currency": "eur"},
        "currency_conversion": None,
        "client_reference_id": "",
        "subscription": None,
    }
    nothing = dict.fromkeys(empty)
    assert build(a_session(**empty)) == build(a_session(**nothing)) == PLAIN


def test_exclusive_tax_adds_up_to_the_amount():
    order = build(a_detailed_session())
    discounted = order["amountSubtotal"] - order["amountDiscount"]
    assert discounted + order["amountShipping"] + order["amountTax"] == order["amount"]


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({"presentment_details": {"presentment_amount": 9, "presentment_currency": "CAD"}}, (9, "cad")),
        ({"currency_conversion": {"source_currency": "usd", "amount_total": 1000}}, (4999, "eur")),
        (
            {
                "presentment_details": {"presentment_amount": 9, "presentment_currency": "cad"},
                "currency_conversion": {"source_currency": "usd"},
            },
            (9, "cad"),
        ),
        ({"currency_conversion": {"source_currency": "usd"}, "amount_total": None}, None),
    ],
)
def test_presentment_is_what_the_customer_saw(session, expected):
    order = build(a_session(**session))
    assert order.get("presentment") == (expected and dict(zip(("amount", "currency"), expected, strict=True)))
    assert order["currency"] == "eur"


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ({"amount_total": 700, "shipping_rate": "shr_1"}, {"rateId": "shr_1", "amount": 700}),
        ({"amount_total": 700, "shipping_rate": None}, {"amount": 700}),
        (
            {"amount_total": 0, "shipping_rate": {"id": "shr_1", "display_name": "Pick-up"}},
            {"rateId": "shr_1", "name": "Pick-up", "amount": 0},
        ),
        ({"amount_total": 700, "shipping_rate": {"id": 7, "display_name": []}}, {"amount": 700}),
    ],
)
def test_shipping_method_is_the_chosen_rate(cost, expected):
    assert build(a_session(shipping_cost=cost))["shippingMethod"] == expected


@pytest.mark.parametrize(
    ("discount", "expected"),
    [
        ({"coupon": "co_1", "promotion_code": None}, [{"couponId": "co_1"}]),
        (
            {"coupon": {"id": "co_1"}, "promotion_code": "promo_1"},
            [{"couponId": "co_1", "promotionCodeId": "promo_1"}],
        ),
        ({"coupon": None, "promotion_code": None}, None),
        ({"source": {"coupon": "co_1", "type": "coupon"}}, [{"couponId": "co_1"}]),
        ({"coupon": {"id": "co_1"}}, [{"couponId": "co_1"}]),
    ],
)
@pytest.mark.parametrize("place", ["discounts", "breakdown"])
def test_discounts_are_read_in_each_version(place, discount, expected):
    breakdown = {"breakdown": {"discounts": [{"amount": 5, "discount": discount}]}}
    session = {"discounts": [discount]} if place == "discounts" else {"total_details": breakdown}
    assert build(a_session(**session)).get("stripeDiscounts") == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"type": "text", "text": {"value": "a"}}, "a"),
        ({"type": "numeric", "numeric": {"value": "0"}}, "0"),
        ({"type": "dropdown", "dropdown": {"value": "l", "options": [{"label": "L", "value": "l"}]}}, "L"),
        ({"type": "dropdown", "dropdown": {"value": "l", "options": [{"label": "M", "value": "m"}]}}, "l"),
        ({"type": "dropdown", "dropdown": {"value": "l", "options": None}}, "l"),
        ({"type": "dropdown", "dropdown": {"value": "l", "options": [{"label": 7, "value": "l"}]}}, "l"),
        ({"type": "text", "text": {"value": ""}}, None),
        ({"type": "text", "text": {"value": 7}}, None),
        ({"type": "text", "text": None}, None),
        ({"type": ["text"], "text": {"value": "a"}}, None),
        ({"type": "text", "numeric": {"value": "7"}}, None),
        ({}, None),
    ],
)
def test_custom_field_has_the_answer_of_its_type(field, expected):
    field = {"key": "k", "label": {"type": "custom", "custom": "Label"}} | field
    order = build(a_session(custom_fields=[field, 7, None]))
    assert order.get("customFields") == (expected and [{"key": "k", "label": "Label", "value": expected}])


@pytest.mark.parametrize(
    ("changes", "attribute", "expected"),
    [
        ({"customer_details": {"name": None, "individual_name": "C D"}}, "customerName", "C D"),
        (
            {"customer_details": {"name": None}, "collected_information": {"individual_name": "C D"}},
            "customerName",
            "C D",
        ),
        ({"customer_details": {"name": 7}}, "customerName", None),
        ({"collected_information": {"business_name": "C D AG"}}, "customerBusinessName", "C D AG"),
        (
            {"collected_information": {"tax_ids": [TAX_ID]}},
            "customerTaxIds",
            [TAX_ID],
        ),
        (
            {"customer_details": {"tax_ids": [{"type": 7, "value": "X"}, "?"]}},
            "customerTaxIds",
            [{"value": "X"}],
        ),
        ({"customer_details": {"address": {"line1": 5, "city": "Bonn"}}}, "billingAddress", {"city": "Bonn"}),
        ({"customer_details": {"address": {"line1": None, "city": ""}}}, "billingAddress", None),
        ({"customer_details": {"address": "Bonn"}}, "billingAddress", None),
    ],
)
def test_customer_is_read_in_each_version(changes, attribute, expected):
    assert build(changed(a_session(), **changes)).get(attribute) == expected


INTENT_SHIPPING = {
    "name": "E F",
    "phone": "+1555",
    "address": {"line1": "Road 2", "city": "Bath", "state": 7},
}


def test_shipping_of_the_payment_intent_is_used_if_the_session_has_none():
    session = a_session(payment_intent={"id": "pi_1", "shipping": INTENT_SHIPPING})
    order = build(session)
    assert (order["shippingAddress"]["name"], order["customerPhone"]) == ("A B", "+491701234567")
    order = build(session | {"collected_information": None, "customer_details": None})
    assert order["shippingAddress"] == {"name": "E F", "line1": "Road 2", "city": "Bath"}
    assert order["customerPhone"] == "+1555"


@pytest.mark.parametrize("has_older_place", [True, False])
def test_name_without_an_address_hides_no_address(has_older_place):
    name_only = {"name": "C D", "address": {"line1": None, "city": "", "country": None}}
    session = a_session(collected_information={"shipping_details": name_only})
    assert build(session)["shippingAddress"] == {"name": "C D"}
    place = {"shipping_details": INTENT_SHIPPING | {"address": {"city": "Bath"}}}
    intent = {"payment_intent": {"id": "pi_1", "shipping": INTENT_SHIPPING}}
    order = build(session | (place if has_older_place else intent))
    assert (order["shippingAddress"]["name"], order["shippingAddress"]["city"]) == ("E F", "Bath")


@pytest.mark.parametrize(
    ("charge", "expected"),
    [
        ({"created": NOW, "balance_transaction": {"created": NOW + 60}}, "2024-11-27T02:01:00Z"),
        ({"created": NOW, "balance_transaction": {"id": "txn_1"}}, "2024-11-27T02:00:00Z"),
        ({"created": NOW, "balance_transaction": "txn_1"}, "2024-11-27T02:00:00Z"),
        ({"created": NOW, "balance_transaction": None}, "2024-11-27T02:00:00Z"),
        ({"created": "now"}, None),
        ({"created": True}, None),
        ({"created": 10**17}, None),
        ({"created": 0}, None),
        ({"created": 1}, "1970-01-01T00:00:01Z"),
        ("ch_1", None),
        (None, None),
    ],
)
def test_paid_at_is_when_the_money_moved(charge, expected):
    assert build(a_session(payment_intent={"id": "pi_1", "latest_charge": charge})).get("paidAt") == expected


def test_charge_of_a_subscription_can_be_given():
    session = a_session(mode="subscription", payment_intent=None)
    order = build(session, charge={"id": "ch_1", "created": NOW})
    assert (order["paidAt"], order["stripeMode"]) == ("2024-11-27T02:00:00Z", "subscription")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("user 1", "user 1"), ("user-1", None), (None, None), ("", None), ("\ud83duser-1", None)],
)
def test_raw_user_id_is_kept_if_cleaning_changed_it(raw, expected):
    assert build(a_session(), raw_user_id=raw).get("rawUserId") == expected


@pytest.mark.parametrize(
    ("session", "problem"),
    [
        ({"total_details": 7}, "total_details must be an object"),
        ({"total_details": {"amount_tax": "7"}}, "amount_tax must be an integer"),
        ({"total_details": {"amount_discount": True}}, "amount_discount must be an integer"),
        ({"total_details": {"amount_shipping": 1.5}}, "amount_shipping must be an integer"),
        ({"shipping_cost": []}, "shipping_cost must be an object"),
        ({"shipping_cost": {"amount_total": "7"}}, "amount_total must be an integer"),
        ({"presentment_details": 7}, "presentment_details must be an object"),
        ({"presentment_details": {"presentment_amount": "7"}}, "presentment_amount must be an integer"),
        ({"presentment_details": {"presentment_currency": 7}}, "presentment_currency must be a string"),
        ({"currency_conversion": 7}, "currency_conversion must be an object"),
    ],
)
def test_wrong_money_of_a_session_is_named(session, problem):
    with pytest.raises(MalformedSession, match=f"^{problem}$"):
        build(a_session(**session))


@pytest.mark.parametrize("wrong", [7, True, "?", "", [], {}, [7], [[]], {"id": 7}, "\ud83d"])
@pytest.mark.parametrize(
    "field",
    [
        "discounts",
        "custom_fields",
        "subscription",
        "invoice",
        "payment_link",
        "recovered_from",
        "client_reference_id",
    ],
)
def test_wrong_detail_does_not_cost_the_order(field, wrong):
    order = build(a_session(**{field: wrong}))
    added = order.keys() - PLAIN.keys()
    assert order == PLAIN or (wrong == "?" and {order[name] for name in added} == {"?"})
