"""The state of a payment: each row of what Stripe can say, for a payment and for a subscription's invoice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.domain.attention import Attention
from recon.domain.outcome import SkipReason
from recon.domain.payment_state import (
    CAPTURE_NOTICE,
    Payment,
    PaymentState,
    attention_beside_order,
    find_payment,
    read_payment_state,
)
from recon.errors import MalformedSession, UnknownState
from testkit.builders import NOW

AMOUNT = 10_000
OLD_CHARGE = {"amount_captured": None}
INTENTS = {
    "canceled",
    "processing",
    "requires_action",
    "requires_capture",
    "requires_confirmation",
    "requires_payment_method",
    "succeeded",
}
UNPAID = PaymentState(SkipReason.UNPAID, waits=True)
FAILED = PaymentState(SkipReason.PAYMENT_FAILED)
FAILED_FOR_NOW = PaymentState(SkipReason.PAYMENT_FAILED, waits=True)
REFUNDED = PaymentState(SkipReason.REFUNDED)
HELD = PaymentState(SkipReason.AWAITING_CAPTURE, waits=True, attention=(Attention.AWAITING_CAPTURE,))
NOT_A_SALE = PaymentState(SkipReason.NOT_A_SALE)


def due(*words, captured=None, refunded=None):
    """Return the state of a payment whose order is written."""
    return PaymentState(
        attention=tuple(map(Attention, words)),
        amount_captured=captured,
        amount_refunded=refunded,
    )


def a_session(mode="payment", payment_status="paid", **changes):
    amount = {"amount_total": AMOUNT, "currency": "eur"}
    return {"status": "complete", "mode": mode, "payment_status": payment_status} | amount | changes


def an_intent(status="succeeded", charge=None, **changes):
    """Return a payment intent; `charge` are the fields of its charge that are not those of a plain one."""
    captured = AMOUNT if status == "succeeded" else 0
    plain = {
        "amount": AMOUNT,
        "amount_captured": captured,
        "amount_refunded": 0,
        "captured": captured > 0,
        "refunded": False,
        "currency": "eur",
        "created": NOW,
        "fraud_details": {},
    }
    intent = {"status": status, "amount": AMOUNT, "amount_received": captured, "latest_charge": "ch_1"}
    return intent | ({} if charge is None else {"latest_charge": plain | charge}) | changes


def read(mode, payment_status="paid", intent=None, disputes=(), **session):
    """Return the state of a session whose intent is its own, or that of its subscription's first invoice."""
    session = a_session(mode, payment_status, **session)
    rows = []
    if mode == "subscription" and intent:
        status = "open" if payment_status == "unpaid" else "paid"
        rows = [
            {"id": "inpay_1", "status": status, "is_default": True, "payment": {"payment_intent": intent}}
        ]
    else:
        session["payment_intent"] = intent
    found = find_payment(session, rows)
    return read_payment_state(session, Payment(found.intent, found.charge, tuple(disputes)))


def a_dispute(status, **changes):
    return {"status": status, "amount": AMOUNT, "currency": "eur"} | changes


def plain_card():
    return {"intent": an_intent(charge={})}


