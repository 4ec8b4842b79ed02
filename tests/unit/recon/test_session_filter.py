"""The conditions of SYNC_ONLY: which sessions pass, and what a wrong condition is told."""

import pytest

from recon.domain.session_filter import parse_filter
from recon.errors import ConfigError

SESSION = {
    "metadata": {"shop": "My shop", "n": "1", "empty": "", "list": ["a"], "it's": "x"},
    "payment_link": None,
    "client_reference_id": "ref-1",
    "mode": "payment",
    "success_url": "https://shop.example/thanks?id={CHECKOUT_SESSION_ID}",
    "currency": "eur",
}
LINKED = SESSION | {"payment_link": {"id": "plink_1", "object": "payment_link"}}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("   ", True),
        ("metadata.shop", True),
        ("metadata.other", False),
        ("metadata.empty", False),
        ("metadata.list", False),
        ("!metadata.other", True),
        ("!metadata.empty", True),
        ("!metadata.shop", False),
        ('metadata.shop="My shop"', True),
        ("metadata.shop='My shop'", True),
        ("'metadata.shop=My shop'", True),
        ("metadata.shop=My\\ shop", True),
        ("metadata.shop=My", False),
        ("metadata.shop=my shop".replace(" ", "\\ "), False),
        ("metadata.n=0,1,2", True),
        ("metadata.n=0,2", False),
        ('metadata.shop="Your shop,My shop"', True),
        ("metadata.shop^=My", True),
        ("metadata.shop^=shop", False),
        ("metadata.other^=x", False),
        ("metadata.other=x", False),
        ("payment_link", False),
        ("!payment_link", True),
        ("client_reference_id", True),
        ("client_reference_id^=ref-", True),
        ("mode=payment,subscription", True),
        ("mode=setup", False),
        ("mode^=pay", True),
        ("success_url^=https://shop.example/", True),
        ("success_url^=https://other.example/", False),
        ("success_url^=https://other.example/,https://shop.example/", False),
        ("success_url=https://shop.example/thanks?id={CHECKOUT_SESSION_ID}", True),
        ("currency=EUR", True),
        ("currency^=EU", True),
        ("currency=usd,chf", False),
        ('metadata.shop="My shop" !payment_link  mode=payment', True),
        ('metadata.shop="My shop" payment_link mode=payment', False),
        ("metadata.shop\n!payment_link", True),
    ],
)
def test_session_passes_if_it_meets_all_conditions(text, passes):
    assert parse_filter(text).passes(SESSION) is passes


@pytest.mark.parametrize(
    ("text", "passes"), [("payment_link", True), ("!payment_link", False), ("payment_link=plink_1", True)]
)
@pytest.mark.parametrize("link", [LINKED["payment_link"], "plink_1"])
def test_reference_counts_whether_it_is_expanded_or_not(text, passes, link):
    assert parse_filter(text).passes(SESSION | {"payment_link": link}) is passes


@pytest.mark.parametrize("broken", [{}, {"metadata": None}, {"metadata": "?"}, {"metadata": {"shop": 5}}])
def test_value_of_a_wrong_type_is_not_there(broken):
    assert parse_filter("!metadata.shop").passes(broken)
    assert not parse_filter("metadata.shop").passes(broken)


def test_first_condition_that_fails_is_named():
    session_filter = parse_filter('metadata.shop="My shop" payment_link currency=usd')
    assert session_filter.find_failed(SESSION) == "payment_link"
    assert session_filter.find_failed(LINKED) == "currency=usd"
    assert session_filter.find_failed(LINKED | {"currency": "usd"}) is None
    assert session_filter.find_failed({}) == "metadata.shop=My shop"


NO_PATH = (
    "the paths are metadata.<key>, payment_link, client_reference_id, mode, success_url, currency, in the "
    "forms path, !path, path=a,b and path^=prefix"
)
EMPTY = "a value is empty; without = the condition is that the path is there"
NO_VALUE = "! demands that a path is not there and takes no value"
NO_MODE, NO_CURRENCY = "mode is one of payment, setup, subscription", "a currency is a code such as eur"


@pytest.mark.parametrize(
    ("text", "named", "right"),
    [
        ("metadata.a metdata.shop=a", "metdata.shop=a", NO_PATH),
        ("metadata.=a", "metadata.=a", NO_PATH),
        ("metadata.", "metadata.", NO_PATH),
        ("customer=cus_1", "customer=cus_1", NO_PATH),
        ("!", "!", NO_PATH),
        ("!!mode", "!!mode", NO_PATH),
        ("=a", "=a", NO_PATH),
        ("^=a", "^=a", NO_PATH),
        ("mode and currency=eur", "and", NO_PATH),
        ("mode = payment", "=", NO_PATH),
        ("metadata.a= metadata.b=x", "metadata.a=", EMPTY),
        ("metadata.a=x,,y", "metadata.a=x,,y", EMPTY),
        ("metadata.a^=", "metadata.a^=", EMPTY),
        ("metadata.a==x", "metadata.a==x", "write = once"),
        ("!metadata.a=x", "!metadata.a=x", NO_VALUE),
        ("metadata.a!=x", "metadata.a!=x", NO_VALUE),
        ("mode=payments", "mode=payments", NO_MODE),
        ("currency=euros!", "currency=euros!", NO_CURRENCY),
    ],
)
def test_wrong_condition_is_named_with_what_would_be_right(text, named, right):
    with pytest.raises(ConfigError) as caught:
        parse_filter(text)
    assert str(caught.value) == f"the condition {named!r} is wrong: {right}"


@pytest.mark.parametrize("text", ['metadata.a="My shop', "metadata.a=it's "])
def test_open_quote_is_named_with_what_would_be_right(text):
    with pytest.raises(ConfigError) as caught:
        parse_filter(text)
    assert str(caught.value) == (
        f"{text.strip()!r} has a quote or backslash that is not closed (No closing quotation); quote a "
        'value with a space as in a shell, such as metadata.shop="My shop"'
    )
