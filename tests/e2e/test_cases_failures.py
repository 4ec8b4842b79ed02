"""Cases 8, 9 and 10 through the deployed stack: failures of Stripe, broken messages, consumers that die."""

import json
import signal
import threading
from dataclasses import dataclass, field

import pytest

from sandbox.stack import wait_until
from testkit.fake_stripe import Endpoint
from tests.e2e.shop import Night, iso

pytestmark = pytest.mark.e2e

# What has nothing to wait for is over within seconds, also on a machine with other things to do.
SECONDS = 15


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop(ConsumerTimeout=10)


@pytest.fixture
def night(shop):
    yield shop.night()
    shop.stripe.faults.clear()
    shop.stack.resume_consumer()
    shop.forgets_messages()


def one_order_each(shop, specs):
    orders = shop.orders(*(spec.id for spec in specs))
    return sorted(order["orderId"] for order in orders) == sorted(spec.id for spec in specs)


# Case 10. Its messages wait for their visibility most of the time, so it begins before the other cases and is
# looked at after them.


@dataclass
class Crash:
    """A night of ten sessions, one of which ends every consumer that asks Stripe for it."""

    night: Night
    killer: object
    neighbours: list
    armed: threading.Event = field(default_factory=threading.Event)
    ended: list = field(default_factory=list)

    @property
    def shop(self):
        return self.night.shop


@pytest.fixture(scope="module", autouse=True)
def crashes(open_shop, workers):
    """One consumer is killed, the other one stands still until its time is over."""
    return {how: start_crash(open_shop, workers, how) for how in (signal.SIGKILL, signal.SIGSTOP)}


def start_crash(open_shop, workers, how):
    shop = open_shop(ConsumerTimeout=3)
    night = shop.night()
    before = [night.sells(f"before{n}") for n in range(6)]
    killer = night.sells("killer")
    behind = [night.sells(f"behind{n}") for n in range(3)]
    crash = Crash(night, killer, before + behind)
    crash.armed.set()

    def strike(request):
        if request.session == killer.id and crash.armed.is_set():
            process = shop.caller(workers(shop.stack.consumer))
            crash.ended.append(process.pid)
            process.send_signal(how)

    shop.stripe.on_request = strike
    shop.stack.pause_consumer()  # so that all ten are one batch
    night.produce()
    shop.stack.resume_consumer()
    return crash


# Case 8


def test_case_8_a_stripe_that_throttles_fails_drops_and_hangs_heals_through_backoff(shop, night):
    throttled, failing, dropped, hanging, well = (
        night.sells(name) for name in ("throttled", "failing", "dropped", "hanging", "well")
    )
    faults = shop.stripe.faults
    faults.rate_limit(session=throttled.id, times=4)  # one more than an invocation tries
    faults.server_error(session=failing.id, times=4)
    faults.drop(session=dropped.id, times=2)
    faults.hang(session=hanging.id, times=1)
    night.passes()
    assert night.counters() == shop.state_counters() == (5, 5, 5, 0, 0)
    assert one_order_each(shop, [throttled, failing, dropped, hanging, well])
    assert [night.outcome(spec)["attempts"] for spec in (throttled, failing, dropped, well)] == [2, 2, 1, 1]
    assert shop.stripe.calls.count(Endpoint.RETRIEVE, session=throttled.id, status=429) == 4
    assert shop.stripe.calls.count(Endpoint.RETRIEVE, session=failing.id, status=500) == 4
    assert shop.queues() == (0, 0)


