"""StripeSource's requests, what it reads from the responses, and its retries."""

import pytest

from recon.domain.payment_state import Payment
from recon.errors import KeyNotAllowed, KeyRejected, MalformedSession, StripeRejected, StripeUnavailable
from recon.stripe.expansions import LISTED_EXPANSIONS, LISTED_REQUIRED
from recon.stripe.pages import Page
from recon.stripe.source import FetchedSession, SessionEvent, StripeSource
from testkit.builders import FakeTime
from tests.unit.recon.stub_stripe import DENIED, FIRST_ITEMS, WITH_ALL, a_charged_session, connect, session

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
EMPTY_PAGE = r"^Stripe: an empty page with has_more set$"


def event(number=1, **changes):
    subject = {"id": f"cs_{number}"}
    return {
        "id": f"evt_{number}",
        "type": COMPLETED,
        "created": 100 + number,
        "data": {"object": subject},
    } | changes


# Sessions and events


def test_page_holds_complete_sessions_of_a_window():
    source, connection = connect({"data": [{"id": "cs_1"}], "has_more": True}, {"data": []})
    assert source.list_sessions(1, 2) == Page([{"id": "cs_1"}], has_more=True)
    assert source.list_sessions(1, 2, after="cs_1", limit=7) == Page([], has_more=False)
    wanted = {"created": {"gte": 1, "lte": 2}, "status": "complete", "limit": 100}
    assert connection.asked == [
        ("checkout/sessions", wanted),
        ("checkout/sessions", wanted | {"limit": 7, "starting_after": "cs_1"}),
    ]


def test_entries_without_valid_id_are_counted_and_left_out():
    strangers = [{"id": "with blank "}, {"id": 7}, {"id": None}, {"object": "x"}, {}, None, "text", 5]
    source, _ = connect({"data": [*strangers, {"id": "cs_1"}]})
    assert source.list_sessions(1, 2) == Page([{"id": "cs_1"}], has_more=False, unreadable=8)


def test_sessions_of_a_filter_are_those_with_a_valid_id():
    source, connection = connect({"data": [{"id": "cs_1"}, {"id": "with blank "}, {}, {"id": "cs_2"}]})
    assert source.search_sessions({"payment_intent": "pi_1"}) == [{"id": "cs_1"}, {"id": "cs_2"}]
    assert connection.asked == [("checkout/sessions", {"payment_intent": "pi_1", "limit": 100})]


TYPES, RANGE = [COMPLETED, PAID], {"gte": 1, "lte": 2}
# Each list with its permission and its first request.
LISTS = {
    "sessions": (
        "sessions",
        lambda source: source.list_sessions(1, 2),
        ("checkout/sessions", {"status": "complete", "created": RANGE, "limit": 100}),
    ),
    "found": ("sessions", lambda source: source.search_sessions({}), ("checkout/sessions", {"limit": 100})),
    "whole sessions": (
        "listed",
        lambda source: source.list_expanded(1, 2, limit=7),
        (
            "checkout/sessions",
            {
                "status": "complete",
                "created": RANGE,
                "limit": 7,
                "expand": [*LISTED_REQUIRED, *(path for each in LISTED_EXPANSIONS for path in each.paths)],
            },
        ),
    ),
    "one session": (
        "sessions",
        lambda source: source.find_session("cs/1 ?"),
        ("checkout/sessions/cs%2F1%20%3F", {}),
    ),
    "products": (
        "products",
        lambda source: source.list_products(("prod_1",)),
        ("products", {"ids": ["prod_1"], "limit": 100}),
    ),
    "events": (
        "events",
        lambda source: list(source.list_events(1, created_to=2)),
        ("events", {"types": TYPES, "created": RANGE, "limit": 100}),
    ),
}


@pytest.mark.parametrize("asked", LISTS)
@pytest.mark.parametrize("denied", LISTS)
def test_list_that_is_denied_once_is_not_requested_again_and_costs_no_other(denied, asked):
    source, connection = connect(DENIED, {"data": []})
    (permission, read, request), (other, read_other, next_request) = LISTS[denied], LISTS[asked]
    with pytest.raises(KeyNotAllowed):
        read(source)
    if permission == other:
        with pytest.raises(KeyNotAllowed):
            read_other(source)
        assert connection.asked == [request]
    else:
        read_other(source)
        assert connection.asked == [request, next_request]


