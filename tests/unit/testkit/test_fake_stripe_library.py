"""The pinned stripe library works with the fake: its pages, objects and errors."""

import pytest
import stripe

from tests.unit.testkit.awkward_shop import KEY, SESSIONS, awkward_sessions, serve_awkward_sessions


@pytest.fixture(scope="module")
def fake():
    with serve_awkward_sessions() as fake:
        yield fake


@pytest.fixture
def client(fake):
    return stripe.StripeClient(KEY, base_addresses={"api": fake.url}, max_network_retries=0)


def test_library_pages_through_sessions(client):
    listed = list(client.v1.checkout.sessions.list({"limit": 50}).auto_paging_iter())
    assert [session.id for session in listed] == [
        spec.id for spec in sorted(awkward_sessions(), key=lambda spec: (spec.created, spec.id), reverse=True)
    ]


def test_library_retrieves_a_session_with_products(client):
    params = {"expand": ["line_items.data.price.product"]}
    session = client.v1.checkout.sessions.retrieve("cs_test_old", params)
    assert isinstance(session.line_items.data[0].price.product, stripe.Product)
    assert session.payment_intent.startswith("pi_")


def test_library_pages_through_lines(client):
    longest = max(awkward_sessions(), key=lambda spec: len(spec.lines))
    lines = client.v1.checkout.sessions.line_items.list(longest.id, {"limit": 100})
    assert [line.description for line in lines.auto_paging_iter()] == [
        line.description for line in longest.lines
    ]


def test_library_continues_after_embedded_lines(client):
    longest = max(awkward_sessions(), key=lambda spec: len(spec.lines))
    embedded = client.v1.checkout.sessions.retrieve(longest.id, {"expand": ["line_items"]}).line_items
    assert len(embedded.data) == 10
    assert embedded.has_more
    assert len(list(embedded.auto_paging_iter())) == len(longest.lines)


def test_library_reads_raw_pages(client):
    page = client.raw_request("get", f"{SESSIONS}?limit=3&status=complete")
    assert [session["object"] for session in page.data["data"]] == ["checkout.session"] * 3


def test_library_lists_events(client):
    events = client.v1.events.list({"types": ["checkout.session.async_payment_succeeded"]})
    assert [event.data.object["id"] for event in events.data] == ["cs_test_async"]


def test_library_lists_the_disputes_of_a_charge(client):
    params = {"expand": ["payment_intent.latest_charge"]}
    session = client.v1.checkout.sessions.retrieve("cs_test_disputed", params)
    charge = session.payment_intent.latest_charge
    disputes = client.v1.disputes.list({"charge": charge.id})
    assert charge.disputed
    assert [dispute.status for dispute in disputes.auto_paging_iter()] == ["lost"]


def test_library_raises_the_error_of_a_response(fake, client):
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.checkout.sessions.retrieve("cs_test_nowhere")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.raw_request("get", f"{SESSIONS}?colour=red")
    assert (unknown.value.http_status, unknown.value.code) == (400, "parameter_unknown")
    with pytest.raises(stripe.AuthenticationError) as wrong:
        stripe.StripeClient("sk_test_wrong", base_addresses={"api": fake.url}).v1.events.list()
    assert wrong.value.http_status == 401


@pytest.mark.parametrize(
    ("switch_on", "raised"),
    [
        (lambda faults: faults.rate_limit(times=1), stripe.RateLimitError),
        (lambda faults: faults.server_error(times=1), stripe.APIError),
        (lambda faults: faults.drop(times=1), stripe.APIConnectionError),
        (lambda faults: faults.hang(0.05, times=1), stripe.APIConnectionError),
        (lambda faults: faults.unauthorized(times=1), stripe.AuthenticationError),
        (lambda faults: faults.missing(times=1), stripe.InvalidRequestError),
        (lambda faults: faults.forbidden(times=1), stripe.PermissionError),
    ],
)
def test_library_raises_the_error_of_a_fault(fake, client, switch_on, raised):
    switch_on(fake.faults)
    with pytest.raises(raised):
        client.v1.checkout.sessions.retrieve("cs_test_old")
    assert client.v1.checkout.sessions.retrieve("cs_test_old").id == "cs_test_old"
