import json
import threading
import time
from http.client import HTTPConnection, RemoteDisconnected
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.fake_stripe import Endpoint, FakeStripe, LineSpec, RateLimits, SessionSpec
from testkit.fake_stripe.store import Cursor, Store, Window

KEY = "sk_test_0123456789abcdef"
NOW = 1_732_672_800
SESSIONS = "/v1/checkout/sessions"
DISPUTES = "/v1/disputes"


class Client:
    """One kept-alive connection, as a client's pool has it."""

    def __init__(self, fake):
        self._connection = HTTPConnection(urlsplit(fake.url).netloc, timeout=5)

    def ask(self, path, *, key=KEY, method="GET", headers=None, **params):
        query = urlencode(params, doseq=True)
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._connection.request(method, f"{path}?{query}", headers=authorization | (headers or {}))
        response = self._connection.getresponse()
        return response.status, json.loads(response.read()), response.headers

    def get(self, path, **params):
        status, body, _ = self.ask(path, **params)
        assert status == 200, body
        return body

    def error(self, path, **params):
        status, body, _ = self.ask(path, **params)
        return status, body["error"]

    def close(self):
        self._connection.close()


@pytest.fixture
def fake():
    with FakeStripe(KEY, limits=RateLimits(None, None)) as fake:
        yield fake


@pytest.fixture
def client(fake):
    client = Client(fake)
    yield client
    client.close()


def ids(body):
    return [served["id"] for served in body["data"]]


def numbered(count, *, apart=1, **fields):
    return [SessionSpec(f"cs_{number:03}", NOW + number * apart, **fields) for number in range(count)]


# --- lists of sessions ----------------------------------------------------------------------------------


def test_sessions_are_listed_newest_first_ten_at_a_time(fake, client):
    fake.store.add_all(numbered(12))
    body = client.get(SESSIONS)
    assert ids(body) == [f"cs_{number:03}" for number in range(11, 1, -1)]
    assert body["has_more"]
    assert body["url"] == SESSIONS


def test_sessions_of_the_same_second_are_ordered_by_id(fake, client):
    fake.store.add_all(reversed(numbered(5, apart=0)))
    assert ids(client.get(SESSIONS)) == ["cs_004", "cs_003", "cs_002", "cs_001", "cs_000"]


sessions_of_few_seconds = st.lists(st.integers(0, 3), max_size=30).map(
    lambda seconds: [SessionSpec(f"cs_{number:03}", second) for number, second in enumerate(seconds)]
)


def walk(store, start, limit, wanted):
    """All pages, from one end of the list to the other."""
    page = store.sessions(limit, Window(), start(None), wanted)
    pages = [page.items]
    while page.has_more:
        edge = page.items[-1] if start(None).ending_before is None else page.items[0]
        page = store.sessions(limit, Window(), start(edge.id), wanted)
        pages.append(page.items)
    return pages


@given(sessions_of_few_seconds, st.integers(1, 7), st.sampled_from(["all", "even"]))
def test_pages_hold_every_session_once_in_order_whatever_their_size(specs, limit, which):
    store = Store()
    store.add_all(specs)
    wanted = (lambda spec: int(spec.id[-1]) % 2 == 0) if which == "even" else (lambda _: True)
    pages = walk(store, lambda edge: Cursor(starting_after=edge), limit, wanted)
    expected = sorted(filter(wanted, specs), key=lambda spec: (spec.created, spec.id), reverse=True)
    assert [spec for page in pages for spec in page] == expected
    assert all(len(page) == limit for page in pages[:-1])


@given(sessions_of_few_seconds.filter(bool), st.integers(1, 7))
def test_pages_backwards_are_the_pages_forwards(specs, limit):
    store = Store()
    store.add_all(specs)
    newest_first = sorted(specs, key=lambda spec: (spec.created, spec.id), reverse=True)
    oldest = newest_first[-1]
    found = [oldest]
    page = store.sessions(limit, Window(), Cursor(ending_before=oldest.id), lambda _: True)
    while page.items:
        found = page.items + found
        page = store.sessions(limit, Window(), Cursor(ending_before=page.items[0].id), lambda _: True)
    assert found == newest_first


