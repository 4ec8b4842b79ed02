"""StripeSource's requests, what it reads from the responses, and what it remembers about the key."""

from types import SimpleNamespace

import pytest

from recon.config import Settings
from recon.domain.payment_state import Payment
from recon.errors import (
    KeyNotAllowed,
    KeyRejected,
    KeyUnavailable,
    MalformedSession,
    SessionNotFound,
    StripeRejected,
    StripeUnavailable,
)
from recon.stripe.key import StripeKey
from recon.stripe.pages import Page
from recon.stripe.source import FetchedSession, SessionEvent, StripeSource
from testkit.builders import FakeTime

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
EXPANDED = ["line_items", "line_items.data.price.product"]
CORE = ["payment_intent", "payment_intent.latest_charge"]
BALANCE, REVIEW = "payment_intent.latest_charge.balance_transaction", "payment_intent.review"
DETAILS = ["shipping_cost.shipping_rate", "discounts.promotion_code", "total_details.breakdown"]
WITH_ALL = [*EXPANDED, *CORE, BALANCE, REVIEW, *DETAILS]
MISSING = SessionNotFound("no")
DENIED = KeyNotAllowed("denied")
EMPTY_PAGE = r"^Stripe: an empty page with has_more set$"


class StubConnection:
    """A connection with given responses; an exception among them is raised. `asked` keeps the requests."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.asked = []
        self.timeout = 1.0
        self.key = SimpleNamespace(
            read=lambda: "sk_test_1", find_replacement=lambda rejected: None, renew=lambda: None
        )
        self.rate_limiter = SimpleNamespace(
            wait=lambda *_, **__: None, speed_up=lambda: None, slow_down=lambda: None
        )

    def get(self, path, params, key):
        self.asked.append((path.removeprefix("/v1/"), params))
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


def connect(*responses, tries=1, clock=None):
    connection = StubConnection(*responses)
    return StripeSource(connection, (clock or FakeTime()).deadline(600), lambda: None, tries), connection


def session(**changes):
    return {"id": "cs_1", "line_items": {"data": [{"id": "li_1"}], "has_more": False}} | changes


def a_charged_session(**charge):
    return session(payment_intent={"latest_charge": {"id": "ch_1"} | charge})


def event(number=1, **changes):
    subject = {"id": f"cs_{number}"}
    return {
        "id": f"evt_{number}",
        "type": COMPLETED,
        "created": 100 + number,
        "data": {"object": subject},
    } | changes


FIRST_ITEMS = session(line_items={"data": [{"id": "li_1"}], "has_more": True})


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


def test_one_read_of_events_says_which_of_the_sessions_fetched_before_were_paid_after_a_moment():
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


# A session that Stripe does not find


@pytest.mark.parametrize("superseded", [True, False])
def test_parameter_is_compared_with_the_key_once_per_invocation(superseded):
    source, connection = connect()
    answers = iter([superseded])
    connection.key.is_superseded = lambda: next(answers)
    assert [source.has_newer_key(), source.has_newer_key()] == [superseded, superseded]


def test_parameter_that_cannot_be_read_shows_no_newer_key():
    source, connection = connect()

    def fail():
        raise KeyUnavailable("no")

    connection.key.is_superseded = fail
    assert not source.has_newer_key()


def test_newer_key_is_used_from_the_next_invocation_on():
    source, connection = connect({"id": "cs_1"}, {"id": "cs_1"})
    parameter = {"Value": "sk_test_old"}
    ssm = SimpleNamespace(get_parameter=lambda **_: {"Parameter": parameter})
    settings = Settings(table="t", queue_url="q", stripe_secret_parameter="/key")
    connection.key = StripeKey(settings, lambda: ssm)
    assert connection.key.read() == "sk_test_old"
    assert not source.has_newer_key()
    parameter = {"Value": "sk_test_new"}
    second = StripeSource(connection, FakeTime().deadline(600), lambda: None)
    assert second.has_newer_key()
    assert connection.key.read() == "sk_test_old"
    StripeSource(connection, FakeTime().deadline(600), lambda: None)
    assert connection.key.read() == "sk_test_new"


def test_key_of_the_environment_is_never_superseded():
    key = StripeKey(Settings(table="t", queue_url="q", stripe_secret="sk_test_1"), lambda: None)
    assert not key.is_superseded()


def test_session_is_gone_if_the_same_key_finds_the_proof():
    source, connection = connect({"id": "cs_proof"}, MISSING, MISSING)
    assert source.is_gone("cs_1", "cs_proof")
    assert source.is_gone("cs_2", "cs_proof")
    paths = [path for path, _ in connection.asked]
    assert paths == [f"checkout/sessions/{name}" for name in ("cs_proof", "cs_1", "cs_2")]


@pytest.mark.parametrize("responses", [(MISSING,), ({"id": "cs_proof"}, {"id": "cs_1"})])
def test_session_is_not_gone_without_proof_or_if_it_is_found(responses):
    source, connection = connect(*responses)
    assert not source.is_gone("cs_1", "cs_proof")
    assert connection.responses == []


def test_session_is_not_gone_if_the_key_was_replaced_in_between():
    source, connection = connect({"id": "cs_proof"}, MISSING)
    keys = iter(["sk_test_1", "sk_test_1", "sk_test_1", "sk_test_2"])
    connection.key.read = lambda: next(keys)
    assert not source.is_gone("cs_1", "cs_proof")


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


def test_invoice_of_a_wrong_type_is_malformed():
    with pytest.raises(MalformedSession, match=r"^invoice must be an id$"):
        connect(a_subscription(invoice=["in_1"]))[0].fetch("cs_1")


def test_invoices_that_the_key_may_not_read_are_tried_once_for_all_subscriptions():
    responses = [a_subscription(), *[DENIED] * 5, a_subscription()]
    source, connection = connect(*responses)
    for _ in range(2):
        fetched = source.fetch("cs_1")
        assert (fetched.payment, fetched.charges_known) == (Payment(), False)
    assert len(connection.asked) == len(responses)


# The key


def list_sessions(source):
    source.list_sessions(1, 2)


def fetch(source):
    source.fetch("cs_1")


def add_details(expanded):
    """Return the requests that find out which of the details can be read."""
    return [[*expanded, *DETAILS[:number]] for number in range(len(DETAILS) + 1)]


@pytest.mark.parametrize(
    ("denied", "requests", "charges_known", "details_known"),
    [
        ((), [WITH_ALL], True, True),
        (
            (DETAILS[2],),
            [
                WITH_ALL,
                [*EXPANDED, *CORE],
                [*EXPANDED, *CORE, BALANCE],
                *add_details([*EXPANDED, *CORE, BALANCE, REVIEW]),
                [*EXPANDED, *CORE, BALANCE, REVIEW, *DETAILS[:2]],
            ],
            True,
            False,
        ),
        (
            (BALANCE,),
            [
                WITH_ALL,
                [*EXPANDED, *CORE],
                [*EXPANDED, *CORE, BALANCE],
                *add_details([*EXPANDED, *CORE, REVIEW]),
            ],
            True,
            False,
        ),
        (
            (CORE[1],),
            [
                WITH_ALL,
                [*EXPANDED, *CORE],
                [*EXPANDED, CORE[0]],
                [*EXPANDED, *CORE],
                *add_details([*EXPANDED, CORE[0], REVIEW]),
            ],
            False,
            True,
        ),
        (
            (CORE[0],),
            [WITH_ALL, [*EXPANDED, *CORE], [*EXPANDED, CORE[0]], *add_details(EXPANDED)[1:]],
            False,
            True,
        ),
    ],
    ids=["nothing", "discounts", "balance transactions", "charges", "intents"],
)
def test_missing_permission_is_found_once_and_costs_only_its_objects(
    denied, requests, charges_known, details_known
):
    """A combination that Stripe has refused is not requested again, so some requests are not sent."""
    source, connection = connect()

    def get(path, params, key):
        connection.asked.append(params["expand"])
        if any(f"{path}.".startswith(f"{one}.") for path in params["expand"] for one in denied):
            raise DENIED
        return session()

    connection.get = get
    for _ in range(2):
        fetched = source.fetch("cs_1")
        assert (fetched.charges_known, fetched.details_known) == (charges_known, details_known)
    sent = [request for n, request in enumerate(requests) if request not in requests[:n]]
    assert connection.asked == [*sent, requests[-1]]


def test_missing_permission_for_disputes_is_requested_once():
    source, connection = connect(a_charged_session(disputed=True), DENIED, a_charged_session(disputed=True))
    for _ in range(2):
        assert source.fetch("cs_1").charges_known is False
    assert len(connection.asked) == 3


def test_rejected_key_is_not_used_again():
    clock = FakeTime()
    source, connection = connect(KeyRejected("Stripe: no"), tries=3, clock=clock)
    for request in (fetch, fetch, lambda source: source.is_paid_after(1, FetchedSession({}, []))):
        with pytest.raises(KeyRejected, match=r"^Stripe: no$"):
            request(source)
    assert len(connection.asked) == 1
    assert clock.slept == []  # waiting does not make a key valid


def test_unavailable_key_is_read_once():
    source, connection = connect(tries=3)
    reads = []

    def read():
        reads.append(1)
        raise KeyUnavailable("no parameter")

    connection.key.read = read
    for _ in range(2):
        with pytest.raises(KeyUnavailable, match=r"^no parameter$"):
            source.list_sessions(1, 2)
    assert len(reads) == 1


def test_two_simultaneous_rejections_search_one_replacement():
    source, connection = connect()
    searched = []
    connection.key.find_replacement = searched.append

    def reject(path, params, key):
        raise DENIED

    def reject_after_another_request(path, params, key):
        connection.get = reject
        with pytest.raises(KeyNotAllowed):
            source.list_sessions(1, 2)
        raise DENIED

    connection.get = reject_after_another_request
    with pytest.raises(KeyNotAllowed):
        source.list_sessions(1, 2)
    assert searched == ["sk_test_1"]


@pytest.mark.parametrize(
    ("responses", "first", "second"),
    [
        ([*[KeyNotAllowed("charges")] * 6, DENIED], fetch, list_sessions),
        ([FIRST_ITEMS, DENIED], fetch, list_sessions),
        ([DENIED, *[KeyNotAllowed("charges")] * 6], list_sessions, fetch),
    ],
    ids=["fetched", "further items", "listed"],
)
def test_sessions_are_one_permission_for_lists_fetches_and_items(responses, first, second):
    source, connection = connect(*responses)
    for request in (first, second):
        with pytest.raises(KeyNotAllowed, match=r"^denied$"):
            request(source)
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
