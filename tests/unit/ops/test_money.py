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