@given(sessions_of_few_seconds, sessions_of_few_seconds)
def test_adding_one_by_one_and_at_once_are_the_same(first, second):
    one_by_one, at_once = Store(), Store()
    for spec in first + second:
        one_by_one.add(spec)
    at_once.add_all(first)
    at_once.add_all(second)
    everything = (1000, Window(), Cursor(), lambda _: True)
    assert one_by_one.sessions(*everything) == at_once.sessions(*everything)
    assert one_by_one.events(*everything) == at_once.events(*everything)


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({"created[gte]": NOW + 3}, ["cs_004", "cs_003"]),
        ({"created[gt]": NOW + 3}, ["cs_004"]),
        ({"created[lte]": NOW + 1}, ["cs_001", "cs_000"]),
        ({"created[lt]": NOW + 1}, ["cs_000"]),
        ({"created": NOW + 2}, ["cs_002"]),
        ({"created[gte]": NOW + 1, "created[lt]": NOW + 3}, ["cs_002", "cs_001"]),
        ({"created[gte]": NOW + 9}, []),
    ],
)
def test_created_bounds_a_list(fake, client, bounds, found):
    fake.store.add_all(numbered(5))
    assert ids(client.get(SESSIONS, **bounds)) == found


def test_a_cursor_outside_the_window_ends_or_starts_the_page_there(fake, client):
    fake.store.add_all(numbered(5))
    assert ids(client.get(SESSIONS, starting_after="cs_001", **{"created[gte]": NOW + 3})) == []
    newest = client.get(SESSIONS, starting_after="cs_004", **{"created[lte]": NOW + 1})
    assert ids(newest) == ["cs_001", "cs_000"]


def test_lists_filter_by_status_customer_payment_intent_and_email(fake, client):
    paid = SessionSpec("cs_paid", NOW, customer="cus_1", email="a@example.com")
    fake.store.add(paid, SessionSpec("cs_open", NOW, status="open", payment_status="unpaid"))
    assert ids(client.get(SESSIONS, status="open")) == ["cs_open"]
    assert ids(client.get(SESSIONS, customer="cus_1")) == ["cs_paid"]
    assert ids(client.get(SESSIONS, payment_intent=paid.payment_intent)) == ["cs_paid"]
    assert ids(client.get(SESSIONS, **{"customer_details[email]": "a@example.com"})) == ["cs_paid"]


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"limit": 0}, "parameter_invalid_integer", "limit"),
        ({"limit": 101}, "parameter_invalid_integer", "limit"),
        ({"limit": "many"}, "parameter_invalid_integer", "limit"),
        ({"created[gte]": "yesterday"}, "parameter_invalid_integer", "created[gte]"),
        ({"starting_after": "cs_gone"}, "resource_missing", "starting_after"),
        ({"ending_before": "cs_gone"}, "resource_missing", "ending_before"),
        ({"starting_after": "cs_000", "ending_before": "cs_001"}, None, "ending_before"),
        ({"status": "finished"}, None, "status"),
        ({"payment_status": "paid"}, "parameter_unknown", "payment_status"),
        ({"created[after]": NOW}, "parameter_unknown", "created[after]"),
    ],
)
def test_what_stripe_does_not_take_is_refused(fake, client, params, code, param):
    fake.store.add_all(numbered(2))
    status, error = client.error(SESSIONS, **params)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error["param"]) == (code, param)


# --- expansion ------------------------------------------------------------------------------------------