# Name of the row: arguments of `read`, state
ROWS = {
    "captured in full": (plain_card(), due()),
    "paid without a payment": ({}, due()),
    "nothing to pay": ({"payment_status": "no_payment_required"}, due()),
    "captured in part": (
        {"intent": an_intent(charge={"amount_captured": 6000})},
        due("partly_captured", captured=6000),
    ),
    "captured in part by an older version, which counts the rest as a refund": (
        {"intent": an_intent(charge={"amount_captured": 6000, "amount_refunded": 4000})},
        due("partly_captured", captured=6000),
    ),
    "captured in part, and refunded in part, by an older version": (
        {"intent": an_intent(charge={"amount_captured": 6000, "amount_refunded": 4500})},
        due("partly_captured", "partly_refunded", captured=6000, refunded=500),
    ),
    "captured in part, and refunded in part": (
        {"intent": an_intent(charge={"amount_captured": 6000, "amount_refunded": 1500})},
        due("partly_captured", "partly_refunded", captured=6000, refunded=1500),
    ),
    "refunded in part": (
        {"intent": an_intent(charge={"amount_refunded": 3000})},
        due("partly_refunded", refunded=3000),
    ),
    "refunded but for one cent": (
        {"intent": an_intent(charge={"amount_refunded": AMOUNT - 1})},
        due("partly_refunded", refunded=AMOUNT - 1),
    ),
    "refunded in full": (
        {"intent": an_intent(charge={"amount_refunded": AMOUNT, "refunded": True})},
        REFUNDED,
    ),
    "refunded in full without the flag": (
        {"intent": an_intent(charge={"amount_refunded": AMOUNT})},
        REFUNDED,
    ),
    "refunded in full by a version without amounts": (
        {"intent": an_intent(charge=OLD_CHARGE | {"amount_refunded": None, "refunded": True})},
        REFUNDED,
    ),
    "all of the captured part refunded": (
        {"intent": an_intent(charge={"amount_captured": 6000, "amount_refunded": 6000, "refunded": True})},
        REFUNDED,
    ),
    "all of the captured part refunded by an older version": (
        {"intent": an_intent(charge={"amount_captured": 6000, "amount_refunded": AMOUNT, "refunded": True})},
        REFUNDED,
    ),
    "the rest of a hold released by an older version with its flag": (
        {"intent": an_intent(charge={"amount_captured": 6000, "amount_refunded": 4000, "refunded": True})},
        due("partly_captured", captured=6000),
    ),
    "half of a hold captured and refunded": (
        {"intent": an_intent(charge={"amount_captured": 5000, "amount_refunded": 5000, "refunded": True})},
        REFUNDED,
    ),
    "half of a hold captured, the rest released by an older version": (
        {"intent": an_intent(charge={"amount_captured": 5000, "amount_refunded": 5000, "refunded": False})},
        due("partly_captured", captured=5000),
    ),
    "dispute lost": (plain_card() | {"disputes": [a_dispute("lost")]}, REFUNDED),
    "dispute over all that was captured lost": (
        {
            "intent": an_intent(charge={"amount_captured": 6000}),
            "disputes": [a_dispute("lost", amount=6000)],
        },
        REFUNDED,
    ),
    "dispute lost for a part": (plain_card() | {"disputes": [a_dispute("lost", amount=5)]}, due("disputed")),
    "a part lost and the rest refunded": (
        {
            "intent": an_intent(charge={"amount_refunded": 3000}),
            "disputes": [a_dispute("lost", amount=7000)],
        },
        REFUNDED,
    ),
    "two disputes lost, each for a part": (
        plain_card() | {"disputes": [a_dispute("lost", amount=6000), a_dispute("lost", amount=4000)]},
        REFUNDED,
    ),
    "dispute of a version without amount lost": (
        plain_card() | {"disputes": [a_dispute("lost", amount=None, currency=None)]},
        REFUNDED,
    ),
    "dispute in another currency lost": (
        plain_card() | {"disputes": [a_dispute("lost", currency="usd", amount=12_000)]},
        due("disputed"),
    ),
    **{
        f"dispute {status}": (plain_card() | {"disputes": [a_dispute(status)]}, due("disputed"))
        for status in (
            "needs_response",
            "under_review",
            "warning_needs_response",
            "warning_under_review",
            "appeal_needs_response",
            "appeal_under_review",
            "prevented",
            "a_word_of_a_later_version",
        )
    },
    **{
        f"dispute {status}": (plain_card() | {"disputes": [a_dispute(status)]}, due())
        for status in ("won", "warning_closed")
    },
    "one dispute won and another open": (
        plain_card() | {"disputes": [a_dispute("won"), a_dispute("under_review")]},
        due("disputed"),
    ),
    "dispute prevented by a refund": (
        {
            "intent": an_intent(charge={"amount_refunded": AMOUNT, "refunded": True}),
            "disputes": [a_dispute("prevented")],
        },
        REFUNDED,
    ),
    "review open": ({"intent": an_intent(charge={}, review={"open": True})}, due("under_review")),
    "review closed": ({"intent": an_intent(charge={}, review={"open": False})}, due()),
    "review not expanded": ({"intent": an_intent(charge={}, review="prv_1")}, due()),
    "fraud reported by Stripe": (
        {"intent": an_intent(charge={"fraud_details": {"stripe_report": "fraudulent"}})},
        due("fraud_reported"),
    ),
    "fraud reported by the shop": (
        {"intent": an_intent(charge={"fraud_details": {"user_report": "fraudulent"}})},
        due("fraud_reported"),
    ),
    "reported as safe": ({"intent": an_intent(charge={"fraud_details": {"user_report": "safe"}})}, due()),
    **{
        f"hold of an {status} session": (
            {"payment_status": status, "intent": an_intent("requires_capture", {})},
            HELD,
        )
        for status in ("unpaid", "paid", "no_payment_required")
    },
    "hold whose charge may not be read": ({"intent": an_intent("requires_capture")}, HELD),
    "hold of a version without captured amounts": (
        {"intent": an_intent("requires_capture", OLD_CHARGE)},
        HELD,
    ),
    "hold of a version with a flag only": (
        {"intent": {"status": "requires_capture", "latest_charge": {"amount": AMOUNT, "captured": False}}},
        HELD,
    ),
    "hold captured in part so far": (
        {"intent": an_intent("requires_capture", {"amount_captured": 6000})},
        due("partly_captured", captured=6000),
    ),
    "unpaid hold captured in part so far": (
        {"payment_status": "unpaid", "intent": an_intent("requires_capture", {"amount_captured": 6000})},
        HELD,
    ),
    **{
        f"released hold of an {status} session": (
            {"payment_status": status, "intent": an_intent("canceled", {})},
            FAILED,
        )
        for status in ("unpaid", "paid")
    },
    "hold released by an older version, which counts it as a refund": (
        {"intent": an_intent("canceled", {"amount_refunded": AMOUNT, "refunded": True})},
        FAILED,
    ),
    "canceled before anything was tried": (
        {"payment_status": "unpaid", "intent": an_intent("canceled")},
        FAILED,
    ),
    "canceled after a bank debit failed, which was captured at first": (
        {
            "payment_status": "unpaid",
            "intent": an_intent("canceled", {"status": "failed", "amount_captured": AMOUNT}),
        },
        FAILED,
    ),
    "canceled after a part was captured": (
        {"intent": an_intent("canceled", {"amount_captured": 6000})},
        due("partly_captured", captured=6000),
    ),
    **{
        f"unpaid, intent {status}": ({"payment_status": "unpaid", "intent": an_intent(status)}, UNPAID)
        for status in ("processing", "requires_action", "requires_confirmation", "succeeded")
    },
    "unpaid without a payment": ({"payment_status": "unpaid"}, UNPAID),
    "unpaid with a failed payment": (
        {"payment_status": "unpaid", "intent": an_intent("requires_payment_method", {"paid": False})},
        FAILED_FOR_NOW,
    ),
    "paid, and what was captured may not be read": ({"intent": {"status": "succeeded"}}, due()),
    "paid, charge of a version with a flag only": ({"intent": an_intent(charge=OLD_CHARGE)}, due()),
    "refunded, and a version without the latest charge lists the charges": (
        {
            "intent": {
                "status": "succeeded",
                "charges": {"data": [{"refunded": True}, {"status": "failed"}]},
            }
        },
        REFUNDED,
    ),
    "no charge in a version that lists them": (
        {"payment_status": "unpaid", "intent": {"status": "processing", "charges": {"data": []}}},
        UNPAID,
    ),
    "captured in part, charge of a version with a flag only": (
        {"intent": an_intent(charge=OLD_CHARGE | {"amount_refunded": 4000}, amount_received=6000)},
        due("partly_captured", captured=6000),
    ),
    "captured in part, charge not readable": (
        {"intent": an_intent(amount_received=6000)},
        due("partly_captured", captured=6000),
    ),
    "money in the currency that the customer saw": (
        {"intent": an_intent(charge={"currency": "usd", "amount_refunded": 3000})},
        due("partly_refunded"),
    ),
}


