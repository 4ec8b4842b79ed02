"""The items of an order: the price of one piece, the variant, and what the shop noted at price and line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.domain.order_items import build_item
from recon.errors import MalformedSession
from testkit.builders import a_detailed_line, a_line


def price(**changes):
    return a_line()["price"] | changes


def test_detailed_line_keeps_every_detail():
    assert build_item(a_detailed_line()) == build_item(a_line()) | {
        "amountDiscount": 1200,
        "amountTax": 920,
        "variant": "Size L",
        "lookupKey": "mug_l",
        "metadata": {"size": "L", "gift": "yes"},
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2300),
        ({"currency": "EUR", "price": price(currency="eur")}, 2300),
        ({"price": price(currency="usd", unit_amount=1500)}, 2300),
        ({"currency": "jpy", "amount_subtotal": 4500, "price": price(currency="usd")}, 2250),
        ({"price": None}, 2300),
        ({"price": price(unit_amount=None)}, 2300),
        ({"price": price(unit_amount=10_000)}, 2300),
        ({"price": None, "amount_subtotal": 2 * (2**53 + 1)}, 2**53 + 1),
        ({"price": price(currency="usd"), "amount_subtotal": 4601}, None),
        ({"amount_subtotal": 4601}, None),
        ({"amount_subtotal": None}, None),
        ({"quantity": None}, None),
        ({"quantity": 0, "amount_subtotal": 0}, 2300),
        ({"quantity": 0, "amount_subtotal": 0, "price": price(currency="usd")}, None),
        ({"amount_subtotal": 0, "price": price(unit_amount=0)}, 0),
    ],
)
def test_unit_price_is_in_the_currency_of_the_line(changes, expected):
    assert build_item(a_line(**changes)).get("unitPrice") == expected


@given(
    quantity=st.none() | st.integers(0, 1000),
    subtotal=st.none() | st.integers(0, 10**6),
    unit_amount=st.none() | st.integers(0, 10**4),
    matching=st.booleans(),
    currencies=st.tuples(*[st.sampled_from([None, "eur", "usd", "EUR"])] * 2),
)
def test_unit_price_times_quantity_is_the_subtotal(quantity, subtotal, unit_amount, matching, currencies):
    if matching and None not in (quantity, unit_amount):
        subtotal = quantity * unit_amount
    own, of_price = currencies
    line = a_line(
        quantity=quantity,
        amount_subtotal=subtotal,
        currency=own,
        price=price(unit_amount=unit_amount, currency=of_price),
    )
    item = build_item(line)
    if "unitPrice" in item:
        assert item["unitPrice"] * item["quantity"] == item["amountSubtotal"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit_amount": None, "unit_amount_decimal": "0.25"}, "0.25"),
        ({"unit_amount": None, "unit_amount_decimal": "-12.000000000001"}, "-12.000000000001"),
        ({"unit_amount": None, "unit_amount_decimal": "0.25", "currency": "usd"}, None),
        ({"unit_amount": None, "unit_amount_decimal": "0.25", "currency": None}, None),
        ({"unit_amount": None, "unit_amount_decimal": None}, None),
        ({"unit_amount": 25, "unit_amount_decimal": "25"}, None),
    ],
)
def test_price_below_the_smallest_unit_keeps_its_decimals(changes, expected):
    assert build_item(a_line(price=price(**changes))).get("unitPriceDecimal") == expected


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ({"price": price(product={"id": "prod_1", "name": "Blue mug"})}, "A mug"),
        ({"description": None, "price": price(product={"id": "prod_1", "name": "Blue mug"})}, "Blue mug"),
        ({"description": "", "price": price(product={"id": "prod_1", "name": ""})}, None),
        ({"description": None, "price": price(product="prod_1")}, None),
        ({"description": None, "price": price(product={"id": "prod_1", "deleted": True})}, None),
        ({"description": None, "price": price(product={"id": "prod_1", "name": 7})}, None),
    ],
)
def test_line_without_description_has_the_name_of_its_product(line, name):
    assert build_item(a_line(**line)).get("name") == name


@pytest.mark.parametrize(
    ("of_price", "of_line", "expected"),
    [
        ({"size": "L", "gift": "no"}, {"gift": "yes"}, {"size": "L", "gift": "yes"}),
        ({"size": "L"}, {"size": ""}, {"size": "L"}),
        ({"size": "L"}, None, {"size": "L"}),
        (None, {"gift": "yes"}, {"gift": "yes"}),
        ({}, {}, None),
        ({"size": 7, "": "x", "half": "\ud83d", "\ud83d": "half"}, [1], None),
    ],
)
def test_metadata_of_price_and_line_is_merged(of_price, of_line, expected):
    item = build_item(a_line(metadata=of_line, price=price(metadata=of_price)))
    assert item.get("metadata") == expected


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"amount_discount": "12"}, "amount_discount must be an integer"),
        ({"amount_tax": 1.5}, "amount_tax must be an integer"),
        ({"price": price(currency=5)}, "currency must be a string"),
        ({"price": price(unit_amount="15")}, "unit_amount must be an integer"),
        ({"price": price(unit_amount_decimal=15)}, "unit_amount_decimal must be a string"),
        ({"price": price(unit_amount_decimal="1,5")}, "unit_amount_decimal must be a decimal number"),
        ({"price": price(unit_amount_decimal="NaN")}, "unit_amount_decimal must be a decimal number"),
    ],
)
def test_wrong_money_of_a_line_is_named(line, problem):
    with pytest.raises(MalformedSession, match=f"^{problem}$"):
        build_item(a_line(**line))


@pytest.mark.parametrize("wrong", [7, True, [], {}, "", "\ud83d"])
@pytest.mark.parametrize(("field", "attribute"), [("nickname", "variant"), ("lookup_key", "lookupKey")])
def test_wrong_detail_of_a_price_is_omitted(field, attribute, wrong):
    assert attribute not in build_item(a_line(price=price(**{field: wrong})))
