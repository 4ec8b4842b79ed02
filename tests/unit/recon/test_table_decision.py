"""The decision by the orders in the table, and the drift of an existing order."""

from dataclasses import replace

import pytest

from recon.domain.outcome import SkipReason
from recon.domain.table_decision import (
    ExistingOrder,
    amount_and_currency,
    decide_from_table,
    find_drift,
    other_user_ids,
    user_ids,
)
from recon.errors import TableUnavailable, UnknownState
from recon.timestamps import DAY
from testkit.builders import a_message

MESSAGE = a_message()
NOW = MESSAGE.created + 3600
ORDER = ExistingOrder("USER#ab@example.com", f"ORDER#{MESSAGE.created + 77}#cs_1", "cs_1", "cs_1")
BUSY = TableUnavailable("busy")


def decide(orders=(), ttl_days=0, now=NOW, **changes):
    return decide_from_table(replace(MESSAGE, **changes), orders, now=now, ttl_days=ttl_days)


@pytest.mark.parametrize(
    "order", [ORDER, replace(ORDER, order_id=None), replace(ORDER, stripe_session_id=None)]
)
def test_order_is_recognised_by_either_id_among_others(order):
    others = [replace(ORDER, order_id=f"cs_{n}0", stripe_session_id=f"cs_{n}0") for n in range(30)]
    assert decide(others) is None
    assert decide([*others, order]) is SkipReason.EXISTS


@pytest.mark.parametrize("orders", [(), BUSY])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": "setup"}, SkipReason.NOT_A_SALE),
        ({"mode": "setup", "user_id": None}, SkipReason.NOT_A_SALE),
        ({"user_id": None}, SkipReason.NO_USER),
    ],
)
def test_message_alone_can_decide_whatever_the_lookup_returned(orders, changes, reason):
    assert decide(orders, **changes) is reason


@pytest.mark.parametrize("user_id", ["+++", "@.", "用户@例子.广告", "-_-"])
def test_id_without_letter_or_digit_is_no_user_unless_its_order_is_found(user_id):
    assert decide(user_id=user_id) is SkipReason.NO_USER
    assert decide([ORDER], user_id=user_id) is SkipReason.EXISTS
    assert decide(BUSY, user_id=user_id) is BUSY


def test_order_that_this_sync_wrote_once_is_not_written_again():
    def decide_guarded(orders, ttl_days=0):
        now = MESSAGE.created + 3 * DAY
        return decide_from_table(MESSAGE, orders, now=now, ttl_days=ttl_days, is_guarded=True)

    assert decide_guarded([]) == "removed"
    assert decide_guarded([ORDER]) == "exists"
    assert decide_guarded([], ttl_days=1) == "expired"
    assert decide_guarded(BUSY) is BUSY


@pytest.mark.parametrize(
    "changes", [{"payment_status": "no_payment_required"}, {"payment_status": "unpaid"}, {"pending": 1}, {}]
)
def test_sale_without_order_is_missing_unless_the_lookup_failed(changes):
    assert decide(**changes) is None
    assert decide(BUSY, **changes) is BUSY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"payment_status": "processing"},
            'payment_status has the unknown value "processing"; known are no_payment_required, paid, unpaid',
        ),
        (
            {"mode": "reservation"},
            'mode has the unknown value "reservation"; known are payment, setup, subscription',
        ),
        ({"mode": "of Jane"}, "mode has the unknown value; known are payment, setup, subscription"),
    ],
)
def test_unknown_word_is_an_error_if_the_order_is_missing(changes, message):
    unknown = decide(**changes, ttl_days=1, now=NOW + DAY)
    assert (type(unknown), str(unknown)) == (UnknownState, message)
    assert decide([ORDER], **changes) is SkipReason.EXISTS


def test_pending_session_is_decided_by_its_order():
    assert decide(payment_status="unpaid", pending=1) is None
    assert decide([ORDER], payment_status="unpaid", pending=1) is SkipReason.EXISTS


@pytest.mark.parametrize(
    ("order_status", "reason"),
    [("paid", SkipReason.EXISTS), ("unpaid", SkipReason.UNPAID), (None, SkipReason.EXISTS)],
)
def test_unpaid_session_waits_if_its_order_is_unpaid(order_status, reason):
    other = replace(ORDER, order_id="x", stripe_session_id="x", payment_status="paid")
    orders = [other, replace(ORDER, payment_status=order_status)]
    assert decide(orders, payment_status="unpaid") is reason