@pytest.mark.parametrize("mode", ["payment", "subscription"])
@pytest.mark.parametrize("row", ROWS)
def test_each_row_gives_its_state_in_each_mode(row, mode):
    arguments, state = ROWS[row]
    assert read(mode, **arguments) == state


def test_setup_is_no_sale_whatever_else_it_says():
    assert read("setup", payment_status="no_payment_required") == NOT_A_SALE
    assert read("setup", payment_status="some_later_word") == NOT_A_SALE


def test_hold_has_the_date_until_which_it_can_be_captured():
    for details in ({"card": {"capture_before": NOW}}, {"type": "paypal", "paypal": {"capture_before": NOW}}):
        intent = an_intent("requires_capture", {"payment_method_details": details})
        assert read("payment", intent=intent).until == NOW
    intent = an_intent("requires_capture", {"payment_method_details": {"type": "card", "card": {}}})
    assert read("payment", intent=intent).until is None


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (None, ()),
        (NOW + CAPTURE_NOTICE, ()),
        (NOW + CAPTURE_NOTICE - 1, ("awaiting_capture",)),
        (NOW - 1, ("awaiting_capture",)),
    ],
)
def test_hold_with_an_order_is_news_only_shortly_before_it_lapses(until, words):
    held = PaymentState(SkipReason.AWAITING_CAPTURE, attention=(Attention.AWAITING_CAPTURE,), until=until)
    assert attention_beside_order(held, NOW) == words
    assert attention_beside_order(due("disputed"), NOW) == ("disputed",)