def test_line_items_are_there_only_when_they_are_expanded(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    assert "line_items" not in client.get(SESSIONS)["data"][0]
    assert "line_items" not in client.get(f"{SESSIONS}/cs_1")
    expanded = client.get(SESSIONS, **{"expand[]": "data.line_items"})["data"][0]
    assert expanded["line_items"]["data"][0]["price"]["product"].startswith("prod_")


def test_lists_may_be_written_with_numbers_or_without(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    both = {"expand[0]": "line_items", "expand[]": "payment_intent"}
    session = client.get(f"{SESSIONS}/cs_1", **both)
    assert session["line_items"]["data"]
    assert session["payment_intent"]["object"] == "payment_intent"


def test_a_deleted_product_expands_to_its_id_alone(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, lines=(LineSpec(product="deleted"),)))
    session = client.get(f"{SESSIONS}/cs_1", **{"expand[]": "line_items.data.price.product"})
    product = session["line_items"]["data"][0]["price"]["product"]
    assert (set(product), product["deleted"]) == ({"id", "object", "deleted"}, True)


@pytest.mark.parametrize(
    ("path", "expand", "message"),
    [
        (SESSIONS, "line_items", "(line_items). You may want to try expanding 'data.line_items' instead."),
        (
            f"{SESSIONS}/cs_1/line_items",
            "price",
            "(price). You may want to try expanding 'data.price' instead.",
        ),
        (f"{SESSIONS}/cs_1", "amount_total", "This property cannot be expanded (amount_total)."),
        (f"{SESSIONS}/cs_1", "data.line_items", "This property cannot be expanded (data)."),
        (f"{SESSIONS}/cs_1", "line_items.data.price.color", "This property cannot be expanded (color)."),
        (SESSIONS, "data.line_items.data.price.product", "You cannot expand more than 4 levels"),
    ],
)
def test_what_cannot_be_expanded_is_refused(fake, client, path, expand, message):
    fake.store.add(SessionSpec("cs_1", NOW))
    status, error = client.error(path, **{"expand[]": expand})
    assert status == 400
    assert message in error["message"]


# --- line items -----------------------------------------------------------------------------------------


def lines(count):
    return tuple(LineSpec(f"line {number}") for number in range(count))


@pytest.mark.parametrize(
    ("count", "has_more"), [(0, False), (1, False), (10, False), (11, True), (250, True)]
)
def test_a_session_embeds_its_first_ten_lines(fake, client, count, has_more):
    fake.store.add(SessionSpec("cs_1", NOW, lines=lines(count)))
    embedded = client.get(f"{SESSIONS}/cs_1", **{"expand[]": "line_items"})["line_items"]
    assert len(embedded["data"]) == min(count, 10)
    assert embedded["has_more"] is has_more
    assert embedded["url"] == f"{SESSIONS}/cs_1/line_items"


def test_lines_are_paged_in_the_order_of_the_session(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, lines=lines(250)))
    path, found, after = f"{SESSIONS}/cs_1/line_items", [], {}
    while True:
        page = client.get(path, limit=100, **after)
        found += [line["description"] for line in page["data"]]
        if not page["has_more"]:
            break
        after = {"starting_after": page["data"][-1]["id"]}
    assert found == [line.description for line in lines(250)]


def test_lines_are_paged_backwards(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, lines=lines(5)))
    path = f"{SESSIONS}/cs_1/line_items"
    last = ids(client.get(path))[-1]
    page = client.get(path, limit=2, ending_before=last)
    assert [line["description"] for line in page["data"]] == ["line 2", "line 3"]
    assert page["has_more"]


def test_an_unknown_line_is_no_cursor(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    status, error = client.error(f"{SESSIONS}/cs_1/line_items", starting_after="li_gone")
    assert (status, error["code"]) == (400, "resource_missing")


# --- events ---------------------------------------------------------------------------------------------


def test_events_are_made_of_completed_sessions(fake, client):
    fake.store.add(
        SessionSpec("cs_done", NOW, completed_at=NOW + 500),
        SessionSpec("cs_open", NOW, status="open", payment_status="unpaid"),
        SessionSpec("cs_without_event", NOW, event_made=False),
        SessionSpec("cs_later", NOW, async_paid_at=NOW + 900),
    )
    events = client.get("/v1/events")["data"]
    assert [(event["type"], event["data"]["object"]["id"], event["created"]) for event in events] == [
        ("checkout.session.async_payment_succeeded", "cs_later", NOW + 900),
        ("checkout.session.completed", "cs_done", NOW + 500),
        ("checkout.session.completed", "cs_later", NOW + 60),
    ]
    assert [event["data"]["object"]["payment_status"] for event in events] == ["paid", "paid", "unpaid"]


def test_events_are_filtered(fake, client):
    fake.store.add(
        SessionSpec("cs_heard", NOW),
        SessionSpec("cs_unheard", NOW + 1, event_delivered=False, async_paid_at=NOW + 9),
    )

    def found(**params):
        return [event["data"]["object"]["id"] for event in client.get("/v1/events", **params)["data"]]

    assert found(delivery_success="false") == ["cs_unheard", "cs_unheard"]
    assert found(delivery_success="true") == ["cs_heard"]
    assert found(type="checkout.session.completed") == ["cs_unheard", "cs_heard"]
    assert len(found(type="checkout.*")) == 3
    assert found(type="charge.*") == []
    both = ["checkout.session.completed", "checkout.session.async_payment_succeeded"]
    assert len(found(**{"types[]": both})) == 3
    assert found(**{"created[gte]": NOW + 62}) == []


@pytest.mark.parametrize(
    "params",
    [
        {"type": "a", "types[]": "b"},
        {"types[]": [f"type.{number}" for number in range(21)]},
        {"delivery_success": "maybe"},
        {"expand[]": "data.data"},
        {"starting_after": "evt_gone"},
    ],
)
def test_wrong_event_filters_are_refused(client, params):
    assert client.error("/v1/events", **params)[0] == 400


def test_a_session_that_is_added_again_is_replaced_with_its_events(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, payment_status="unpaid"))
    fake.store.add(SessionSpec("cs_1", NOW, async_paid_at=NOW + 99))
    assert client.get(f"{SESSIONS}/cs_1")["payment_status"] == "paid"
    assert len(client.get("/v1/events")["data"]) == 2
    fake.store.remove("cs_1")
    assert client.get("/v1/events")["data"] == client.get(SESSIONS)["data"] == []