def test_unpaid_session_is_not_expired_before_stripe_is_asked():
    late = {"ttl_days": 1, "now": MESSAGE.created + 90 * DAY}
    assert decide(payment_status="unpaid", **late) is None
    assert decide(pending=1, **late) is None


@pytest.mark.parametrize(("status", "pending"), [("paid", None), ("paid", 1), ("unpaid", 1)])
def test_unpaid_order_does_not_end_the_wait(status, pending):
    orders = [replace(ORDER, payment_status="unpaid")]
    assert decide(orders, payment_status=status, pending=pending) is None


@pytest.mark.parametrize(
    ("orders", "ttl_days", "age", "reason"),
    [
        ([], 1, 2 * DAY + 600, SkipReason.EXPIRED),
        ([], 1, 2 * DAY + 599, None),
        ([], 0, 1000 * DAY, None),
        ([ORDER], 1, DAY, SkipReason.EXISTS),
    ],
)
def test_expired_order_is_not_written_again(orders, ttl_days, age, reason):
    assert decide(orders, ttl_days=ttl_days, now=MESSAGE.created + age) is reason


@pytest.mark.parametrize(
    ("user_id", "ids"),
    [
        ("a+b@example.com", ("ab@example.com", "a+b@example.com")),
        ("u1", ("u1",)),
        (None, ()),
        ("+", ()),
        ("@.", ()),
    ],
)
def test_user_ids_are_the_clean_one_then_a_different_raw_one(user_id, ids):
    assert user_ids(replace(MESSAGE, user_id=user_id)) == ids


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({"user_id": "u1"}, ()),
        ({"user_id": None}, ()),
        ({"user_id": "U 1"}, ("u 1", "u1")),
        ({"user_id": "a@x.com", "raw_user_id": "A@x.com"}, ("A@x.com",)),
        (
            {"user_id": "u1", "other_user_ids": ("A+B@x.com", "u1", "")},
            ("A+B@x.com", "AB@x.com", "a+b@x.com", "ab@x.com"),
        ),
        ({"user_id": None, "other_user_ids": ("用户@例子.广告",)}, ("用户@例子.广告", "@.")),
        # The lower-cased Kelvin sign is an ordinary letter; half a surrogate pair is in no key.
        ({"user_id": None, "other_user_ids": ("\u212a",)}, ("\u212a", "k")),
        ({"user_id": None, "other_user_ids": ("a\ud800",)}, ("a",)),
        ({"user_id": "U1", "mode": "setup"}, ()),
    ],
)
def test_other_ids_are_all_candidates_raw_cleaned_and_lower_cased(changes, ids):
    assert other_user_ids(replace(MESSAGE, **changes)) == ids


@pytest.mark.parametrize(
    ("amount", "currency", "stored"),
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
def test_amount_and_currency_are_kept_if_they_can_be_stored(amount, currency, stored):
    assert amount_and_currency(replace(MESSAGE, amount_total=amount, currency=currency)) == stored


def test_session_that_requires_no_payment_is_free():
    free = replace(MESSAGE, amount_total=None, currency=None, payment_status="no_payment_required")
    assert amount_and_currency(free) == (0, None)
    assert amount_and_currency(replace(free, payment_status="paid")) == (None, None)


# Drift


def test_drift_names_field_and_both_values():
    order = replace(ORDER, amount=1, currency="USD", payment_status="unpaid")
    other = replace(ORDER, order_id="cs_2", stripe_session_id="cs_2", amount=2)
    assert find_drift(MESSAGE, [order, other]) == (
        "amount: the order says 1, Stripe 4999",
        "currency: the order says USD, Stripe eur",
        "payment_status: the order says unpaid, Stripe paid",
    )


def test_duplicate_names_both_keys_and_compares_the_first():
    first, second = (
        replace(ORDER, pk="USER#u", sk="ORDER#1", amount=4999),
        replace(ORDER, pk="USER#v", sk="ORDER#1", stripe_session_id=None, amount=1),
    )
    assert find_drift(MESSAGE, [second, first]) == ("duplicate: USER#u/ORDER#1, USER#v/ORDER#1",)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({}, {}),
        ({"amount": 4999, "currency": "EUR", "payment_status": "paid"}, {}),
        ({"amount": 1, "currency": "usd"}, {"amount_total": None, "currency": None}),
        ({"payment_status": "unpaid"}, {"payment_status": "no_payment_required"}),
    ],
)
def test_equal_or_absent_values_are_no_drift(order, message):
    assert find_drift(replace(MESSAGE, **message), [replace(ORDER, **order)]) == ()