def test_page_of_events_between_two_moments_is_empty_without_permission():
    source, connection = connect({"data": [event(1), {}]}, DENIED)
    assert [each.id for each in source.find_events_between(1, 2)] == ["evt_1"]
    assert (source.find_events_between(1, 2), source.find_events_between(1, 2)) == ([], [])
    with pytest.raises(KeyNotAllowed):
        list(source.list_events(1))
    assert connection.asked == [LISTS["events"][2]] * 2


def test_request_waits_for_its_share_of_the_rate():
    _, connection = connect(*[{"data": []}] * 2)
    waits = []
    connection.rate_limiter.wait = lambda deadline, **options: waits.append(options)
    share = object()
    deadline = FakeTime().deadline(60)
    source = StripeSource(connection, deadline, lambda: None, find_share=share)
    source.list_sessions(1, 2)
    source.list_sessions(1, 2)
    assert waits == [{"needed_after": 1.0, "find_share": share, "turns_after": 0}] * 2


def test_further_requests_leave_time_for_those_for_the_events_of_a_group():
    """The first does not: its success raises a rate that was lowered."""
    _, connection = connect(*[{"data": []}] * 4)
    reserved = []
    connection.rate_limiter.wait = lambda _deadline, *, turns_after, **_others: reserved.append(turns_after)
    source = StripeSource(connection, FakeTime().deadline(60), lambda: None, reserved_requests=2)
    source.list_sessions(1, 2)
    source.list_sessions(1, 2)
    list(source.list_events(1))
    source.find_events_between(1, 2)
    assert reserved == [0, 2, 2, 0]


def test_request_that_is_repeated_with_another_key_leaves_the_same_time():
    _, connection = connect({"data": []}, KeyRejected("no"), {"data": []})
    reserved = []
    connection.rate_limiter.wait = lambda _deadline, *, turns_after, **_others: reserved.append(turns_after)
    connection.key.find_replacement = lambda _rejected: "sk_test_new"
    source = StripeSource(connection, FakeTime().deadline(60), lambda: None, reserved_requests=2)
    source.list_sessions(1, 2)
    source.list_sessions(1, 2)
    assert reserved == [0, 2, 2]


def test_product_without_an_id_is_named():
    with pytest.raises(MalformedSession, match=r"^an entry of products has no id$"):
        connect({"data": [{}]})[0].list_products(["prod_1"])


@pytest.mark.parametrize("response", [{}, {"data": {}}, {"data": None}, {"data": "x"}])
def test_list_without_data_is_an_error(response):
    with pytest.raises(StripeUnavailable, match=r"^Stripe: a list without data$"):
        connect(response)[0].list_sessions(1, 2)


@pytest.mark.parametrize("rows", [[], [{}]])
@pytest.mark.parametrize(
    "read", [lambda source: source.list_sessions(1, 2), lambda source: list(source.list_events(50))]
)
def test_empty_page_with_has_more_is_an_error(rows, read):
    with pytest.raises(StripeUnavailable, match=EMPTY_PAGE):
        read(connect({"data": rows, "has_more": True})[0])


def test_events_of_completion_and_payment_are_read_page_by_page():
    source, connection = connect({"data": [event(1)], "has_more": True}, {"data": [event(2, type=PAID)]})
    assert list(source.list_events(50)) == [
        SessionEvent("evt_1", COMPLETED, 101, "cs_1"),
        SessionEvent("evt_2", PAID, 102, "cs_2"),
    ]
    wanted = {"types": [COMPLETED, PAID], "created": {"gte": 50}, "limit": 100}
    assert connection.asked == [("events", wanted), ("events", wanted | {"starting_after": "evt_1"})]


def test_undelivered_events_are_requested_by_their_filter():
    source, connection = connect({"data": []})
    assert list(source.list_events(50, undelivered=True)) == []
    assert connection.asked[0][1]["delivery_success"] == "false"


