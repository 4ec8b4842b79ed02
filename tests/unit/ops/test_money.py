"""Amounts as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.format.money import Money, count_decimals, totals


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
    ],
)
def test_money_is_shown_with_the_decimals_of_its_currency(amount, currency, text):
    assert str(Money(currency, amount)) == text


@pytest.mark.parametrize("currency", ["isk", "ugx"])
def test_stripe_counts_some_currencies_without_decimals_in_hundredths(currency):
    assert str(Money(currency, 500)) == f"5.00 {currency.upper()}"


def test_a_large_amount_loses_no_unit():
    assert str(Money("usd", 9_007_199_254_740_993)) == "90,071,992,547,409.93 USD"


@given(st.integers(), st.sampled_from(["usd", "jpy", "kwd"]))
def test_what_is_shown_is_the_amount(amount, currency):
    shown = str(Money(currency, amount)).split()[0].replace(",", "")
    digits = shown.replace(".", "")
    assert int(digits) == amount
    assert len(shown.partition(".")[2]) == count_decimals(currency)


def test_each_currency_has_a_total_of_its_own():
    amounts = [Money("usd", 100), Money("jpy", 100), Money("usd", 50), Money("eur", 7)]
    assert totals(amounts) == [Money("eur", 7), Money("jpy", 100), Money("usd", 150)]


def test_nothing_has_no_total():
    assert totals([]) == []
