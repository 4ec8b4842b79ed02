"""Amounts as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.format.money import Money, count_decimals, format_price, format_worth, to_money, totals


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, "usd", "1,234.50 USD"),
        (5, "eur", "0.05 EUR"),
        (0, "gbp", "0.00 GBP"),
        (1980, "jpy", "1,980 JPY"),
        (1_000_000, "krw", "1,000,000 KRW"),
        (5124, "kwd", "5.124 KWD"),
        (-1999, "usd", "-19.99 USD"),
        (-1, "usd", "-0.01 USD"),
        # Currencies without decimals that Stripe counts in hundredths
        (500, "isk", "5.00 ISK"),
        (500, "ugx", "5.00 UGX"),
        # More digits than a float holds
        (9_007_199_254_740_993, "usd", "90,071,992,547,409.93 USD"),
    ],
)
def test_money_has_the_decimals_of_its_currency(amount, currency, text):
    assert str(Money(currency, amount)) == text


@given(st.integers(), st.sampled_from(["usd", "jpy", "kwd"]))
def test_money_text_has_every_digit_of_the_amount(amount, currency):
    text = str(Money(currency, amount)).split()[0].replace(",", "")
    assert int(text.replace(".", "")) == amount
    assert len(text.partition(".")[2]) == count_decimals(currency)


def test_totals_adds_up_each_currency_separately():
    amounts = [Money("usd", 100), Money("jpy", 100), Money("usd", 50), Money("eur", 7)]
    assert totals(amounts) == [Money("eur", 7), Money("jpy", 100), Money("usd", 150)]
    assert totals([]) == []


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, "usd", "$1,234.50"),
        (1980, "jpy", "¥1,980"),
        (5, "eur", "€0.05"),
        (500, "cad", "CA$5.00"),
        (5124, "kwd", "KWD\xa05.124"),
        (700, "xaf", "FCFA\xa0700"),
        (-1999, "gbp", "-£19.99"),
        (0, "", "free"),
    ],
)
def test_money_has_the_symbol_of_its_currency(amount, currency, text):
    assert Money(currency, amount).with_symbol == text


@pytest.mark.parametrize(
    ("amount", "currency", "money", "text"),
    [
        (4999, "USD", Money("usd", 4999), "49.99 USD"),
        (0, "usd", Money("usd", 0), "free"),
        (0, None, Money("", 0), "free"),
        (0, "", Money("", 0), "free"),
        (5, None, None, "unknown"),
        (None, "usd", None, "unknown"),
        (None, None, None, "unknown"),
        (True, "usd", None, "unknown"),
        (False, "usd", None, "unknown"),
        ("5", "usd", None, "unknown"),
    ],
)
def test_free_and_unknown_amounts_are_different(amount, currency, money, text):
    assert to_money(amount, currency) == money
    assert format_price(to_money(amount, currency)) == text


@pytest.mark.parametrize(
    ("money", "unknown", "text"),
    [
        ([], 0, ""),
        ([], 2, "2 unknown"),
        ([Money("usd", 0)], 0, "free"),
        ([Money("usd", 0), Money("eur", 5)], 1, "0.05 EUR, 1 unknown"),
        ([Money("", 0)], 1, "free, 1 unknown"),
    ],
)
def test_worth_of_several_sessions_names_unknown_ones(money, unknown, text):
    assert format_worth(money, unknown) == text


def test_totals_of_free_orders_without_currency_are_free():
    free = Money("", 0)
    assert totals([free, free]) == [free]
    assert totals([free, Money("usd", 5)]) == [Money("usd", 5)]