def test_events_of_one_type_are_requested_alone():
    source, connection = connect({"data": []})
    assert list(source.list_events(50, types=(PAID,))) == []
    assert connection.asked[0][1]["types"] == [PAID]


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
def test_unreadable_event_is_left_out_alone(changes):
    source, _ = connect({"data": [event(1, **changes), {"type": COMPLETED}, event(2)]})
    assert [each.id for each in source.list_events(50)] == ["evt_2"]


def test_one_read_of_events_names_the_fetched_sessions_paid_later():
    first, second, third = (session(id=f"cs_{number}") for number in (1, 2, 3))
    events = [{"data": [event(1), event(2, type=PAID)]}, {"data": [event(3, type=PAID)]}]
    source, connection = connect(first, second, events[0], third, events[1])
    fetched = [source.fetch("cs_1"), source.fetch("cs_2")]
    assert [source.is_paid_after(50, each) for each in fetched] == [False, True]
    # Its payment settled after the events were read.
    assert source.is_paid_after(50, source.fetch("cs_3"))
    created = [params["created"] for _, params in connection.asked if "created" in params]
    assert created == [{"gte": 51}, {"gte": 51}]


def test_without_events_no_session_is_known_to_be_paid():
    assert not connect(DENIED)[0].is_paid_after(50, FetchedSession({"id": "cs_1"}, []))


# One session


def test_session_is_fetched_with_items_and_charge():
    source, connection = connect(a_charged_session(refunded=False))
    charged = a_charged_session(refunded=False)
    payment = Payment(charged["payment_intent"], charged["payment_intent"]["latest_charge"])
    assert source.fetch("cs/1 ?") == FetchedSession(charged, [{"id": "li_1"}], payment)
    assert connection.asked == [("checkout/sessions/cs%2F1%20%3F", {"expand": WITH_ALL})]


def test_further_items_are_read_page_by_page():
    source, connection = connect(
        FIRST_ITEMS, {"data": [{"id": "li_2"}], "has_more": True}, {"data": [{"id": "li_3"}]}
    )
    assert [item["id"] for item in source.fetch("cs_1").line_items] == ["li_1", "li_2", "li_3"]
    wanted = {"limit": 100, "expand": ["data.price.product"]}
    path = "checkout/sessions/cs_1/line_items"
    assert connection.asked[1:] == [
        (path, wanted | {"starting_after": "li_1"}),
        (path, wanted | {"starting_after": "li_2"}),
    ]


def test_items_are_read_from_the_first_if_none_is_embedded():
    source, connection = connect(
        session(line_items={"data": [], "has_more": True}), {"data": [{"id": "li_1"}]}
    )
    assert source.fetch("cs_1").line_items == [{"id": "li_1"}]
    assert "starting_after" not in connection.asked[1][1]


@pytest.mark.parametrize(
    ("responses", "problem"),
    [
        ([session(line_items=None)], "line_items must be a list"),
        ([session(line_items=[])], "line_items must be a list"),
        ([{"id": "cs_1"}], "line_items must be a list"),
        ([session(line_items={"data": [{"id": "li_1"}, {}]})], "an entry of line_items has no id"),
        ([FIRST_ITEMS, {"data": [{}]}], "an entry of line_items has no id"),
    ],
)
def test_session_with_unreadable_items_is_malformed(responses, problem):
    with pytest.raises(MalformedSession, match=f"^{problem}$"):
        connect(*responses)[0].fetch("cs_1")


LOST = {"id": "dp_1", "status": "lost"}


@pytest.mark.parametrize(
    ("responses", "disputes", "charges_known"),
    [
        ([a_charged_session(disputed=False)], (), True),
        ([a_charged_session(disputed=True), {"data": [LOST]}], (LOST,), True),
        ([a_charged_session(disputed=True), {"data": []}], (), True),
        ([a_charged_session(disputed=True), DENIED], (), False),
    ],
)
def test_disputes_are_read_where_the_charge_has_one(responses, disputes, charges_known):
    source, connection = connect(*responses)
    fetched = source.fetch("cs_1")
    assert (fetched.payment.disputes, fetched.charges_known) == (disputes, charges_known)
    assert connection.asked[1:] == [("disputes", {"charge": "ch_1", "limit": 100})] * (len(responses) - 1)


