"""A run in several invocations: the producer invokes itself until the window is listed."""

import pytest
from botocore.exceptions import EndpointConnectionError

from producer.sync_run import MOST_HOPS, SyncRun
from recon.errors import HopFailed, TooManyHops
from recon.timestamps import HOUR, MINUTE, to_iso
from testkit.builders import NOW, RUN
from testkit.doubles.faults import Killed, killed_after, killed_before, on, raising
from testkit.runs import a_run
from tests.proofs import PROVE_ALL
from tests.unit.producer.nights import GRACE, delay_requests, scheduled, sell_without_user, session_spec

pytestmark = pytest.mark.slow

COUNT = 450
CALLS = [
    *(("lambda_client", "invoke", nth) for nth in (1, 2)),
    *(("dynamodb", "transact_write_items", nth) for nth in (1, 2, 3)),
    *(("sqs", "send_message_batch", nth) for nth in (1, 2)),
]
# Each call with one of the deaths, and then each with the other one.
DEATHS = (killed_before(), killed_after())
KILLED = [(call, DEATHS[(n + turn) % 2]) for turn in range(2) for n, call in enumerate(CALLS)]


@pytest.fixture
def large(make_world):
    """Return the world of a shop whose run takes several invocations."""
    world = make_world(SYNC_MAX_SESSIONS="150")
    sell_without_user(world, COUNT, every=280)
    return world


def assert_done(world, run_id=RUN):
    world.drain()
    assert world.counters(run_id) == (COUNT, COUNT, 0, COUNT, 0)
    assert world.run(run_id)["status"] == "done"


def test_large_run_continues_in_further_invocations(large):
    body = large.produce()["body"]
    assert 150 <= body["enqueued"] < COUNT
    assert body["status"] == "running"
    assert len(large.hops) == 1
    body = large.hop_all()
    assert (body["enqueued"], body["truncated"], body["warnings"]) == (COUNT, False, [])
    assert_done(large)


@pytest.mark.parametrize(("call", "death"), KILLED if PROVE_ALL else KILLED[: len(CALLS)])
def test_killed_invocation_is_retried_and_counts_once(large, call, death):
    client, method, nth = call
    getattr(large, client).plan = on(method, death, nth=nth)
    events = [scheduled()]
    while events:
        event = events.pop(0)
        try:
            large.produce(event)
        except Killed:
            events.append(event)  # Lambda retries an asynchronous invocation that died.
        events += large.hops
        large.hops.clear()
    assert large.history.faults().total() == 1
    assert_done(large)


def test_late_continuation_resumes_a_run_marked_as_failed(large):
    large.produce()
    continuation = large.hops.pop()
    large.clock.now += HOUR
    large.body({"lookbackHours": 1})
    assert large.run()["status"] == "failed"
    large.produce(continuation)
    large.hop_all()
    assert_done(large)


def test_continuation_delivered_twice_counts_once(large):
    large.produce()
    while large.hops:
        continuation = large.hops.pop(0)
        large.produce(continuation)
        large.produce(continuation)
    assert_done(large)


def test_failed_continuation_fails_the_run_until_the_retry(large):
    error = EndpointConnectionError(endpoint_url="https://lambda.test")
    large.lambda_client.plan = on("invoke", raising(error))
    with pytest.raises(HopFailed, match="Lambda: EndpointConnectionError"):
        large.produce()
    assert (large.run()["status"], large.run()["failureType"]) == ("failed", "HopFailed")
    large.lambda_client.plan = lambda call: None
    assert large.body()["enqueued"] == COUNT


@pytest.mark.parametrize("event", [{}, {"from": "2024-11-20T00:00:00Z", "to": "2024-11-27T00:00:00Z"}])
def test_retried_manual_invocation_continues_the_same_run(large, event):
    first = large.produce(event)["body"]["runId"]
    large.clock.now += MINUTE
    assert large.produce(event)["body"]["runId"] == first
    large.hop_all()
    large.drain()
    run = large.run(first)
    assert run["status"] == "done"
    assert run["enqueued"] == run["processed"]
    assert sum(item["SK"].startswith("STRIPE_ORDER_SYNC#") for item in large.items()) == 1


def test_invocation_out_of_time_continues_in_another(world):
    sell_without_user(world, 2000, every=40)
    delay_requests(world, 1)
    body = world.produce(timeout=70)["body"]
    assert 0 < body["enqueued"] < 2000
    assert len(world.hops) == 1


def test_invocation_that_listed_only_empty_time_continues(world):
    """Progress is the cursor and not the number of messages."""
    world.sells(session_spec())
    sell_without_user(world, 150, every=1)
    delay_requests(world, 6)
    world.produce({"from": "2024-01-01T00:00:00Z", "to": to_iso(NOW - GRACE)}, timeout=60)
    assert len(world.hops) == 1
    world.stripe.on_request = None
    assert world.hop_all()["enqueued"] == 151


def test_run_stops_after_the_maximum_number_of_invocations():
    continuations = []
    sync_run = SyncRun(context=None, continue_async=continuations.append)
    with pytest.raises(TooManyHops, match=f"^run {RUN} has not ended after 5000 invocations$"):
        sync_run._continue_unless_listed(a_run(), MOST_HOPS)
    assert continuations == []
