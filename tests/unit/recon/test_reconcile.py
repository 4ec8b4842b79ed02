"""What becomes of a session, decided without I/O."""

from dataclasses import replace

import pytest

from recon.domain.reconcile import ExistingOrder, SkipReason, amount_and_currency, skip_reason, user_ids
from testkit.builders import a_message

MESSAGE = a_message()
NOW = MESSAGE.created + 3600
WEBHOOK_ORDER = ExistingOrder("USER#ab@example.com", f"ORDER#{MESSAGE.created + 77}#cs_1", "cs_1", "cs_1")


def decided(orders=(), ttl_days=0, now=NOW, **changes):
    return skip_reason(replace(MESSAGE, **changes), orders, now=now, ttl_days=ttl_days)


def test_a_session_without_an_order_is_missing():
    assert decided() is None


@pytest.mark.parametrize(
    "order",
    [WEBHOOK_ORDER, replace(WEBHOOK_ORDER, order_id=None), replace(WEBHOOK_ORDER, stripe_session_id=None)],
)
def test_an_order_is_recognised_by_either_id_whatever_its_key(order):
    assert decided([order]) is SkipReason.EXISTS


def test_thirty_other_orders_of_the_user_do_not_hide_that_one_is_missing():
    others = [
        replace(WEBHOOK_ORDER, order_id=f"cs_other{n}", stripe_session_id=f"cs_other{n}") for n in range(30)
    ]
    assert decided(others) is None
    assert decided([*others, WEBHOOK_ORDER]) is SkipReason.EXISTS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": "setup"}, SkipReason.NOT_A_SALE),
        ({"mode": "setup", "user_id": None}, SkipReason.NOT_A_SALE),
        ({"user_id": None}, SkipReason.NO_USER),
        ({"user_id": "+++"}, SkipReason.NO_USER),
        ({"payment_status": "unpaid"}, SkipReason.UNPAID),
        ({"payment_status": "no_payment_required"}, None),
    ],
)
def test_what_is_no_paid_sale_of_a_known_user_is_left_alone(changes, reason):
    assert decided(**changes) is reason


def test_an_unpaid_session_waits_unless_the_order_of_a_paid_one_is_there():
    def decided_with(said):
        return decided([replace(WEBHOOK_ORDER, payment_status=said)], payment_status="unpaid")

    assert decided_with("paid") is SkipReason.EXISTS
    assert decided_with("unpaid") is decided_with(None) is SkipReason.UNPAID


def test_an_order_that_would_have_expired_is_not_raised_from_the_dead():
    day = 86_400
    assert decided(ttl_days=1, now=MESSAGE.created + day) is SkipReason.EXPIRED
    assert decided(ttl_days=1, now=MESSAGE.created + day - 1) is None
    assert decided(ttl_days=0, now=MESSAGE.created + 1000 * day) is None
    assert decided([WEBHOOK_ORDER], ttl_days=1, now=MESSAGE.created + day) is SkipReason.EXISTS


def test_the_user_is_looked_up_under_the_clean_id_first_and_the_raw_one_where_it_differs():
    assert user_ids(MESSAGE) == ("ab@example.com", "a+b@example.com")
    assert user_ids(replace(MESSAGE, user_id="u1")) == ("u1",)
    assert user_ids(replace(MESSAGE, user_id=None)) == ()


@pytest.mark.parametrize(
    ("amount", "currency", "worth"),
    [
        (4999, "EUR", (4999, "eur")),
        (0, "jpy", (0, "jpy")),
        (None, None, (None, None)),
        (-5, "eur", (-5, "eur")),
        (10**18, "eur", (None, "eur")),
        (4999, "", (4999, None)),
        (4999, "\ud800", (4999, None)),
        (4999, "e" * 9, (4999, None)),
    ],
)
def test_the_worth_of_a_message_is_what_an_outcome_can_hold_of_it(amount, currency, worth):
    assert amount_and_currency(replace(MESSAGE, amount_total=amount, currency=currency)) == worth