# A subscription


INVOICED = [
    "data.payment.payment_intent",
    "data.payment.payment_intent.latest_charge",
    "data.payment.charge",
    "data.payment.payment_intent.review",
]


def a_subscription(**changes):
    return session(**{"mode": "subscription", "payment_status": "paid", "invoice": "in_1"} | changes)


def an_invoice_payment(**charge):
    intent = {"status": "succeeded", "latest_charge": {"id": "ch_1"} | charge}
    return {"id": "inpay_1", "status": "paid", "payment": {"payment_intent": intent}}


@pytest.mark.parametrize("invoice", ["in_1", {"id": "in_1"}])
def test_subscription_has_the_payment_of_its_first_invoice(invoice):
    source, connection = connect(a_subscription(invoice=invoice), {"data": [an_invoice_payment()]})
    fetched = source.fetch("cs_1")
    assert fetched.payment.charge == {"id": "ch_1"}
    assert (fetched.charges_known, fetched.details_known) == (True, True)
    wanted = {"invoice": "in_1", "limit": 100, "expand": INVOICED}
    assert connection.asked[1:] == [("invoice_payments", wanted)]


def test_disputes_of_a_subscription_are_read():
    source, _ = connect(a_subscription(), {"data": [an_invoice_payment(disputed=True)]}, {"data": [LOST]})
    assert source.fetch("cs_1").payment.disputes == (LOST,)


@pytest.mark.parametrize(
    "changes", [{"mode": "payment"}, {"payment_status": "no_payment_required"}, {"invoice": None}]
)
def test_only_a_subscription_that_was_charged_takes_a_further_request(changes):
    source, connection = connect(a_subscription(**changes))
    assert source.fetch("cs_1").payment == Payment()
    assert len(connection.asked) == 1


@pytest.mark.parametrize(
    ("responses", "problem"),
    [
        ([a_charged_session(disputed="yes")], "latest_charge.disputed must be true or false"),
        (
            [session(mode="subscription", invoice="in_1"), {"data": [{}]}],
            "an entry of invoice_payments has no id",
        ),
    ],
)
def test_unreadable_payment_is_malformed(responses, problem):
    with pytest.raises(MalformedSession) as caught:
        connect(*responses)[0].fetch("cs_1")
    assert str(caught.value) == problem


def test_invoice_of_a_wrong_type_is_malformed():
    with pytest.raises(MalformedSession, match=r"^invoice must be an id$"):
        connect(a_subscription(invoice=["in_1"]))[0].fetch("cs_1")


def test_invoices_without_permission_are_requested_once_for_all_subscriptions():
    responses = [a_subscription(), *[DENIED] * 5, a_subscription()]
    source, connection = connect(*responses)
    for _ in range(2):
        fetched = source.fetch("cs_1")
        assert (fetched.payment, fetched.charges_known) == (Payment(), False)
    assert len(connection.asked) == len(responses)


# Retries


def test_retry_waits_a_fifth_of_a_second_first_and_two_at_most():
    """The wait is random below that, so a hundred rounds are needed to see the bounds."""
    first, longest = 0.0, 0.0
    for _ in range(100):
        clock = FakeTime()
        source, connection = connect(*[StripeUnavailable("no")] * 5, {"data": []}, tries=6, clock=clock)
        source.list_sessions(1, 2)
        assert len(connection.asked) == 6
        first, longest = max(first, clock.slept[0]), max(longest, *clock.slept)
    assert 0.1 < first <= 0.2
    assert 1.0 < longest <= 2.0


def test_permanent_error_is_not_retried():
    source, connection = connect(StripeRejected("Stripe: no"), tries=6)
    with pytest.raises(StripeRejected):
        source.list_sessions(1, 2)
    assert len(connection.asked) == 1
