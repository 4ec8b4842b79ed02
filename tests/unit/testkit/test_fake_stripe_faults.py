"""The fake Stripe's faults, its log of requests, its hook and its connections."""

import threading
import time
from http.client import HTTPConnection, RemoteDisconnected
from urllib.parse import urlsplit

import pytest

from testkit.fake_stripe import Endpoint, FakeStripe, SessionSpec
from tests.unit.testkit.fake_stripe_client import (
    DISPUTES,
    EVENTS,
    KEY,
    NOW,
    SESSIONS,
    FakeStripeClient,
)

ONE = f"{SESSIONS}/cs_1"
CHARGE = "payment_intent.latest_charge"
NO_ANSWER = (RemoteDisconnected, ConnectionResetError)


@pytest.fixture(autouse=True)
def one_session(fake):
    fake.store.add(SessionSpec("cs_1", NOW))


def statuses(client, path, times):
    return [client.status(path) for _ in range(times)]


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
def test_fault_happens_as_often_as_requested(fake, client, name, status):
    getattr(fake.faults, name)(session="cs_1", times=3)
    assert statuses(client, ONE, 4) == [status] * 3 + [200]
    assert fake.faults.active() == []


def test_fault_of_a_session_stays_until_it_is_healed(fake, client):
    fake.store.add(SessionSpec("cs_2", NOW))
    fake.faults.missing(session="cs_1")
    assert statuses(client, ONE, 3) == [404] * 3
    assert client.status(f"{SESSIONS}/cs_2") == 200
    assert len(client.get(SESSIONS)["data"]) == 2
    fake.faults.heal("cs_1")
    assert client.status(ONE) == 200


def test_fault_of_an_endpoint_hits_no_other(fake, client):
    fake.faults.server_error(endpoint=Endpoint.LINE_ITEMS)
    assert client.status(f"{ONE}/line_items") == 500
    assert {client.status(path) for path in (ONE, SESSIONS, EVENTS)} == {200}
    fake.faults.clear()
    assert client.status(f"{ONE}/line_items") == 200


def test_faults_of_one_session_follow_each_other(fake, client):
    fake.faults.server_error(session="cs_1", times=1)
    fake.faults.rate_limit(session="cs_1", times=1)
    assert statuses(client, ONE, 3) == [500, 429, 200]


def test_latency_is_added_to_another_fault(fake, client):
    fake.faults.latency(0.1)
    fake.faults.server_error(times=1)
    started = time.monotonic()
    assert client.status(SESSIONS) == 500
    assert time.monotonic() - started >= 0.1


def test_forbidden_names_the_permission_and_masks_the_key(fake, client):
    fake.faults.forbidden(endpoint=Endpoint.EVENTS)
    status, body, headers = client.request(EVENTS)
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
        (Endpoint.RETRIEVE, ONE, "rak_checkout_session_read"),
        (Endpoint.LINE_ITEMS, f"{ONE}/line_items", "rak_checkout_session_read"),
        (Endpoint.EVENTS, EVENTS, "rak_event_read"),
        (Endpoint.DISPUTES, DISPUTES, "rak_dispute_read"),
    ],
)
def test_forbidden_endpoint_leaves_the_others_readable(fake, client, endpoint, path, permission):
    fake.faults.forbidden(endpoint=endpoint)
    status, error = client.error(path)
    assert status == 403
    assert f"'{permission}'" in error["message"]
    others = {SESSIONS, ONE, f"{ONE}/line_items", EVENTS, DISPUTES} - {path}
    assert {client.status(other) for other in others} == {200}


@pytest.mark.parametrize(
    ("expanding", "permission", "refused", "allowed"),
    [
        (CHARGE, "rak_charge_read", [["line_items", CHARGE]], [[], ["line_items"], ["payment_intent"]]),
        ("payment_intent", "rak_payment_intent_read", [["payment_intent"], [CHARGE]], [["line_items"]]),
    ],
)
def test_forbidden_expansion(fake, client, expanding, permission, refused, allowed):
    fake.faults.forbidden(expanding=expanding)
    for expand in refused:
        status, error = client.error(ONE, **{"expand[]": expand})
        assert status == 403
        assert f"'{permission}'" in error["message"]
    for expand in allowed:
        assert client.status(ONE, **{"expand[]": expand}) == 200
    fake.faults.clear()
    assert client.status(ONE, **{"expand[]": CHARGE}) == 200