def test_case_8_a_session_that_stripe_does_not_know_is_one_error_and_after_its_redrive_an_order(shop, night):
    dead, well = night.sells("dead"), night.sells("well")
    shop.stripe.faults.missing(session=dead.id, endpoint=Endpoint.RETRIEVE)
    night.produce()
    wait_until(lambda: shop.queues() == (0, 1), "it is given up", SECONDS)
    outcome = night.outcome(dead)
    assert (outcome["outcome"], outcome["errorType"], outcome["attempts"]) == ("error", "SessionNotFound", 1)
    assert night.counters() == shop.state_counters() == (2, 2, 1, 0, 1)
    assert shop.run(night.run_id)["status"] == "done"
    assert shop.dead_sessions() == [dead.id]
    assert shop.stripe.calls.count(Endpoint.RETRIEVE, session=dead.id) == 1
    assert night.produce()["status"] == "completed_with_errors"
    shop.stripe.faults.clear()
    shop.redrive()
    shop.drained()
    assert night.counters() == shop.state_counters() == (2, 2, 2, 0, 0)
    assert night.outcome(dead)["outcome"] == "created"
    assert one_order_each(shop, [dead, well])
    assert night.produce()["status"] == "success"
    assert shop.queues() == (0, 0)


def test_case_8_after_a_401_the_new_key_is_read_from_the_parameter_and_used(shop, night):
    specs = night.sells_many(20)
    shop.stripe.accept_keys({"sk_test_second"})
    shop.stack.set_stripe_key("sk_test_second")
    refused = shop.stripe.calls.count(status=401)
    night.passes()
    assert night.counters() == shop.state_counters() == (20, 20, 20, 0, 0)
    assert {outcome["attempts"] for outcome in shop.outcomes(night.run_id)} == {1}
    assert shop.stripe.calls.count(status=401) > refused  # the key that its processes had kept
    assert one_order_each(shop, specs)
    assert shop.queues() == (0, 0)


def test_case_8_a_key_rejected_for_good_fails_what_needs_stripe_until_it_is_mended(shop, night):
    missing = [night.sells(f"missing{n}") for n in range(2)]
    known = night.sells("known")
    night.webhook_writes(known)
    shop.stack.pause_consumer()
    night.produce()
    shop.stripe.accept_keys({"sk_test_third"})
    shop.stack.resume_consumer()
    wait_until(lambda: shop.queues() == (0, 2), "they are given up", 30)
    assert night.counters() == shop.state_counters() == (3, 3, 0, 1, 2)
    assert {night.outcome(spec)["errorType"] for spec in missing} == {"KeyRejected"}
    assert (night.outcome(known)["reason"], night.outcome(known)["attempts"]) == ("exists", 1)
    assert shop.dead_sessions() == sorted(spec.id for spec in missing)
    shop.stack.set_stripe_key("sk_test_third")
    shop.redrive()
    shop.drained()
    assert night.counters() == shop.state_counters() == (3, 3, 2, 1, 0)
    assert one_order_each(shop, [*missing, known])
    assert shop.queues() == (0, 0)


# Case 9


def test_case_9_what_cannot_be_read_at_all_is_in_the_dlq_within_seconds_and_its_neighbours_are_done(
    shop, night
):
    neighbours = [night.sells(f"neighbour{n}") for n in range(3)]
    without_session = night.message(neighbours[0])
    del without_session["sessionId"]
    bodies = [
        "not json",
        "[]",
        '"text"',
        '{"v": 2}',
        json.dumps(without_session),
        json.dumps(night.message(neighbours[0], runId=5)),
    ]
    shop.stack.pause_consumer()
    night.produce()
    shop.sends(*bodies)
    shop.stack.resume_consumer()
    wait_until(lambda: shop.queues() == (0, len(bodies)), "they are dead letters", SECONDS)
    assert sorted(shop.dead()) == sorted(bodies)
    assert shop.run(night.run_id)["status"] == "done"
    assert night.counters() == shop.state_counters() == (3, 3, 3, 0, 0)
    assert {outcome["attempts"] for outcome in shop.outcomes(night.run_id)} == {1}
    assert one_order_each(shop, neighbours)