# --- disputes -------------------------------------------------------------------------------------------


def test_a_disputed_charge_says_so_and_its_dispute_is_listed(fake, client):
    lost = SessionSpec("cs_lost", NOW, dispute_status="lost")
    fake.store.add(lost, SessionSpec("cs_won", NOW + 1, dispute_status="won"), SessionSpec("cs_kept", NOW))
    assert [dispute["status"] for dispute in client.get(DISPUTES)["data"]] == ["won", "lost"]
    [dispute] = client.get(DISPUTES, charge=lost.charge)["data"]
    assert (dispute["status"], dispute["charge"]) == ("lost", lost.charge)
    assert client.get(DISPUTES, payment_intent=lost.payment_intent)["data"] == [dispute]
    for spec, disputed in (("cs_lost", True), ("cs_won", True), ("cs_kept", False)):
        session = client.get(f"{SESSIONS}/{spec}", **{"expand[]": "payment_intent.latest_charge"})
        assert session["payment_intent"]["latest_charge"]["disputed"] is disputed


def test_what_was_never_charged_cannot_be_disputed(fake, client):
    fake.store.add(
        SessionSpec("cs_unpaid", NOW, payment_status="unpaid", dispute_status="lost"),
        SessionSpec("cs_free", NOW, payment_status="no_payment_required", dispute_status="lost"),
    )
    assert client.get(DISPUTES)["data"] == []


def test_disputes_are_paged_newest_first_and_expand_what_they_name(fake, client):
    fake.store.add_all(numbered(5, dispute_status="needs_response"))
    first = client.get(DISPUTES, limit=2)
    second = client.get(DISPUTES, limit=5, starting_after=first["data"][-1]["id"])
    assert (first["has_more"], second["has_more"], first["url"]) == (True, False, DISPUTES)
    created = [dispute["created"] for page in (first, second) for dispute in page["data"]]
    assert created == sorted(created, reverse=True)
    assert len(created) == 5
    expand = ["data.charge", "data.payment_intent.latest_charge"]
    [dispute] = client.get(DISPUTES, limit=1, **{"expand[]": expand})["data"]
    assert dispute["charge"]["disputed"] is True
    assert dispute["payment_intent"]["latest_charge"] == dispute["charge"]
    assert client.get(DISPUTES, **{"created[gt]": created[0]})["data"] == []


def test_a_dispute_moves_and_goes_with_its_session(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, dispute_status="needs_response"))
    fake.store.add(SessionSpec("cs_1", NOW, dispute_status="lost"))
    assert [dispute["status"] for dispute in client.get(DISPUTES)["data"]] == ["lost"]
    fake.store.add(SessionSpec("cs_1", NOW))
    assert client.get(DISPUTES)["data"] == []
    fake.store.add(SessionSpec("cs_1", NOW, dispute_status="lost"))
    fake.store.clear()
    assert client.get(DISPUTES)["data"] == []


