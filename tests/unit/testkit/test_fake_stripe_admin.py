"""The fake as a process of its own, driven from another one."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from testkit.fake_stripe import (
    Endpoint,
    FakeStripe,
    FakeStripeAdmin,
    FakeStripeAdminError,
    Fault,
    FaultKind,
    LineSpec,
    SessionSpec,
    ShippingSpec,
)
from testkit.fake_stripe.specs import spec_from_json, spec_to_json
from testkit.shop import make_shop

KEY = "sk_test_of_another_process"
NOW = 1_732_672_800


@contextmanager
def fake_process(*arguments):
    """The process and its URL; ended by its id, as a demonstration ends it."""
    command = [sys.executable, "-m", "testkit.fake_stripe", "--api-key-env", "FAKE_STRIPE_KEY", *arguments]
    environment = os.environ | {"FAKE_STRIPE_KEY": KEY}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def status_of(url, path, key=KEY):
    connection = HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_a_process_is_seeded_broken_healed_and_counted_from_another():
    with fake_process() as (_, url):
        admin = FakeStripeAdmin(url)
        assert admin.add_sessions([SessionSpec("cs_1", NOW), SessionSpec("cs_2", NOW)]) == 2
        admin.add_fault(Fault(FaultKind.MISSING, session="cs_1"))
        admin.add_fault(Fault(FaultKind.RATE_LIMIT, endpoint=Endpoint.LIST, times=1))
        assert [fault.kind for fault in admin.faults()] == [FaultKind.MISSING, FaultKind.RATE_LIMIT]
        assert status_of(url, "/v1/checkout/sessions/cs_1") == 404
        assert status_of(url, "/v1/checkout/sessions") == 429
        admin.heal("cs_1")
        assert status_of(url, "/v1/checkout/sessions/cs_1") == 200
        assert admin.calls() == {
            "total": 3,
            "endpoints": {"list": {"429": 1}, "retrieve": {"200": 1, "404": 1}},
        }
        admin.clear_calls()
        assert admin.calls()["total"] == 0


def test_a_key_is_rotated_from_another_process():
    with fake_process() as (_, url):
        FakeStripeAdmin(url).accept_keys(["sk_test_new"])
        assert status_of(url, "/v1/events") == 401
        assert status_of(url, "/v1/events", key="sk_test_new") == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_and_its_key_was_never_printed(number):
    with fake_process() as (process, url):
        status_of(url, "/v1/events", key="sk_test_wrong_and_secret")
        os.kill(process.pid, number)
        printed, complained = process.communicate(timeout=10)
        assert process.returncode == 0
        assert (printed, complained) == ("", "")


def test_a_process_opens_a_shop_with_its_dead_sessions(tmp_path):
    shop = make_shop(100, 3, NOW)
    file = tmp_path / "shop.json"
    file.write_text(shop.to_json())
    with fake_process("--shop-file", str(file)) as (_, url):
        dead = shop.dead_sessions[0]
        assert status_of(url, f"/v1/checkout/sessions/{dead}") == 404
        assert status_of(url, f"/v1/checkout/sessions/{shop.sessions[0].id}") == 200
        FakeStripeAdmin(url).heal(dead)
        assert status_of(url, f"/v1/checkout/sessions/{dead}") == 200


def test_a_process_without_a_key_says_which_variable_is_missing():
    command = [sys.executable, "-m", "testkit.fake_stripe", "--api-key-env", "NO_SUCH_VARIABLE"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "NO_SUCH_VARIABLE is not set" in ended.stderr


@pytest.fixture
def admin():
    with FakeStripe(KEY) as fake:
        yield FakeStripeAdmin(fake.url)


def test_limits_are_lifted(admin):
    admin.set_limits(per_second=None, per_endpoint=None)
    assert {status_of(f"http://{admin._address}", "/v1/events") for _ in range(30)} == {200}


def test_a_permission_is_taken_away_and_given_back_from_another_process():
    charges = Fault(FaultKind.FORBIDDEN, endpoint=Endpoint.RETRIEVE, expanding="payment_intent.latest_charge")
    with fake_process() as (_, url):
        admin = FakeStripeAdmin(url)
        admin.add_sessions([SessionSpec("cs_1", NOW, dispute_status="lost")])
        admin.add_fault(charges)
        admin.add_fault(Fault(FaultKind.FORBIDDEN, endpoint=Endpoint.EVENTS))
        assert admin.faults()[0] == charges
        one = "/v1/checkout/sessions/cs_1"
        assert status_of(url, one) == status_of(url, "/v1/disputes") == 200
        assert status_of(url, f"{one}?expand[]=payment_intent.latest_charge") == 403
        assert status_of(url, "/v1/events") == 403
        admin.clear_faults()
        assert status_of(url, "/v1/events") == 200


def test_all_faults_are_cleared(admin):
    admin.add_fault(Fault(FaultKind.LATENCY, seconds=1.5))
    assert admin.faults() == [Fault(FaultKind.LATENCY, seconds=1.5)]
    admin.clear_faults()
    assert admin.faults() == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "faults", {"kind": "earthquake"}),
        ("PUT", "faults", {"session": "cs_1"}),
        ("PUT", "faults", {"kind": "drop", "times": 0}),
        ("PUT", "faults", {"kind": "drop", "endpoint": "nowhere"}),
        ("PUT", "faults", ["drop"]),
        ("POST", "sessions", [{"id": "cs_1"}]),
        ("POST", "sessions", [{"id": "cs_1", "created": NOW, "colour": "red"}]),
        ("POST", "sessions", [{"id": "cs_1", "created": NOW, "disputed": True}]),
        ("POST", "sessions", None),
        ("PUT", "keys", "sk_test"),
        ("PUT", "keys", [""]),
        ("PUT", "limits", {"per_second": 5}),
        ("PUT", "limits", {"per_second": "5", "per_endpoint": None}),
        ("GET", "nothing", None),
    ],
)
def test_a_wrong_admin_request_is_refused_with_a_reason(admin, method, path, body):
    with pytest.raises(FakeStripeAdminError, match=r".+"):
        admin._ask(method, path, body)


@pytest.mark.parametrize(
    "spec",
    [
        SessionSpec("cs_1", NOW),
        SessionSpec("cs_1", NOW, lines=()),
        SessionSpec("cs_1", NOW, dispute_status="under_review", amount_refunded=5),
        SessionSpec("cs_1", NOW, currency=None, lines=(LineSpec(None, 3, 0, 0, {"sku": "A"}, "deleted"),)),
        SessionSpec("cs_1", NOW, shipping=ShippingSpec(line2="Flat 2"), metadata={"userId": "a"}),
    ],
)
def test_specs_survive_the_way_through_json(spec):
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_every_spec_of_a_shop_survives_the_way_through_json():
    for spec in make_shop(100, 1, NOW).sessions:
        assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