def test_case_9_a_broken_message_whose_run_and_session_can_be_read_is_one_error_until_a_good_one_comes(
    shop, night
):
    changes = [
        {"v": 2},
        {"v": "1"},
        {"created": "soon"},
        {"created": None},
        {"mode": 5},
        {"livemode": "no"},
        {"eventIds": {}},
        {"amountTotal": "4999"},
    ]
    ill, well = [night.sells(f"ill{n}") for n in range(len(changes))], night.sells("well")
    without_currency = night.message(night.sells("incomplete"))
    del without_currency["currency"]
    bodies = [night.message(spec, **change) for spec, change in zip(ill, changes, strict=True)]
    bodies = [json.dumps(body) for body in [*bodies, without_currency]]
    shop.stack.pause_consumer()
    night.produce()
    shop.forgets_messages()
    shop.sends(*bodies, night.message(well))
    shop.stack.resume_consumer()
    wait_until(lambda: shop.queues() == (0, len(bodies)), "they are dead letters", SECONDS)
    assert sorted(shop.dead()) == sorted(bodies)
    assert shop.run(night.run_id)["status"] == "done"
    assert night.counters() == shop.state_counters() == (10, 10, 1, 0, 9)
    errors = {outcome.get("errorType") for outcome in shop.outcomes(night.run_id)}
    assert errors == {"MalformedMessage", None}
    assert shop.orders(*(spec.id for spec in ill)) == []
    assert night.outcome(well)["attempts"] == 1
    shop.sends(*(night.message(spec) for spec in ill))
    shop.drained()
    assert night.counters() == shop.state_counters() == (10, 10, 9, 0, 1)
    assert one_order_each(shop, [*ill, well])


def test_case_9_two_runs_messages_for_one_session_in_one_batch(shop, night):
    spec = night.sells("sold")
    shop.stack.pause_consumer()
    night.produce()
    second = shop.body({"requestedAt": iso(night.end + 60)})["runId"]
    assert shop.waiting() == 2
    shop.stack.resume_consumer()
    shop.settled(night.run_id, second)
    outcomes = [shop.outcome(run, spec) for run in (night.run_id, second)]
    assert sorted(outcome["outcome"] for outcome in outcomes) == ["created", "skipped"]
    assert {outcome.get("reason") for outcome in outcomes} == {None, "exists"}
    assert {outcome["attempts"] for outcome in outcomes} == {1}
    assert sorted([night.counters(), shop.counters(second)]) == [(1, 1, 0, 1, 0), (1, 1, 1, 0, 0)]
    assert shop.state_counters() == shop.counters(second)
    assert one_order_each(shop, [spec])
    assert shop.queues() == (0, 0)


def test_the_logs_name_run_and_session_and_no_customer_and_no_key(shop):
    shop.check_logs()


# Case 10 once more


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "timed out"])
def test_case_10_a_consumer_that_ends_on_every_attempt_is_one_error_and_takes_no_neighbour_along(
    crashes, how
):
    crash = crashes[how]
    shop, night = crash.shop, crash.night
    wait_until(lambda: shop.queues() == (0, 1), "the killer is given up", 150)
    assert len(crash.ended) >= 3
    assert night.counters() == shop.state_counters() == (10, 10, 9, 0, 1)
    outcome = night.outcome(crash.killer)
    assert (outcome["outcome"], outcome["errorType"]) == ("error", "Unfinished")
    assert {night.outcome(spec)["outcome"] for spec in crash.neighbours} == {"created"}
    assert shop.dead_sessions() == [crash.killer.id]
    assert one_order_each(shop, crash.neighbours)
    assert shop.orders(crash.killer.id) == []
    assert shop.run(night.run_id)["status"] == shop.state()["lastSyncStatus"] == "done"
    crash.armed.clear()
    shop.redrive()
    shop.drained()
    assert night.counters() == shop.state_counters() == (10, 10, 10, 0, 0)
    assert night.outcome(crash.killer)["outcome"] == "created"
    assert one_order_each(shop, [*crash.neighbours, crash.killer])
    assert shop.queues() == (0, 0)
    shop.check_logs()