@pytest.mark.parametrize(
    "params",
    [{"status": "lost"}, {"limit": 101}, {"starting_after": "du_gone"}, {"expand[]": "data.evidence"}],
)
def test_wrong_dispute_filters_are_refused(client, params):
    assert client.error(DISPUTES, **params)[0] == 400


# --- keys, errors, headers ------------------------------------------------------------------------------


def test_an_error_says_all_that_stripes_says(client):
    status, body, headers = client.ask(f"{SESSIONS}/cs_gone")
    assert status == 404
    assert body["error"] == {
        "code": "resource_missing",
        "doc_url": "https://stripe.com/docs/error-codes/resource-missing",
        "message": "No such checkout.session: 'cs_gone'",
        "param": "session",
        "request_log_url": f"https://dashboard.stripe.com/test/logs/{headers['Request-Id']}",
        "type": "invalid_request_error",
    }


def test_every_answer_has_its_own_request_id_and_the_version_asked_for(client):
    answers = [client.ask(SESSIONS, headers={"Stripe-Version": "2024-06-20"}) for _ in range(3)]
    assert len({headers["Request-Id"] for _, _, headers in answers}) == 3
    assert {headers["Stripe-Version"] for _, _, headers in answers} == {"2024-06-20"}


def test_a_missing_key_is_refused(client):
    status, error = client.error(SESSIONS, key=None)
    assert (status, error["type"]) == (401, "invalid_request_error")
    assert "You did not provide an API key." in error["message"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [("sk_test_abcdefghijWXYZ", "sk_test_**********WXYZ"), ("short", "*****"), ("sk_test_WXYZ", "*" * 12)],
)
def test_a_wrong_key_is_refused_and_not_repeated(client, key, shown):
    status, error = client.error(SESSIONS, key=key)
    assert (status, error["message"]) == (401, f"Invalid API Key provided: {shown}")


def test_a_rotated_key_is_the_only_right_one(fake, client):
    fake.accept_keys(["sk_test_new"])
    assert client.ask(SESSIONS)[0] == 401
    assert client.ask(SESSIONS, key="sk_test_new")[0] == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", SESSIONS), ("GET", "/v1/charges"), ("DELETE", "/v1/events")]
)
def test_what_the_fake_does_not_serve_is_an_unknown_url(client, method, path):
    status, error = client.error(path, method=method)
    assert status == 404
    assert error["message"].startswith(f"Unrecognized request URL ({method}: {path})")


# --- limits ---------------------------------------------------------------------------------------------


def test_a_second_lets_in_so_many_and_the_next_second_as_many_again():
    now = [0.0]
    limits = RateLimits(per_second=3, per_endpoint=2, clock=lambda: now[0])
    assert [limits.refusal(Endpoint.LIST) for _ in range(3)] == [None, None, "endpoint-rate"]
    assert [limits.refusal(Endpoint.EVENTS) for _ in range(2)] == [None, "global-rate"]
    now[0] = 0.99
    assert limits.refusal(Endpoint.LIST) == "global-rate"
    now[0] = 1.0
    assert limits.refusal(Endpoint.LIST) is None


def test_the_limits_are_stripes_unless_told_otherwise():
    limits = RateLimits(clock=lambda: 0.0)
    assert sum(limits.refusal(Endpoint.LIST) is None for _ in range(30)) == 25
    others = (Endpoint.EVENTS, Endpoint.RETRIEVE, Endpoint.LINE_ITEMS, Endpoint.UNKNOWN)
    assert sum(limits.refusal(endpoint) is None for endpoint in others for _ in range(30)) == 75


def test_one_request_too_many_is_answered_429_with_its_reason_and_no_retry_after(fake, client):
    fake.limits.per_endpoint = 1
    client.get(SESSIONS)
    status, body, headers = client.ask(SESSIONS)
    assert (status, body["error"]["code"]) == (429, "rate_limit")
    assert headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert "Retry-After" not in headers


# --- faults ---------------------------------------------------------------------------------------------


def statuses(client, path, times):
    return [client.ask(path)[0] for _ in range(times)]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("rate_limit", 429),
        ("server_error", 500),
        ("missing", 404),
        ("unauthorized", 401),
        ("forbidden", 403),
    ],
)
def test_a_fault_happens_as_often_as_told_then_all_is_well(fake, client, name, status):
    fake.store.add(SessionSpec("cs_1", NOW))
    getattr(fake.faults, name)(session="cs_1", times=3)
    assert statuses(client, f"{SESSIONS}/cs_1", 4) == [status] * 3 + [200]
    assert fake.faults.active() == []


