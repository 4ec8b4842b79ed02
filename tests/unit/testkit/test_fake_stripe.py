"""The fake Stripe's lists, objects, keys and rate limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.fake_stripe import Endpoint, LineSpec, RateLimits, SessionSpec
from testkit.fake_stripe.store import CreatedRange, Store
from tests.unit.testkit.fake_stripe_client import DISPUTES, EVENTS, NOW, SESSIONS

ONE = f"{SESSIONS}/cs_1"


def ids(body):
    return [served["id"] for served in body["data"]]


def numbered(count, *, apart=1, **fields):
    return [SessionSpec(f"cs_{number:03}", NOW + number * apart, **fields) for number in range(count)]


# Lists of sessions


def test_sessions_are_listed_newest_first_ten_per_page(fake, client):
    fake.store.add_all(numbered(12))
    body = client.get(SESSIONS)
    assert ids(body) == [f"cs_{number:03}" for number in range(11, 1, -1)]
    assert body["has_more"]
    assert body["url"] == SESSIONS


def test_sessions_of_one_second_are_ordered_by_id(fake, client):
    fake.store.add_all(reversed(numbered(5, apart=0)))
    assert ids(client.get(SESSIONS)) == ["cs_004", "cs_003", "cs_002", "cs_001", "cs_000"]


few_seconds = st.lists(st.integers(0, 3), max_size=30).map(
    lambda seconds: [SessionSpec(f"cs_{number:03}", second) for number, second in enumerate(seconds)]
)


@given(few_seconds, st.integers(1, 7), st.sampled_from([1, 2]))
def test_pages_hold_every_session_once_in_order(specs, limit, divisor):
    def is_wanted(spec):
        return int(spec.id[-1]) % divisor == 0

    store = Store()
    store.add_all(specs)
    page = store.sessions(limit, CreatedRange(), None, is_wanted)
    pages = [page.items]
    while page.has_more:
        page = store.sessions(limit, CreatedRange(), page.items[-1].id, is_wanted)
        pages.append(page.items)
    expected = sorted(filter(is_wanted, specs), key=lambda spec: (spec.created, spec.id), reverse=True)
    assert [spec for page in pages for spec in page] == expected
    assert all(len(page) == limit for page in pages[:-1])


@given(few_seconds, st.integers(0, 200))
def test_adding_one_by_one_and_at_once_are_the_same(specs, many):
    specs += [SessionSpec(f"cs_many_{number}", number % 7) for number in range(many)]
    one_by_one, at_once = Store(), Store()
    for spec in specs:
        one_by_one.add(spec)
    at_once.add_all(specs)
    everything = (1000, CreatedRange(), None, lambda _: True)
    assert one_by_one.sessions(*everything) == at_once.sessions(*everything)
    assert one_by_one.events(*everything) == at_once.events(*everything)


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"created[gte]": NOW + 3}, ["cs_004", "cs_003"]),
        ({"created[lte]": NOW + 1}, ["cs_001", "cs_000", "cs_open"]),
        ({"created[gte]": NOW + 1, "created[lte]": NOW + 2}, ["cs_002", "cs_001"]),
        ({"created[gte]": NOW + 9}, []),
        ({"starting_after": "cs_001", "created[gte]": NOW + 3}, []),
        ({"starting_after": "cs_004", "created[lte]": NOW}, ["cs_000", "cs_open"]),
        ({"status": "open"}, ["cs_open"]),
    ],
)
def test_list_is_filtered(fake, client, params, found):
    fake.store.add_all(numbered(5))
    fake.store.add(SessionSpec("cs_open", NOW - 1, status="open", payment_status="unpaid"))
    assert ids(client.get(SESSIONS, **params)) == found


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"limit": 0}, "parameter_invalid_integer", "limit"),
        ({"limit": 101}, "parameter_invalid_integer", "limit"),
        ({"limit": "many"}, "parameter_invalid_integer", "limit"),
        ({"created[gte]": "yesterday"}, "parameter_invalid_integer", "created[gte]"),
        ({"starting_after": "cs_gone"}, "resource_missing", "starting_after"),
        ({"status": "finished"}, None, "status"),
        ({"payment_status": "paid"}, "parameter_unknown", "payment_status"),
        ({"created[after]": NOW}, "parameter_unknown", "created[after]"),
    ],
)
def test_wrong_parameter_is_refused(client, params, code, param):
    status, error = client.error(SESSIONS, **params)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error["param"]) == (code, param)


# Expansion


def test_line_items_are_absent_unless_expanded(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    assert "line_items" not in client.get(SESSIONS)["data"][0]
    assert "line_items" not in client.get(ONE)
    expanded = client.get(ONE, **{"expand[]": "line_items"})
    assert expanded["line_items"]["data"][0]["price"]["product"].startswith("prod_")


def test_list_parameter_may_have_numbers(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    session = client.get(ONE, **{"expand[0]": "line_items", "expand[]": "payment_intent"})
    assert session["line_items"]["data"]
    assert session["payment_intent"]["object"] == "payment_intent"


def test_deleted_product_expands_to_its_id(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, lines=(LineSpec(product="deleted"),)))
    session = client.get(ONE, **{"expand[]": "line_items.data.price.product"})
    product = session["line_items"]["data"][0]["price"]["product"]
    assert (set(product), product["deleted"]) == ({"id", "object", "deleted"}, True)


@pytest.mark.parametrize(
    ("path", "expand", "message"),
    [
        (f"{ONE}/line_items", "price", "(price). You may want to try expanding 'data.price' instead."),
        (ONE, "amount_total", "This property cannot be expanded (amount_total)."),
        (ONE, "data.line_items", "This property cannot be expanded (data)."),
        (ONE, "line_items.data.price.color", "This property cannot be expanded (color)."),
        (SESSIONS, "data.line_items.data.price.product", "You cannot expand more than 4 levels"),
        (EVENTS, "data.data", "This property cannot be expanded (data)."),
        (DISPUTES, "data.evidence", "This property cannot be expanded (data)."),
    ],
)
def test_wrong_expansion_is_refused(fake, client, path, expand, message):
    fake.store.add(SessionSpec("cs_1", NOW))
    status, error = client.error(path, **{"expand[]": expand})
    assert status == 400
    assert message in error["message"]


# Line items


def lines(count):
    return tuple(LineSpec(f"line {number}") for number in range(count))


@pytest.mark.parametrize(("count", "has_more"), [(0, False), (10, False), (11, True), (250, True)])
def test_session_embeds_ten_lines(fake, client, count, has_more):
    fake.store.add(SessionSpec("cs_1", NOW, lines=lines(count)))
    embedded = client.get(ONE, **{"expand[]": "line_items"})["line_items"]
    assert len(embedded["data"]) == min(count, 10)
    assert embedded["has_more"] is has_more
    assert embedded["url"] == f"{ONE}/line_items"


def test_lines_are_paged_in_the_order_of_the_session(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, lines=lines(250)))
    found, params = [], {"limit": 100}
    while True:
        page = client.get(f"{ONE}/line_items", **params)
        found += [line["description"] for line in page["data"]]
        if not page["has_more"]:
            break
        params["starting_after"] = page["data"][-1]["id"]
    assert found == [line.description for line in lines(250)]


def test_unknown_line_is_no_cursor(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW))
    status, error = client.error(f"{ONE}/line_items", starting_after="li_gone")
    assert (status, error["code"]) == (400, "resource_missing")


# Events


def test_completed_sessions_have_events(fake, client):
    fake.store.add(
        SessionSpec("cs_done", NOW, completed_at=NOW + 500),
        SessionSpec("cs_open", NOW, status="open", payment_status="unpaid"),
        SessionSpec("cs_without_event", NOW, event_made=False),
        SessionSpec("cs_later", NOW, async_paid_at=NOW + 900),
    )
    events = client.get(EVENTS)["data"]
    assert [(event["type"], event["data"]["object"]["id"], event["created"]) for event in events] == [
        ("checkout.session.async_payment_succeeded", "cs_later", NOW + 900),
        ("checkout.session.completed", "cs_done", NOW + 500),
        ("checkout.session.completed", "cs_later", NOW + 60),
    ]
    assert [event["data"]["object"]["payment_status"] for event in events] == ["paid", "paid", "unpaid"]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"delivery_success": "false"}, ["cs_lost", "cs_lost"]),
        ({"delivery_success": "true"}, ["cs_heard"]),
        ({"types[]": "checkout.session.completed"}, ["cs_lost", "cs_heard"]),
        ({"types[]": ["checkout.session.completed", "charge.succeeded"]}, ["cs_lost", "cs_heard"]),
        ({"types[]": "charge.succeeded"}, []),
        ({"created[gte]": NOW + 62}, []),
    ],
)
def test_events_are_filtered(fake, client, params, found):
    fake.store.add(
        SessionSpec("cs_heard", NOW),
        SessionSpec("cs_lost", NOW + 1, event_delivered=False, async_paid_at=NOW + 9),
    )
    events = client.get(EVENTS, **params)["data"]
    assert [event["data"]["object"]["id"] for event in events] == found


@pytest.mark.parametrize(
    "params",
    [
        {"types[]": [f"type.{number}" for number in range(21)]},
        {"delivery_success": "maybe"},
        {"starting_after": "evt_gone"},
    ],
)
def test_wrong_event_filter_is_refused(client, params):
    assert client.status(EVENTS, **params) == 400


def test_added_session_replaces_the_one_with_its_id(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, payment_status="unpaid"))
    fake.store.add(SessionSpec("cs_1", NOW, async_paid_at=NOW + 99))
    assert client.get(ONE)["payment_status"] == "paid"
    assert len(client.get(EVENTS)["data"]) == 2
    fake.store.remove("cs_1")
    assert client.get(EVENTS)["data"] == client.get(SESSIONS)["data"] == []


# Disputes


def test_dispute_is_listed_and_its_charge_is_disputed(fake, client):
    lost = SessionSpec("cs_lost", NOW, dispute_status="lost")
    fake.store.add(lost, SessionSpec("cs_won", NOW + 1, dispute_status="won"), SessionSpec("cs_kept", NOW))
    assert [dispute["status"] for dispute in client.get(DISPUTES)["data"]] == ["won", "lost"]
    [dispute] = client.get(DISPUTES, charge=lost.charge)["data"]
    assert (dispute["status"], dispute["charge"]) == ("lost", lost.charge)
    assert dispute["payment_intent"] == lost.payment_intent
    for spec, disputed in (("cs_lost", True), ("cs_won", True), ("cs_kept", False)):
        session = client.get(f"{SESSIONS}/{spec}", **{"expand[]": "payment_intent.latest_charge"})
        assert session["payment_intent"]["latest_charge"]["disputed"] is disputed


@pytest.mark.parametrize("payment_status", ["unpaid", "no_payment_required"])
def test_session_without_charge_has_no_dispute(fake, client, payment_status):
    fake.store.add(SessionSpec("cs_1", NOW, payment_status=payment_status, dispute_status="lost"))
    assert client.get(DISPUTES)["data"] == []


def test_disputes_are_paged_newest_first(fake, client):
    fake.store.add_all(numbered(5, dispute_status="needs_response"))
    first = client.get(DISPUTES, limit=2)
    second = client.get(DISPUTES, limit=5, starting_after=first["data"][-1]["id"])
    assert (first["has_more"], second["has_more"], first["url"]) == (True, False, DISPUTES)
    created = [dispute["created"] for page in (first, second) for dispute in page["data"]]
    assert created == sorted(created, reverse=True)
    assert len(created) == 5
    assert client.get(DISPUTES, **{"created[gte]": created[0] + 1})["data"] == []


def test_dispute_changes_with_its_session(fake, client):
    fake.store.add(SessionSpec("cs_1", NOW, dispute_status="needs_response"))
    fake.store.add(SessionSpec("cs_1", NOW, dispute_status="lost"))
    assert [dispute["status"] for dispute in client.get(DISPUTES)["data"]] == ["lost"]
    fake.store.add(SessionSpec("cs_1", NOW))
    assert client.get(DISPUTES)["data"] == []
    fake.store.add(SessionSpec("cs_1", NOW, dispute_status="lost"))
    fake.store.clear()
    assert client.get(DISPUTES)["data"] == []


@pytest.mark.parametrize("params", [{"status": "lost"}, {"limit": 101}, {"starting_after": "du_gone"}])
def test_wrong_dispute_filter_is_refused(client, params):
    assert client.status(DISPUTES, **params) == 400


# Keys, errors and headers


def test_error_has_all_fields_of_stripe(client):
    status, body, headers = client.request(f"{SESSIONS}/cs_gone")
    assert status == 404
    assert body["error"] == {
        "code": "resource_missing",
        "doc_url": "https://stripe.com/docs/error-codes/resource-missing",
        "message": "No such checkout.session: 'cs_gone'",
        "param": "session",
        "request_log_url": f"https://dashboard.stripe.com/test/logs/{headers['Request-Id']}",
        "type": "invalid_request_error",
    }


def test_responses_have_request_ids_and_the_requested_version(client):
    answers = [client.request(SESSIONS, headers={"Stripe-Version": "2024-06-20"}) for _ in range(3)]
    assert len({headers["Request-Id"] for _, _, headers in answers}) == 3
    assert {headers["Stripe-Version"] for _, _, headers in answers} == {"2024-06-20"}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "You did not provide an API key."),
        ("sk_test_abcdefghijWXYZ", "Invalid API Key provided: sk_test_**********WXYZ"),
        ("short", "Invalid API Key provided: *****"),
        ("sk_test_WXYZ", f"Invalid API Key provided: {'*' * 12}"),
    ],
)
def test_wrong_key_is_refused_and_masked(client, key, message):
    status, error = client.error(SESSIONS, key=key)
    assert (status, error["type"]) == (401, "invalid_request_error")
    assert error["message"].startswith(message)


def test_rotated_key_replaces_the_old_one(fake, client):
    fake.accept_keys(["sk_test_new"])
    assert client.status(SESSIONS) == 401
    assert client.status(SESSIONS, key="sk_test_new") == 200


@pytest.mark.parametrize(("method", "path"), [("POST", SESSIONS), ("GET", "/v1/charges"), ("DELETE", EVENTS)])
def test_unknown_url_is_refused(client, method, path):
    status, error = client.error(path, method=method)
    assert status == 404
    assert error["message"].startswith(f"Unrecognized request URL ({method}: {path})")


# Rate limits


def test_limits_are_per_sliding_second():
    now = [0.0]
    limits = RateLimits(per_second=3, per_endpoint=2, clock=lambda: now[0])
    assert [limits.refusal(Endpoint.LIST) for _ in range(3)] == [None, None, "endpoint-rate"]
    assert [limits.refusal(Endpoint.EVENTS) for _ in range(2)] == [None, "global-rate"]
    now[0] = 0.99
    assert limits.refusal(Endpoint.LIST) == "global-rate"
    now[0] = 1.0
    assert limits.refusal(Endpoint.LIST) is None


def test_default_limits_are_those_of_stripe():
    limits = RateLimits(clock=lambda: 0.0)
    assert sum(limits.refusal(Endpoint.LIST) is None for _ in range(30)) == 25
    others = (Endpoint.EVENTS, Endpoint.RETRIEVE, Endpoint.LINE_ITEMS, Endpoint.UNKNOWN)
    assert sum(limits.refusal(endpoint) is None for endpoint in others for _ in range(30)) == 75


def test_request_above_the_limit_has_a_reason_and_no_retry_after(fake, client):
    fake.limits.per_endpoint = 1
    client.get(SESSIONS)
    status, body, headers = client.request(SESSIONS)
    assert (status, body["error"]["code"]) == (429, "rate_limit")
    assert headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert "Retry-After" not in headers