# The payments of an invoice


@pytest.mark.parametrize(
    ("payment_status", "statuses", "chosen"),
    [
        ("paid", ["open", "paid", "canceled"], 1),
        ("paid", ["canceled", "open"], None),
        ("unpaid", ["canceled", "open"], 1),
        ("unpaid", ["open", "paid"], 1),
        ("unpaid", ["canceled"], 0),
        ("unpaid", ["a_later_word"], None),
        ("unpaid", [], None),
    ],
)
def test_payment_that_paid_the_invoice_is_the_sessions(payment_status, statuses, chosen):
    rows = [
        {"status": status, "payment": {"payment_intent": {"id": f"pi_{n}"}}}
        for n, status in enumerate(statuses)
    ]
    found = find_payment(a_session("subscription", payment_status), rows)
    assert found.intent == (None if chosen is None else {"id": f"pi_{chosen}"})
    assert find_payment({"payment_intent": {"id": "pi_own"}}, rows).intent == {"id": "pi_own"}


def test_default_payment_is_preferred_among_equals():
    rows = [{"status": "paid", "payment": {"payment_intent": {"id": f"pi_{n}"}}} for n in range(2)]
    rows[1]["is_default"] = True
    assert find_payment(a_session("subscription"), rows).intent == {"id": "pi_1"}


@pytest.mark.parametrize("refunded", [{0}, {1}, {0, 1}])
@pytest.mark.parametrize("has_intent", [True, False])
def test_refund_of_one_of_several_payments_does_not_end_the_order(refunded, has_intent):
    session = a_session("subscription", amount_total=1000)
    rows = []
    for n, amount in enumerate((600, 400)):
        back = amount if n in refunded else 0
        charge = {
            "amount": amount,
            "amount_captured": amount,
            "amount_refunded": back,
            "refunded": bool(back),
        }
        intent = {"id": f"pi_{n}", "status": "succeeded", "latest_charge": charge}
        details = {"payment_intent": intent} if has_intent else {"charge": charge}
        rows.append({"status": "paid", "is_default": n == 1, "payment": details})
    state = read_payment_state(session, find_payment(session, rows))
    assert (state.skip is REFUNDED.skip) is (refunded == {0, 1})


def test_invoice_paid_with_a_charge_alone_has_no_intent():
    rows = [{"status": "paid", "payment": {"type": "charge", "charge": {"id": "ch_1"}}}]
    assert find_payment(a_session("subscription"), rows) == Payment(charge={"id": "ch_1"})


# Words and types


@pytest.mark.parametrize(
    ("session", "intent", "field", "word"),
    [
        ({"status": "archived"}, None, "status", ' "archived"'),
        ({"mode": "reservation"}, None, "mode", ' "reservation"'),
        ({"payment_status": "partially_paid"}, None, "payment_status", ' "partially_paid"'),
        ({"payment_status": "Paid by Jane"}, None, "payment_status", ""),
        ({"payment_status": "x" * 65}, None, "payment_status", ""),
        (
            {"payment_status": "unpaid"},
            an_intent("requires_source"),
            "payment_intent.status",
            ' "requires_source"',
        ),
    ],
)
def test_unknown_word_is_an_error_that_names_field_and_word(session, intent, field, word):
    with pytest.raises(UnknownState, match=f"^{field} has the unknown value{word}; known are "):
        read_payment_state(a_session(**session), Payment(intent))


def test_unknown_word_of_the_intent_of_a_paid_session_is_no_error():
    assert read("payment", intent=an_intent("a_later_word")).skip is None


@pytest.mark.parametrize("status", ["open", "expired"])
def test_session_that_is_not_complete_is_malformed(status):
    with pytest.raises(MalformedSession, match=r"^status must be complete$"):
        read_payment_state(a_session(status=status), Payment())


WRONG_CHARGES = {
    "amount": 10**18,
    "amount_captured": -1,
    "amount_refunded": True,
    "refunded": "yes",
    "fraud_details": ["fraudulent"],
}