def test_a_fault_stays_until_it_is_healed(fake, client):
    fake.store.add_all(numbered(2))
    fake.faults.missing(session="cs_000")
    assert statuses(client, f"{SESSIONS}/cs_000", 3) == [404] * 3
    assert statuses(client, f"{SESSIONS}/cs_001", 1) == [200]
    assert ids(client.get(SESSIONS)) == ["cs_001", "cs_000"]
    fake.faults.heal("cs_000")
    assert statuses(client, f"{SESSIONS}/cs_000", 1) == [200]


def test_a_fault_hits_the_endpoint_that_was_told(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    fake.faults.server_error(endpoint=Endpoint.LINE_ITEMS)
    assert client.ask(f"{SESSIONS}/cs_1/line_items")[0] == 500
    assert client.ask(f"{SESSIONS}/cs_1")[0] == client.ask(SESSIONS)[0] == client.ask("/v1/events")[0] == 200
    fake.faults.clear()
    assert client.ask(f"{SESSIONS}/cs_1/line_items")[0] == 200


def test_faults_of_one_session_come_one_after_the_other(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    fake.faults.server_error(session="cs_1", times=1)
    fake.faults.rate_limit(session="cs_1", times=1)
    assert statuses(client, f"{SESSIONS}/cs_1", 3) == [500, 429, 200]


def test_latency_delays_and_goes_with_another_fault(fake, client):
    fake.faults.latency(0.1)
    fake.faults.server_error(times=1)
    started = time.monotonic()
    assert client.ask(SESSIONS)[0] == 500
    assert time.monotonic() - started >= 0.1


def test_a_restricted_key_is_told_which_permission_it_lacks_and_nothing_of_itself(fake, client):
    fake.faults.forbidden(endpoint=Endpoint.EVENTS)
    status, body, headers = client.ask("/v1/events")
    assert status == 403
    assert body["error"] == {
        "message": "The provided key 'sk_test_************cdef' does not have the required permissions for "
        "this endpoint on account 'acct_1FakeStripeSandbox'. Having the 'rak_event_read' permission would "
        "allow this request to continue.",
        "request_log_url": f"https://dashboard.stripe.com/test/logs/{headers['Request-Id']}",
        "type": "invalid_request_error",
    }


@pytest.mark.parametrize(
    ("endpoint", "path", "permission"),
    [
        (Endpoint.LIST, SESSIONS, "rak_checkout_session_read"),
        (Endpoint.RETRIEVE, f"{SESSIONS}/cs_1", "rak_checkout_session_read"),
        (Endpoint.LINE_ITEMS, f"{SESSIONS}/cs_1/line_items", "rak_checkout_session_read"),
        (Endpoint.EVENTS, "/v1/events", "rak_event_read"),
        (Endpoint.DISPUTES, DISPUTES, "rak_dispute_read"),
    ],
)
def test_a_restricted_key_may_read_one_endpoint_and_not_another(fake, client, endpoint, path, permission):
    fake.store.add(SessionSpec("cs_1", NOW))
    fake.faults.forbidden(endpoint=endpoint)
    status, error = client.error(path)
    assert status == 403
    assert f"'{permission}'" in error["message"]
    others = {SESSIONS, f"{SESSIONS}/cs_1", f"{SESSIONS}/cs_1/line_items", "/v1/events", DISPUTES} - {path}
    assert {client.ask(other)[0] for other in others} == {200}


def test_a_restricted_key_may_read_sessions_and_not_the_charges_within(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    fake.faults.forbidden(expanding="payment_intent.latest_charge")
    one, charge = f"{SESSIONS}/cs_1", "payment_intent.latest_charge"
    status, error = client.error(one, **{"expand[]": ["line_items", charge]})
    assert status == 403
    assert "'rak_charge_read'" in error["message"]
    assert client.error(SESSIONS, **{"expand[]": f"data.{charge}"})[0] == 403
    for expand in ([], ["line_items"], ["payment_intent"]):
        assert client.ask(one, **{"expand[]": expand})[0] == 200
    fake.faults.clear()
    assert client.ask(one, **{"expand[]": charge})[0] == 200


def test_whoever_may_not_read_an_object_may_not_read_what_stands_inside_it(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    fake.faults.forbidden(expanding="payment_intent")
    for expand in ("payment_intent", "payment_intent.latest_charge"):
        assert client.error(f"{SESSIONS}/cs_1", **{"expand[]": expand})[0] == 403
    assert client.ask(f"{SESSIONS}/cs_1", **{"expand[]": "line_items"})[0] == 200


@pytest.mark.parametrize("name", ["drop", "hang"])
def test_a_dropped_connection_is_no_answer_and_the_next_one_works(fake, client, name):
    seconds = {"seconds": 0.05} if name == "hang" else {}
    getattr(fake.faults, name)(**seconds, times=1)
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        client.ask(SESSIONS)
    client.close()
    assert client.ask(SESSIONS)[0] == 200
    assert fake.calls.count(status=0) == 1


def test_a_hang_outlasts_the_clients_patience_and_keeps_nobody_else_waiting(fake, client):
    fake.faults.hang(times=1)
    impatient = HTTPConnection(urlsplit(fake.url).netloc, timeout=0.1)
    impatient.request("GET", SESSIONS, headers={"Authorization": f"Bearer {KEY}"})
    with pytest.raises(TimeoutError):
        impatient.getresponse()
    impatient.close()
    assert client.ask(SESSIONS)[0] == 200


def test_stopping_ends_what_hangs():
    with FakeStripe(KEY) as fake:
        fake.faults.hang(60)
        client = Client(fake)
        ended, arrived = [], threading.Event()
        fake.on_request = lambda _: arrived.set()
        asking = threading.Thread(target=lambda: ended.append(_outcome(client)))
        asking.start()
        assert arrived.wait(5)
        started = time.monotonic()
    asking.join()
    client.close()
    assert time.monotonic() - started < 5
    assert ended == ["no answer"]


def _outcome(client):
    try:
        return client.ask(SESSIONS)[0]
    except (RemoteDisconnected, ConnectionResetError):
        return "no answer"


def test_a_fault_that_cannot_be_is_refused(fake):
    with pytest.raises(ValueError, match="at least once"):
        fake.faults.drop(times=0)
    with pytest.raises(ValueError, match="end before it starts"):
        fake.faults.latency(-1)


# --- in process -----------------------------------------------------------------------------------------


def test_requests_are_counted_by_endpoint_status_and_session(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    client.get(SESSIONS)
    client.get(f"{SESSIONS}/cs_1")
    client.ask(f"{SESSIONS}/cs_2")
    client.get(f"{SESSIONS}/cs_1/line_items")
    assert fake.calls.count() == len(fake.calls) == 4
    assert fake.calls.count(Endpoint.RETRIEVE) == 2
    assert fake.calls.count(Endpoint.RETRIEVE, status=404) == 1
    assert fake.calls.count(session="cs_1") == 2
    assert fake.calls.summary()["endpoints"]["retrieve"] == {"200": 1, "404": 1}
    fake.calls.clear()
    assert fake.calls.count() == 0


def test_a_hook_sees_each_request_before_it_is_answered(fake, client):
    seen = []
    fake.on_request = seen.append
    client.ask(f"{SESSIONS}/cs_1")
    assert [(request.endpoint, request.session) for request in seen] == [(Endpoint.RETRIEVE, "cs_1")]


def test_a_hook_that_raises_drops_the_connection(fake, client):
    def refuse(_):
        raise RuntimeError

    fake.on_request = refuse
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        client.ask(SESSIONS)


def test_a_kept_alive_connection_answers_without_stalls(fake, client):
    """Nagle's algorithm against delayed acknowledgements would cost 40 ms a request."""
    fake.store.add_all(numbered(5))
    client.get(SESSIONS)
    started = time.monotonic()
    for _ in range(50):
        client.get(SESSIONS)
    assert time.monotonic() - started < 50 * 0.04


def test_many_clients_are_answered_at_once(fake):
    fake.store.add_all(numbered(5))
    fake.faults.latency(0.2)
    clients = [Client(fake) for _ in range(20)]
    threads = [threading.Thread(target=client.get, args=(SESSIONS,)) for client in clients]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert time.monotonic() - started < 20 * 0.2
    assert fake.calls.count(status=200) == 20
