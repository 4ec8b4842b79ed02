"""The consumer's handler with everything around it: runs, redelivery, races, outages, crashes and privacy."""

import json
from dataclasses import replace

import pytest

from recon.domain.message import dumps
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import (
    conflict,
    connection_closed,
    killed_after,
    killed_before,
    lost_response,
    on,
    service_error,
    throttled,
)
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import LambdaContext, plain


def spec(session_id="cs_test_missing1", **changes):
    return SessionSpec(session_id, NOW - HOUR, **{"metadata": {"userId": "u1"}} | changes)


def an_event(body, message_id):
    record = {
        "messageId": message_id,
        "receiptHandle": f"handle-{message_id}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    return {"Records": [record]}


# Orders


def test_missing_order_is_written_once_and_the_run_is_done(world):
    world.sells(spec())
    run = world.night()
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert run["status"] == world.state()["lastSyncStatus"] == "done"
    assert world.state()["lastSyncCompletedAt"] == run["syncCompletedAt"]
    (order,) = world.orders()
    assert order["SK"] == f"ORDER#{NOW - HOUR}#cs_test_missing1"
    assert (order["source"], order["syncRunId"]) == ("nightly_sync", RUN)


def test_only_the_missing_order_of_a_repeat_customer_is_written(make_world):
    world = make_world()
    world.memory.page_items = 3
    for n in range(30):
        session = world.sells(replace(spec(f"cs_test_repeat{n:02}"), created=NOW - 7200 + n))
        world.webhook_writes(session.id, "u1", session.created + 40, status="shipped", amount=5)
    missing = world.sells(replace(spec("cs_test_repeat99"), created=NOW - 7100))
    before = world.orders()
    world.night()
    assert world.counters() == (31, 31, 1, 30, 0)
    assert [order for order in world.orders() if order["orderId"] != missing.id] == before
    assert len(world.orders(missing.id)) == 1


def test_order_under_the_raw_user_id_is_found(world):
    session = world.sells(spec(metadata={}, email="a+b@example.com"))
    world.webhook_writes(session.id, "a+b@example.com", NOW - 1800)
    world.night()
    assert world.outcome(session.id)["reason"] == "exists"


def test_paid_session_without_line_items_is_retried_then_an_error(world):
    session = world.sells(spec(lines=()))
    run_id = world.body()["runId"]
    assert len(world.deliver().returned) == 1
    assert world.outcome(session.id) is None
    world.drain()
    assert world.orders() == []
    assert world.outcome(session.id)["errorType"] == "LineItemsMissing"
    assert world.counters(run_id) == (1, 1, 0, 0, 1)


def test_expired_order_is_not_written(make_world):
    world = make_world(ORDER_TTL_DAYS="1")
    old = world.sells(replace(spec(), created=NOW - 25 * HOUR))
    fresh = world.sells(spec("cs_test_fresh"))
    world.night()
    assert world.outcome(old.id)["reason"] == "expired"
    assert world.orders(fresh.id)[0]["expiresAt"] == NOW + DAY


# Repeats and races


def test_repeated_message_is_one_outcome(world):
    session = world.sells(spec())
    world.body()
    body = world.memory_sqs.bodies(world.queue)[0]
    world.sends(body, times=3)
    world.drain()
    assert world.counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1
    before = world.memory.dump()
    world.sends(body)
    world.drain()
    assert world.memory.dump() == before


def test_session_committed_by_another_consumer_is_counted_once(world):
    """Another consumer holds the same message and commits between this one's lookup and commit."""
    session = world.sells(spec())
    world.body()
    body = world.memory_sqs.bodies(world.queue)[0]
    raced = []

    def commit_first(request):
        if request.endpoint is Endpoint.RETRIEVE and not raced:
            raced.append(True)
            world.handle(an_event(body, "other"))

    world.stripe.on_request = commit_first
    world.drain()
    assert raced
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1


def test_order_under_our_key_is_never_overwritten(world):
    """It appears between the recheck and the commit, so that only the put's condition can detect it."""
    session = world.sells(spec())
    world.body()

    def write_first(call):
        if call.method == "transact_write_items" and not world.orders():
            world.webhook_writes(session.id, "u1", session.created, note="first")

    world.dynamodb.plan = write_first
    world.drain()
    (order,) = world.orders()
    assert order["note"] == "first"
    assert world.outcome(session.id)["reason"] == "exists"
    assert world.counters() == (1, 1, 0, 1, 0)


def test_webhook_order_between_two_commit_attempts_is_found(world):
    session = world.sells(spec())
    world.body()
    attempts = []

    def write_before_second_attempt(call):
        if call.method != "transact_write_items":
            return None
        attempts.append(call)
        if len(attempts) == 2:
            world.webhook_writes(session.id, "u1", NOW - 60)
        return conflict() if len(attempts) < 3 else None

    world.dynamodb.plan = write_before_second_attempt
    world.drain()
    assert [order.get("source") for order in world.orders()] == [None]
    assert world.outcome(session.id)["reason"] == "exists"
    assert world.counters() == (1, 1, 0, 1, 0)


def test_overlapping_runs_write_one_order_and_count_separately(world):
    session = world.sells(spec())
    first = world.body()["runId"]
    world.clock.now += 60
    second = world.body({"requestedAt": "2024-11-27T02:00:30Z"})["runId"]
    assert len(world.deliver().deleted) == 2
    assert world.counters(first) == (1, 1, 1, 0, 0)
    assert world.counters(second) == world.state_counters() == (1, 1, 0, 1, 0)
    assert world.state()["lastSyncRunId"] == second
    assert len(world.orders(session.id)) == 1


def test_results_of_an_overtaken_run_leave_the_sync_state_alone(world):
    world.sells(spec())
    old = world.body()["runId"]
    world.clock.now += 60
    new = world.body({"requestedAt": "2024-11-26T00:00:00Z", "lookbackHours": 1})["runId"]
    assert world.state()["lastSyncRunId"] == new
    world.drain()
    assert world.counters(old) == (1, 1, 1, 0, 0)
    assert world.state_counters() == (0, 0, 0, 0, 0)


# Failures at Stripe


@pytest.mark.parametrize("kind", ["server_error", "drop", "hang", "rate_limit"])
def test_stripe_failure_delays_only_its_session(world, kind):
    world.stripe_timeout = 0.5
    ill, well = world.sells(spec("cs_test_ill")), world.sells(spec("cs_test_well"))
    getattr(world.stripe.faults, kind)(session=ill.id)
    world.body()
    delivery = world.deliver()
    assert (delivery.size, len(delivery.returned)) == (2, 1)
    assert world.outcome(well.id)["outcome"] == "created"
    assert world.outcome(ill.id) is None
    world.stripe.faults.clear()
    world.drain()
    assert world.counters() == (2, 2, 2, 0, 0)


def test_permanent_error_is_dead_in_seconds_and_can_be_redriven(world):
    ill, well = world.sells(spec("cs_test_ill")), world.sells(spec("cs_test_well"))
    world.stripe.faults.missing(session=ill.id, endpoint=Endpoint.RETRIEVE)
    world.body()
    start = world.clock.now
    world.drain()
    assert world.clock.now - start < 10
    assert world.outcome(ill.id)["errorType"] == "SessionNotFound"
    assert world.outcome(well.id)["outcome"] == "created"
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == 2  # not repeated at each receive
    assert world.run()["status"] == "done"
    world.redrive()
    world.drain()
    assert world.counters() == world.state_counters() == (2, 2, 1, 0, 1)
    assert [message["sessionId"] for message in world.dead()] == [ill.id]
    world.stripe.faults.clear()
    world.clock.now += 60  # SQS allows one purge a minute
    world.redrive()
    world.drain()
    assert world.counters() == world.state_counters() == (2, 2, 2, 0, 0)
    assert len(world.orders(ill.id)) == 1
    assert world.outcome(ill.id)["outcome"] == "created"


def test_rejected_key_is_checked_once_per_invocation(world):
    missing = [world.sells(spec(f"cs_test_missing{n}")) for n in range(5)]
    known = world.sells(spec("cs_test_known"))
    world.webhook_writes(known.id, "u1", NOW - 1800)
    world.body()
    world.stripe.accept_keys({"sk_test_new"})
    assert len(world.deliver().returned) == 5
    assert world.outcome(known.id)["reason"] == "exists"
    world.clock.now += 60
    world.ssm.reads = 0
    world.stripe.calls.clear()
    assert len(world.deliver().returned) == 5  # redelivered: each in its own group
    assert world.ssm.reads == 1
    assert world.stripe.calls.count(status=401) == 1
    world.drain()
    assert world.counters() == (6, 6, 0, 1, 5)
    assert {world.outcome(session.id)["errorType"] for session in missing} == {"KeyRejected"}


def test_hanging_parameter_store_is_asked_once_per_invocation(world):
    sessions = [world.sells(spec(f"cs_test_{n:02}")) for n in range(20)]
    world.body()
    world.connection.key._cached = None  # a cold start
    world.ssm.hangs, world.ssm.reads = 6.0, 0
    delivery = world.deliver()
    assert (delivery.error, len(delivery.returned), world.ssm.reads) == (None, 20, 1)
    world.drain()
    assert world.counters() == (20, 20, 0, 0, 20)
    assert {world.outcome(session.id)["errorType"] for session in sessions} == {"KeyUnavailable"}


def test_request_without_enough_time_is_not_started(world):
    session = world.sells(spec())
    world.stripe_timeout = 1000
    assert world.handle(an_event(dumps(a_message(session_id=session.id, user_id="u1")), "m1")) == {
        "batchItemFailures": [{"itemIdentifier": "m1"}]
    }
    assert world.outcome(session.id) is None


# Failures of the table and the queue


@pytest.mark.parametrize(
    "fault",
    [
        throttled(),
        conflict(0),
        conflict(),
        lost_response(),
        connection_closed(),
        service_error("InternalServerError"),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize("nth", [1, 2])
def test_failed_or_lost_transaction_is_repeated_and_counted_once(world, fault, nth):
    """The first transaction starts the run, the second moves the cursor or commits the batch."""
    session = world.sells(spec())
    world.dynamodb.plan = on("transact_write_items", fault, nth=nth)
    world.night()
    world.dynamodb.plan = lambda call: None
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1
    assert world.history.faults().total() == 1


def test_order_of_a_lost_response_is_reported_as_created(capfd, make_world):
    """The recheck finds it under this consumer's own key."""
    world = make_world()
    session = world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", lost_response(), nth=3)
    world.drain()
    assert world.history.faults().total() == 1
    assert world.outcome(session.id)["outcome"] == "created"
    assert world.counters() == (1, 1, 1, 0, 0)
    assert capfd.readouterr().out.count("Created order snapshot BC-MISSING1 via sync") == 1


@pytest.mark.parametrize("method", ["batch_get_item", "query", "transact_write_items", "get_item"])
def test_table_outage_returns_the_batch_and_loses_nothing(world, method):
    world.sells(spec())
    world.sells(spec("cs_test_other", metadata={"userId": "u2"}))
    world.body()
    world.dynamodb.plan = on(method, throttled())
    assert world.deliver().error is None
    world.dynamodb.plan = lambda call: None
    world.drain()
    assert world.counters()[:4] == (2, 2, 2, 0)
    assert len(world.orders()) == 2


def test_unreadable_messages_are_dead_within_seconds(world):
    session = world.sells(spec())
    world.body()
    bodies = ["not json", json.dumps(json.loads(dumps(a_message())) | {"v": 2})]
    for body in bodies:
        world.sends(body)
    start = world.clock.now
    world.drain()
    assert world.clock.now - start < 10
    assert world.memory_sqs.bodies(world.dlq) == bodies
    assert world.outcome(session.id)["outcome"] == "created"
    assert world.outcome("cs_1")["errorType"] == "MalformedMessage"
    assert world.counters() == (1, 2, 1, 0, 1)


# Crashes


def test_session_that_kills_the_function_is_one_dead_message(world):
    killer = world.sells(spec("cs_test_killer"))
    others = [world.sells(spec(f"cs_test_other{n}")) for n in range(9)]
    world.body()

    def kill_at_commit(call):
        if call.method != "transact_write_items":
            return None
        puts = [plain(a["Put"]["Item"]) for a in call.arguments["TransactItems"] if "Put" in a]
        return killed_before() if any(put.get("orderId") == killer.id for put in puts) else None

    world.dynamodb.plan = kill_at_commit
    world.drain()
    assert world.counters() == world.state_counters() == (10, 10, 9, 0, 1)
    assert world.outcome(killer.id)["errorType"] == "Unfinished"
    assert [message["sessionId"] for message in world.dead()] == [killer.id]
    assert all(len(world.orders(other.id)) == 1 for other in others)
    assert world.run()["status"] == "done"
    world.dynamodb.plan = lambda call: None
    world.redrive()
    world.drain()
    assert world.counters() == world.state_counters() == (10, 10, 10, 0, 0)
    assert len(world.orders(killer.id)) == 1


def test_consumer_killed_after_its_commit_has_counted_once(world):
    session = world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", killed_after(), nth=3)
    assert world.deliver().error is not None
    world.dynamodb.plan = lambda call: None
    world.drain()
    assert world.counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1
    assert world.run()["status"] == "done"  # by the next batch, which commits nothing


def test_redelivered_message_stays_hidden_for_the_function_timeout(make_world):
    world = make_world()
    world.rng.random = lambda: 0.0
    world.sends(a_message(user_id="u1"))
    world.dynamodb.plan = on("batch_get_item", killed_before())
    for _ in range(2):
        world.clock.now += 6 * HOUR
        event = world.poller.deliver(world.handle, 1, LambdaContext(world.clock, timeout=900)).event
    assert event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert world.memory_sqs.next_visible_at(world.queue) == world.clock.now + 900


# Requests and privacy


def test_batch_of_known_orders_needs_few_requests_and_no_stripe(world):
    for n in range(10):
        session = world.sells(spec(f"cs_test_known{n}"))
        world.webhook_writes(session.id, "u1", NOW - 1800 + n)
    world.body()
    world.connection.close()
    world.connection = None
    before = world.history.count("query")
    world.deliver()
    assert world.connection is None
    # The orders of the users, and at the end of the run the sessions that need a person.
    assert (world.history.count("query"), world.history.count("batch_get_item")) == (before + 2, 1)
    assert world.counters() == (10, 10, 0, 10, 0)


def test_personal_data_and_keys_are_not_logged_or_in_outcomes(capfd, make_world):
    world = make_world()
    world.sells(spec(metadata={}, email="secret+tag@example.com", name="Ada Secret", phone="+49170999"))
    ill = world.sells(spec("cs_test_ill", metadata={}, email="other@example.com"))
    world.stripe.faults.missing(session=ill.id, endpoint=Endpoint.RETRIEVE)
    world.stripe.faults.unauthorized(endpoint=Endpoint.RETRIEVE, times=1)
    world.night()
    printed = "".join(capfd.readouterr())
    stored = json.dumps([item for item in world.items() if not item["SK"].startswith("ORDER#")], default=str)
    for secret in ("secret", "other@", "Ada", "+49170999", "sk_test"):
        assert secret not in printed
        assert secret not in stored
    assert "via sync" in printed
    assert "SessionNotFound" in printed


def hang_lookups(world, user):
    """Let every lookup of a user's orders take ten seconds and fail."""

    def plan(call):
        if call.method != "query" or f"USER#{user}" not in str(call.arguments):
            return None
        world.clock.sleep(10)
        return throttled()

    world.dynamodb.plan = plan


def test_lookup_that_hangs_costs_no_other_session_its_turn(world):
    hanging = world.sells(spec("cs_test_hanging", metadata={"userId": "slow"}))
    others = [world.sells(spec(f"cs_test_{n}", metadata={"userId": f"u{n}"})) for n in range(3)]
    world.body()
    hang_lookups(world, "slow")
    world.deliver()
    assert {world.outcome(other.id)["outcome"] for other in others} == {"created"}
    assert world.outcome(hanging.id) is None


@pytest.mark.parametrize(("env", "turns"), [({}, {2, 0}), ({"SYNC_WEBHOOK_FENCE": "off"}, {0})])
def test_fetches_leave_time_for_the_pages_of_events(make_world, env, turns):
    world = make_world(**env)
    world.sells(spec("cs_test_1"))
    world.sells(spec("cs_test_2"))
    world.body()
    wait, reserved = world.rate_limiter.wait, set()

    def remember(deadline, *, turns_after, **options):
        reserved.add(turns_after)
        wait(deadline, turns_after=turns_after, **options)

    world.rate_limiter.wait = remember
    world.deliver()
    assert reserved == turns


def test_lookup_that_always_hangs_ends_as_one_error_and_the_run_is_done(world):
    hanging = world.sells(spec("cs_test_hanging", metadata={"userId": "slow"}))
    world.body()
    hang_lookups(world, "slow")
    world.drain()
    assert world.outcome(hanging.id)["outcome"] == "error"
    assert world.run()["status"] == "done"
    assert [message["sessionId"] for message in world.dead()] == [hanging.id]


def test_last_attempt_is_announced_before_the_lookups(world):
    session = world.sells(spec("cs_test_last"))
    world.body()

    def kill(call):
        return killed_before() if call.method == "query" and "USER#" in str(call.arguments) else None

    world.dynamodb.plan = kill
    while world.deliver() or world.memory_sqs.messages(world.queue):
        world.clock.now += HOUR
    assert world.outcome(session.id)["errorType"] == "Unfinished"
    assert world.run()["status"] == "done"