def test_forbidden_expansion_matches_paths_of_lists(fake, client):
    fake.faults.forbidden(expanding="price")
    assert client.status(f"{ONE}/line_items", **{"expand[]": "data.price.product"}) == 403


@pytest.mark.parametrize("arguments", [{"times": 0}, {"seconds": -1}])
def test_impossible_fault_is_refused(fake, arguments):
    with pytest.raises(ValueError, match="must"):
        fake.faults.hang(**arguments)


# Connections


@pytest.mark.parametrize("name", ["drop", "hang"])
def test_dropped_connection_is_followed_by_a_working_one(fake, client, name):
    seconds = {"seconds": 0.05} if name == "hang" else {}
    getattr(fake.faults, name)(**seconds, times=1)
    with pytest.raises(NO_ANSWER):
        client.request(SESSIONS)
    client.close()
    assert client.status(SESSIONS) == 200
    assert fake.calls.count(status=0) == 1


def test_hanging_request_does_not_block_others(fake, client):
    fake.faults.hang(times=1)
    impatient = HTTPConnection(urlsplit(fake.url).netloc, timeout=0.1)
    impatient.request("GET", SESSIONS, headers={"Authorization": f"Bearer {KEY}"})
    with pytest.raises(TimeoutError):
        impatient.getresponse()
    impatient.close()
    assert client.status(SESSIONS) == 200


def test_stop_ends_hanging_requests():
    def request():
        with pytest.raises(NO_ANSWER):
            client.request(SESSIONS)
        ended.append(True)

    with FakeStripe(KEY) as fake:
        fake.faults.hang(60)
        client = FakeStripeClient(fake.url)
        ended, arrived = [], threading.Event()
        fake.on_request = lambda _: arrived.set()
        requesting = threading.Thread(target=request)
        requesting.start()
        assert arrived.wait(5)
        started = time.monotonic()
    requesting.join()
    client.close()
    assert time.monotonic() - started < 5
    assert ended


def test_keep_alive_connection_has_no_delays(fake, client):
    """Nagle's algorithm with delayed acknowledgements would cost 40 ms per request."""
    client.get(SESSIONS)
    started = time.monotonic()
    for _ in range(50):
        client.get(SESSIONS)
    assert time.monotonic() - started < 50 * 0.04


def test_clients_are_answered_concurrently(fake):
    fake.faults.latency(0.2)
    clients = [FakeStripeClient(fake.url) for _ in range(20)]
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


# Log and hook


def test_requests_are_counted_by_endpoint_status_and_session(fake, client):
    for path in (SESSIONS, ONE, f"{SESSIONS}/cs_2", f"{ONE}/line_items"):
        client.request(path)
    assert fake.calls.count() == len(fake.calls) == 4
    assert fake.calls.count(Endpoint.RETRIEVE) == 2
    assert fake.calls.count(Endpoint.RETRIEVE, status=404) == 1
    assert fake.calls.count(session="cs_1") == 2
    assert fake.calls.summary()["endpoints"]["retrieve"] == {"200": 1, "404": 1}
    fake.calls.clear()
    assert fake.calls.count() == 0


def test_hook_sees_each_request(fake, client):
    seen = []
    fake.on_request = seen.append
    client.request(ONE)
    assert [(request.endpoint, request.session) for request in seen] == [(Endpoint.RETRIEVE, "cs_1")]


def test_raising_hook_drops_the_connection(fake, client):
    def refuse(_):
        raise RuntimeError

    fake.on_request = refuse
    with pytest.raises(NO_ANSWER):
        client.request(SESSIONS)
