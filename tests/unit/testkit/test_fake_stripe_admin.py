"""The fake Stripe as a separate process, controlled by its admin client."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from testkit.fake_stripe import (
    Endpoint,
    FakeStripeAdmin,
    FakeStripeAdminError,
    FaultKind,
    LineSpec,
    SessionSpec,
    ShippingSpec,
    StripeFault,
)
from testkit.fake_stripe.specs import spec_from_json, spec_to_json
from testkit.shop import make_shop
from tests.unit.testkit.fake_stripe_client import EVENTS, KEY, NOW, SESSIONS, FakeStripeClient

ONE = f"{SESSIONS}/cs_1"
COMMAND = [sys.executable, "-m", "testkit.fake_stripe_server", "--api-key-env", "FAKE_STRIPE_KEY"]


@contextmanager
def start_process(*arguments):
    """Start the process and yield it with its URL."""
    environment = os.environ | {"FAKE_STRIPE_KEY": KEY}
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get_status(url, path, **params):
    client = FakeStripeClient(url)
    try:
        return client.status(path, **params)
    finally:
        client.close()


def test_process_is_controlled_by_the_admin_client():
    with start_process() as (_, url):
        admin = FakeStripeAdmin(url)
        assert admin.add_sessions([SessionSpec("cs_1", NOW), SessionSpec("cs_2", NOW)]) == 2
        faults = [
            StripeFault(FaultKind.MISSING, session="cs_1"),
            StripeFault(FaultKind.RATE_LIMIT, endpoint=Endpoint.LIST, times=1),
        ]
        for fault in faults:
            admin.add_fault(fault)
        assert admin.faults() == faults
        assert get_status(url, ONE) == 404
        assert get_status(url, SESSIONS) == 429
        admin.heal("cs_1")
        assert get_status(url, ONE) == 200
        assert admin.calls() == {
            "total": 3,
            "endpoints": {"list": {"429": 1}, "retrieve": {"200": 1, "404": 1}},
        }
        admin.clear_calls()
        assert admin.calls()["total"] == 0
        admin.accept_keys(["sk_test_new"])
        assert get_status(url, EVENTS) == 401
        assert get_status(url, EVENTS, key="sk_test_new") == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_without_output(number):
    with start_process() as (process, url):
        get_status(url, EVENTS, key="sk_test_wrong_and_secret")
        os.kill(process.pid, number)
        output, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert (output, errors) == ("", "")


def test_process_serves_a_shop_with_its_dead_sessions(tmp_path):
    shop = make_shop(100, 3, NOW)
    file = tmp_path / "shop.json"
    file.write_text(shop.to_json())
    with start_process("--shop-file", str(file)) as (_, url):
        dead = shop.dead_sessions[0]
        assert get_status(url, f"{SESSIONS}/{dead}") == 404
        assert get_status(url, f"{SESSIONS}/{shop.sessions[0].id}") == 200
        FakeStripeAdmin(url).heal(dead)
        assert get_status(url, f"{SESSIONS}/{dead}") == 200


def test_process_without_a_key_names_the_missing_variable():
    command = [*COMMAND[:-1], "NO_SUCH_VARIABLE"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "NO_SUCH_VARIABLE is not set" in ended.stderr


@pytest.fixture
def admin(fake):
    return FakeStripeAdmin(fake.url)


def test_limits_are_set(fake, admin):
    admin.set_limits(per_second=7, per_endpoint=1)
    assert (fake.limits.per_second, fake.limits.per_endpoint) == (7, 1)
    admin.set_limits(per_second=None, per_endpoint=None)
    assert {get_status(fake.url, EVENTS) for _ in range(30)} == {200}


def test_all_faults_are_cleared(admin):
    faults = [
        StripeFault(FaultKind.LATENCY, seconds=1.5),
        StripeFault(FaultKind.FORBIDDEN, expanding="price"),
    ]
    for fault in faults:
        admin.add_fault(fault)
    assert admin.faults() == faults
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
        ("POST", "faults", None),
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
def test_wrong_admin_request_is_refused_with_a_reason(admin, method, path, body):
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
def test_spec_round_trips_through_json(spec):
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_specs_of_a_shop_round_trip_through_json():
    for spec in make_shop(100, 1, NOW).sessions:
        assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
