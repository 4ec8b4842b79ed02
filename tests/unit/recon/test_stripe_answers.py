"""Stripe's answers, read: what is taken of events, charges and disputes, and what is said of an error."""

from types import SimpleNamespace

import pytest
import stripe

from recon.errors import (
    KeyNotAllowed,
    KeyRejected,
    KeyUnavailable,
    MalformedSession,
    StripeRejected,
    StripeUnavailable,
)
from recon.stripe.connection import to_domain_error
from recon.stripe.source import FetchedSession, Page, SessionEvent, StripeSource
from testkit.builders import FakeTime

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
EXPANDED = ["line_items", "line_items.data.price.product"]
WITH_CHARGE = [*EXPANDED, "payment_intent.latest_charge"]


class Answers:
    """A connection that answers from a list; an error in it is raised. Keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.timeout = 1.0
        self.key = SimpleNamespace(read=lambda: "sk_test_1", find_replacement=lambda rejected: None)
        self.rate_limiter = SimpleNamespace(
            wait=lambda *_, **__: None, speed_up=lambda: None, slow_down=lambda: None
        )

    def get(self, path, params, key):
        self.asked.append((path.removeprefix("/v1/"), params))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def source(*answers, tries=1, clock=None):
    connection = Answers(*answers)
    deadline = (clock or FakeTime()).deadline(600)
    return StripeSource(connection, deadline, lambda: None, tries), connection.asked


def session(**changes):
    return {"id": "cs_1", "line_items": {"data": [{"id": "li_1"}], "has_more": False}} | changes


def charged(**charge):
    return session(payment_intent={"latest_charge": {"id": "ch_1"} | charge})


def event(number=1, **changes):
    subject = {"id": f"cs_{number}"}
    return {
        "id": f"evt_{number}",
        "type": COMPLETED,
        "created": 100 + number,
        "data": {"object": subject},
    } | changes


# Errors


def test_an_error_is_told_by_status_code_parameter_reason_and_request():
    error = stripe.InvalidRequestError(
        "No such session: of jane",
        "expand",
        code="resource_missing",
        http_status=400,
        headers={"stripe-rate-limited-reason": "global-rate", "request-id": "req_1"},
    )
    assert str(to_domain_error(error)) == (
        "Stripe: InvalidRequestError (status 400, code resource_missing, param expand, "
        "reason global-rate, request req_1)"
    )


def test_an_error_that_says_nothing_is_told_by_its_kind():
    assert str(to_domain_error(stripe.APIConnectionError("of jane"))) == "Stripe: APIConnectionError"


def test_what_is_no_word_is_not_passed_on():
    error = stripe.CardError("of jane", "jane@example.com", "a code of many words", http_status=402)
    assert str(to_domain_error(error)) == "Stripe: CardError (status 402)"


# Sessions


def test_a_page_asks_for_complete_sessions_of_a_window():
    stripe_source, asked = source({"data": [{"id": "cs_1"}], "has_more": True}, {"data": []})
    assert stripe_source.list_sessions(1, 2) == Page([{"id": "cs_1"}], has_more=True)
    assert stripe_source.list_sessions(1, 2, after="cs_1", limit=7) == Page([], has_more=False)
    wanted = {"created": {"gte": 1, "lte": 2}, "status": "complete", "limit": 100}
    assert asked == [
        ("checkout/sessions", wanted),
        ("checkout/sessions", wanted | {"limit": 7, "starting_after": "cs_1"}),
    ]


def test_entries_that_are_no_session_are_counted_and_left_out():
    stripe_source, _ = source({"data": [{"id": "cs_1"}, {"id": "with blank "}, {"id": 7}, "text", {}]})
    assert stripe_source.list_sessions(1, 2) == Page([{"id": "cs_1"}], has_more=False, unreadable=4)


def test_an_empty_page_that_promises_more_is_no_answer():
    stripe_source, _ = source({"data": [{}], "has_more": True})
    with pytest.raises(StripeUnavailable, match=r"^Stripe: an empty page that says there is more$"):
        stripe_source.list_sessions(1, 2)


@pytest.mark.parametrize("answer", [{}, {"data": {}}, {"data": None}])
def test_a_list_without_data_is_no_answer(answer):
    stripe_source, _ = source(answer)
    with pytest.raises(StripeUnavailable, match=r"^Stripe: a list without data$"):
        stripe_source.list_sessions(1, 2)


# Events


def test_events_are_those_of_completion_and_of_payment_page_after_page():
    stripe_source, asked = source({"data": [event(1)], "has_more": True}, {"data": [event(2, type=PAID)]})
    assert list(stripe_source.list_events(50)) == [
        SessionEvent("evt_1", COMPLETED, 101, "cs_1"),
        SessionEvent("evt_2", PAID, 102, "cs_2"),
    ]
    wanted = {"types": [COMPLETED, PAID], "created": {"gte": 50}, "limit": 100}
    assert asked == [("events", wanted), ("events", wanted | {"starting_after": "evt_1"})]


def test_events_that_no_webhook_has_acknowledged_are_asked_for_by_that():
    stripe_source, asked = source({"data": []})
    assert list(stripe_source.list_events(50, undelivered=True)) == []
    assert asked[0][1]["delivery_success"] == "false"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "evt 1"},
        {"type": None},
        {"type": "of jane"},
        {"created": "yesterday"},
        {"data": None},
        {"data": []},
        {"data": {"object": None}},
        {"data": {"object": []}},
        {"data": {"object": {"id": "of jane"}}},
    ],
)
def test_an_event_that_cannot_be_read_is_left_out_and_no_other(changes):
    stripe_source, _ = source({"data": [event(1, **changes), {"type": COMPLETED}, event(2)]})
    assert [found.id for found in stripe_source.list_events(50)] == ["evt_2"]


def test_who_paid_after_a_moment_is_asked_once_an_invocation():
    stripe_source, asked = source({"data": [event(1), event(2, type=PAID)]})
    assert stripe_source.find_paid_after(50) == {"cs_2"}
    assert stripe_source.find_paid_after(50) == {"cs_2"}
    assert [params["created"] for _, params in asked] == [{"gte": 51}]


def test_nobody_is_known_to_have_paid_where_events_may_not_be_read():
    stripe_source, _ = source(KeyNotAllowed("no"))
    assert stripe_source.find_paid_after(50) == frozenset()


# One session


def test_a_session_comes_with_its_items_and_its_charge():
    stripe_source, asked = source(charged(refunded=False))
    assert stripe_source.fetch("cs/1 ?") == FetchedSession(charged(refunded=False), [{"id": "li_1"}])
    assert asked == [("checkout/sessions/cs%2F1%20%3F", {"expand": WITH_CHARGE})]


def test_further_items_are_read_page_after_page():
    first = session(line_items={"data": [{"id": "li_1"}], "has_more": True})
    stripe_source, asked = source(
        first, {"data": [{"id": "li_2"}], "has_more": True}, {"data": [{"id": "li_3"}], "has_more": False}
    )
    assert [item["id"] for item in stripe_source.fetch("cs_1").line_items] == ["li_1", "li_2", "li_3"]
    wanted = {"limit": 100, "expand": ["data.price.product"]}
    assert asked[1:] == [
        ("checkout/sessions/cs_1/line_items", wanted | {"starting_after": "li_1"}),
        ("checkout/sessions/cs_1/line_items", wanted | {"starting_after": "li_2"}),
    ]


def test_items_that_are_all_further_on_are_read_from_the_first():
    stripe_source, asked = source(
        session(line_items={"data": [], "has_more": True}), {"data": [{"id": "li_1"}]}
    )
    assert stripe_source.fetch("cs_1").line_items == [{"id": "li_1"}]
    assert "starting_after" not in asked[1][1]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (session(line_items=None), "line_items must be a list"),
        (session(line_items=[]), "line_items must be a list"),
        (session(line_items={"data": [{"id": "li_1"}, {}]}), "an entry of line_items has no id"),
    ],
)
def test_a_session_whose_items_cannot_be_read_whole_is_malformed(answer, told):
    stripe_source, _ = source(answer)
    with pytest.raises(MalformedSession) as caught:
        stripe_source.fetch("cs_1")
    assert str(caught.value) == told


def test_a_refund_in_full_is_seen_and_asks_for_no_dispute():
    stripe_source, asked = source(charged(refunded=True, disputed=True))
    assert stripe_source.fetch("cs_1").refunded is True
    assert len(asked) == 1


@pytest.mark.parametrize(("status", "refunded"), [("lost", True), ("won", False), (None, False)])
def test_a_dispute_that_was_lost_takes_the_money_back(status, refunded):
    stripe_source, asked = source(charged(disputed=True), {"data": [{"id": "dp_1", "status": status}]})
    fetched = stripe_source.fetch("cs_1")
    assert (fetched.refunded, fetched.charges_known) == (refunded, True)
    assert asked[1] == ("disputes", {"charge": "ch_1", "limit": 100})


def test_without_disputes_the_sale_stands_and_that_is_said():
    stripe_source, _ = source(charged(disputed=True), KeyNotAllowed("no"))
    fetched = stripe_source.fetch("cs_1")
    assert (fetched.refunded, fetched.charges_known) == (False, False)


def test_without_charges_the_session_is_fetched_without_and_that_is_said():
    stripe_source, asked = source(KeyNotAllowed("no"), session(payment_intent="pi_1"))
    fetched = stripe_source.fetch("cs_1")
    assert (fetched.refunded, fetched.charges_known) == (False, False)
    assert [params["expand"] for _, params in asked] == [WITH_CHARGE, EXPANDED]


@pytest.mark.parametrize("area", ["charges", "disputes"])
def test_a_missing_permission_is_not_asked_for_again_and_concerns_nothing_else(area):
    if area == "charges":
        answers = (KeyNotAllowed("no"), session(), session())
    else:
        answers = (charged(disputed=True), KeyNotAllowed("no"), charged(disputed=True))
    stripe_source, asked = source(*answers)
    assert stripe_source.fetch("cs_1").charges_known is False
    assert stripe_source.fetch("cs_1").charges_known is False
    assert len(asked) == 3


def test_a_rejected_key_is_not_tried_again_for_anything():
    clock = FakeTime()
    stripe_source, asked = source(KeyRejected("Stripe: no"), tries=3, clock=clock)
    for _ in range(2):
        with pytest.raises(KeyRejected, match=r"^Stripe: no$"):
            stripe_source.fetch("cs_1")
    with pytest.raises(KeyRejected, match=r"^Stripe: no$"):
        stripe_source.find_paid_after(1)
    assert len(asked) == 1
    assert clock.slept == []  # a second does not make it a better key


def test_a_key_that_cannot_be_read_is_asked_for_once_an_invocation():
    connection, asked = Answers(), []

    def read():
        asked.append("current")
        raise KeyUnavailable("no parameter")

    connection.key.read = read
    stripe_source = StripeSource(connection, FakeTime().deadline(600), lambda: None, 3)
    for _ in range(2):
        with pytest.raises(KeyUnavailable, match=r"^no parameter$"):
            stripe_source.list_sessions(1, 2)
    assert asked == ["current"]


def test_two_that_are_refused_at_once_look_for_another_key_once():
    connection, looked = Answers(), []
    stripe_source = StripeSource(connection, FakeTime().deadline(600), lambda: None, 1)
    connection.key.find_replacement = looked.append

    def get(path, params, key):
        connection.get = refuse
        with pytest.raises(KeyNotAllowed):
            stripe_source.list_sessions(1, 2)
        raise KeyNotAllowed("no")

    def refuse(path, params, key):
        raise KeyNotAllowed("no")

    connection.get = get
    with pytest.raises(KeyNotAllowed):
        stripe_source.list_sessions(1, 2)
    assert looked == ["sk_test_1"]


@pytest.mark.parametrize("further", [False, True])
def test_sessions_that_may_not_be_read_are_asked_for_by_nobody_again(further):
    """Listed, fetched, or their further items: it is one permission."""
    refused = KeyNotAllowed("no sessions")
    if further:
        first = session(line_items={"data": [{"id": "li_1"}], "has_more": True})
        stripe_source, asked = source(first, refused)
    else:
        stripe_source, asked = source(KeyNotAllowed("no charges"), refused)
    with pytest.raises(KeyNotAllowed, match=r"^no sessions$"):
        stripe_source.fetch("cs_1")
    with pytest.raises(KeyNotAllowed, match=r"^no sessions$"):
        stripe_source.list_sessions(1, 2)
    assert len(asked) == 2


def test_sessions_that_may_not_be_listed_are_not_fetched():
    stripe_source, asked = source(KeyNotAllowed("no sessions"), KeyNotAllowed("no charges"))
    with pytest.raises(KeyNotAllowed, match=r"^no sessions$"):
        stripe_source.list_sessions(1, 2)
    with pytest.raises(KeyNotAllowed, match=r"^no sessions$"):
        stripe_source.fetch("cs_1")
    assert len(asked) == 2


# Repeats


def test_a_repeat_waits_a_fifth_of_a_second_at_first_and_never_more_than_two():
    """At random below that: a hundred rounds show the bounds."""
    first, longest = 0.0, 0.0
    for _ in range(100):
        clock = FakeTime()
        failures = [StripeUnavailable("no")] * 5
        stripe_source, asked = source(*failures, {"data": []}, tries=6, clock=clock)
        stripe_source.list_sessions(1, 2)
        assert len(asked) == 6
        first, longest = max(first, clock.slept[0]), max(longest, *clock.slept)
    assert 0.1 < first <= 0.2
    assert 1.0 < longest <= 2.0


def test_an_error_that_no_repeat_mends_is_raised_at_once():
    stripe_source, asked = source(StripeRejected("Stripe: no"), tries=6)
    with pytest.raises(StripeRejected):
        stripe_source.list_sessions(1, 2)
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [{"data": [], "has_more": True}, {"data": [{}], "has_more": True}])
def test_an_empty_page_of_events_that_promises_more_is_no_answer(answer):
    stripe_source, _ = source(answer)
    with pytest.raises(StripeUnavailable, match=r"^Stripe: an empty page that says there is more$"):
        list(stripe_source.list_events(50))


def test_a_further_item_without_an_id_is_said_to_be_one_of_the_items():
    first = session(line_items={"data": [{"id": "li_1"}], "has_more": True})
    stripe_source, _ = source(first, {"data": [{}]})
    with pytest.raises(MalformedSession, match=r"^an entry of line_items has no id$"):
        stripe_source.fetch("cs_1")