@pytest.mark.parametrize("field", WRONG_CHARGES)
def test_wrong_type_in_a_charge_is_named(field):
    with pytest.raises(MalformedSession, match=rf"^latest_charge\.{field} must be "):
        read("payment", intent=an_intent(charge={field: WRONG_CHARGES[field]}))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"intent": ["pi_1"]}, "payment_intent"),
        ({"intent": {"status": None}}, r"payment_intent\.status"),
        ({"intent": an_intent(latest_charge=5)}, "latest_charge"),
        ({"intent": an_intent(amount_received="5")}, r"payment_intent\.amount_received"),
        ({"intent": an_intent(review={"open": "yes"})}, r"review\.open"),
        ({"intent": an_intent(amount="5")}, r"payment_intent\.amount"),
        ({"intent": {"status": "x", "charges": []}}, r"payment_intent\.charges"),
        ({"intent": an_intent(charge=OLD_CHARGE | {"captured": 1})}, r"latest_charge\.captured"),
        ({"intent": an_intent(charge={}), "disputes": [{"status": None}]}, r"dispute\.status"),
        ({"intent": an_intent(charge={}), "disputes": [a_dispute("lost", amount="5")]}, r"dispute\.amount"),
        ({"intent": an_intent(charge={}), "disputes": [a_dispute("lost", currency=5)]}, "currency"),
        ({"payment_status": 5}, "payment_status"),
        ({"payment_status": None}, "payment_status"),
        (
            {
                "intent": an_intent(
                    "requires_capture", {"payment_method_details": {"card": {"capture_before": "soon"}}}
                )
            },
            r"payment_method_details\.capture_before",
        ),
        (
            {"intent": an_intent("requires_capture", {"payment_method_details": "card"})},
            r"latest_charge\.payment_method_details",
        ),
    ],
)
def test_wrong_type_beside_the_charge_is_named(arguments, field):
    with pytest.raises(MalformedSession, match=f"^{field} must be "):
        read("payment", **arguments)


# Any payment

AMOUNTS = st.integers(0, 5)


@st.composite
def payments(draw):
    amount = draw(st.integers(1, 5))
    captured = draw(st.integers(0, amount))
    charge = {
        "amount": amount,
        "amount_captured": captured,
        "amount_refunded": draw(st.integers(0, amount)),
        "currency": "eur",
        "created": NOW,
    }
    disputes = [
        a_dispute(status, amount=draw(AMOUNTS))
        for status in draw(st.lists(st.sampled_from(["lost", "won", "needs_response"]), max_size=2))
    ]
    return an_intent(draw(st.sampled_from(sorted(INTENTS))), charge), disputes


@given(
    st.sampled_from(["payment", "subscription"]),
    st.sampled_from(["paid", "unpaid", "no_payment_required"]),
    payments(),
)
def test_state_of_any_payment_keeps_the_promises(mode, payment_status, payment):
    intent, disputes = payment
    charge = intent["latest_charge"]
    session = a_session(mode, payment_status, amount_total=charge["amount"])
    found = Payment(intent, charge, tuple(disputes))
    state = read_payment_state(session, found)
    captured, refunded = charge["amount_captured"], charge["amount_refunded"]
    released = charge["amount"] - captured
    if state.skip is None:
        assert payment_status != "unpaid"
        returned = refunded - released if refunded >= released else refunded
        lost = sum(dispute["amount"] for dispute in disputes if dispute["status"] == "lost")
        assert not captured or returned + lost < captured
        assert captured or intent["status"] not in ("canceled", "requires_capture")
        assert state.amount_refunded == (returned or None)
        assert state.amount_captured == (captured if 0 < captured < charge["amount"] else None)
        assert (Attention.PARTLY_CAPTURED in state.attention) == (0 < captured < charge["amount"])
        assert (Attention.PARTLY_REFUNDED in state.attention) == (returned > 0)
        assert not state.waits
    else:
        assert state.waits == (
            state.skip in (SkipReason.UNPAID, SkipReason.AWAITING_CAPTURE)
            or (state.skip is SkipReason.PAYMENT_FAILED and intent["status"] == "requires_payment_method")
        )
        assert (state.skip is SkipReason.REFUNDED) <= (payment_status != "unpaid" and captured > 0)


def test_charge_alone_with_a_flag_only_was_captured_and_refunded_in_full():
    charge = {"amount": AMOUNT, "captured": True, "amount_refunded": AMOUNT}
    assert read_payment_state(a_session(), Payment(charge=charge)) == REFUNDED


def test_captured_amount_in_another_currency_is_left_out():
    charge = {"amount": 9000, "amount_captured": 9000, "amount_refunded": 0, "currency": "usd"}
    payment = Payment({"status": "succeeded"}, charge)
    assert read_payment_state(a_session(), payment).amount_captured is None
    same = Payment({"status": "succeeded"}, charge | {"currency": "eur"})
    assert read_payment_state(a_session(), same).amount_captured == 9000
