"""The producer: what it lists, sends, counts and answers, and what it survives."""

import contextlib
import json

import pytest

from recon.errors import ConfigError, KeyRejected, QueueUnavailable, StripeUnavailable, Unexpected
from recon.stripe.connection import StripeConnection
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import (
    Killed,
    connection_closed,
    killed_after,
    killed_before,
    lost_response,
    on,
    throttled,
)
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import SCHEDULED, LambdaContext

HOUR, GRACE = 3600, 600
MANUAL = "20241127T020000Z-8f3c1d"


def sells(world, count, *, first=0, **changes):
    for n in range(first, first + count):
        world.sells(
            SessionSpec(f"cs_test_{n:05}", NOW - 700 - n, metadata={"userId": f"u{n % 7}"}, **changes)
        )


def sent(world):
    return [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]


def test_case_13_a_window_without_sessions_is_done_at_once_with_zeros(world):
    body = world.body()
    assert body == {
        "status": "success",
        "trigger": "scheduled",
        "runId": RUN,
        "syncStartedAt": "2024-11-27T02:00:00Z",
        "syncCompletedAt": "2024-11-27T02:00:00Z",
        "lookbackHours": 25,
        "lookbackWindow": {"from": "2024-11-26T01:00:00Z", "to": "2024-11-27T01:50:00Z"},
        "enqueued": 0,
        "processed": 0,
        "created": 0,
        "skipped": 0,
        "errors": 0,
        "createdOrders": [],
        "dryRun": False,
        "truncated": False,
        "warnings": [],
    }
    assert world.state()["lastSyncStatus"] == "done"
    assert world.run()["status"] == "done"


def test_every_session_of_the_window_is_sent_once_page_by_page(world):
    sells(world, 250)
    body = world.body()
    assert (body["status"], body["enqueued"], body["syncCompletedAt"]) == ("running", 250, None)
    assert sorted(sent(world)) == [f"cs_test_{n:05}" for n in range(250)]
    assert world.stripe.calls.count(Endpoint.LIST) <= 1.3 * 2.5 + 3
    assert world.history.count("send_message_batch") <= 27
    assert world.state_counters() == (250, 0, 0, 0, 0)


def test_a_customers_sessions_are_sent_side_by_side_in_the_place_of_the_first(world):
    for n, user in enumerate(["u1", "u2", "u1", "u3", "u2"]):
        world.sells(SessionSpec(f"cs_test_{n}", NOW - HOUR + n, metadata={"userId": user}))
    world.body()
    assert list(sent(world)) == [f"cs_test_{n}" for n in (0, 2, 1, 4, 3)]


def test_only_complete_sessions_created_in_the_window_are_sent(world):
    for name, created, status in (
        ("inside", NOW - 25 * HOUR, "complete"),
        ("last", NOW - GRACE, "complete"),
        ("too_old", NOW - 25 * HOUR - 1, "complete"),
        ("too_new", NOW - GRACE + 1, "complete"),
        ("open", NOW - HOUR, "open"),
        ("expired", NOW - HOUR, "expired"),
    ):
        at = {"completed_at": created} if status == "complete" else {}
        world.sells(SessionSpec(f"cs_test_{name}", created, status=status, metadata={"userId": "u"}, **at))
    world.body()
    assert sorted(sent(world)) == ["cs_test_inside", "cs_test_last"]


def test_the_window_follows_the_schedule_and_not_the_clock(world):
    world.clock.now += 7 * HOUR
    body = world.body()
    assert body["lookbackWindow"] == {"from": "2024-11-26T01:00:00Z", "to": "2024-11-27T01:50:00Z"}
    assert body["syncStartedAt"] == "2024-11-27T09:00:00Z"


def test_case_11_an_override_is_taken_exactly(world):
    sells(world, 3)
    body = world.body({"lookbackHours": 48, "maxSessions": 100})
    assert body["trigger"] == "manual"
    assert body["runId"] == MANUAL
    assert body["lookbackWindow"] == {"from": "2024-11-25T02:00:00Z", "to": "2024-11-27T02:00:00Z"}
    state = world.state()
    assert (state["lastLookbackStart"], state["lastLookbackEnd"]) == (NOW - 48 * HOUR, NOW)


@pytest.mark.parametrize(
    "event",
    [
        {"lookbackHours": "48"},
        {"lookbackHours": None},
        {"maxSessions": 0},
        {"dryRun": 1},
        {"requestedAt": "now"},
        {"unknown": 1},
        [],
        None,
    ],
)
def test_case_11_a_wrong_event_is_answered_400_before_anything_is_read_or_written(world, event):
    sells(world, 3)
    answer = world.produce(event)
    assert answer["statusCode"] == 400
    assert (answer["body"]["status"], answer["body"]["error"]) == ("error", "InvalidRequest")
    assert answer["body"]["message"]
    assert world.history.calls == []
    assert world.stripe.calls.count() == 0


def test_case_11_an_incomplete_environment_raises_and_names_every_name(monkeypatch, world):
    import producer.lambda_function as function  # noqa: PLC0415 - its cache is cleared here

    for name in ("COMMERCE_TABLE", "SYNC_QUEUE_URL", "STRIPE_SECRET", "STRIPE_SECRET_PARAMETER"):
        monkeypatch.delenv(name, raising=False)
    function.clients.cache_clear()
    with pytest.raises(ConfigError, match="COMMERCE_TABLE, SYNC_QUEUE_URL, STRIPE_SECRET or"):
        function.lambda_handler({}, LambdaContext(world.clock))


def test_what_does_not_fit_into_one_invocation_goes_on_in_the_next(make_world):
    world = make_world(SYNC_MAX_SESSIONS="120")
    for n in range(1700):
        world.sells(SessionSpec(f"cs_test_{n:05}", NOW - 700 - n * 50, completed_at=NOW - 700))
    answer = world.produce()["body"]
    assert 120 <= answer["enqueued"] < 1700
    assert answer["status"] == "running"
    assert len(world.hops) == 1
    body = world.hop_all()
    assert (body["enqueued"], body["truncated"], body["warnings"]) == (1700, False, [])
    world.drain()
    assert world.counters() == (1700, 1700, 0, 1700, 0)
    assert world.run()["status"] == "done"


def test_a_hard_maximum_takes_exactly_so_many_the_oldest_and_says_truncated(world, capfd):
    sells(world, 150)
    body = world.body({"maxSessions": 120})
    assert (body["enqueued"], body["truncated"]) == (120, True)
    assert "120 sessions" in body["warnings"][0]
    assert sorted(sent(world)) == [f"cs_test_{n:05}" for n in range(30, 150)]
    world.drain()
    assert world.run(MANUAL)["status"] == "done"
    assert world.run(MANUAL)["truncated"] is True


@pytest.mark.parametrize("maximum", [100, 150, 151])
def test_exactly_the_maximum_is_not_truncated(world, maximum):
    sells(world, min(150, maximum))
    body = world.body({"maxSessions": maximum})
    assert (body["enqueued"], body["truncated"], body["warnings"]) == (min(150, maximum), False, [])


def test_an_explicit_maximum_wins_over_the_setting(make_world):
    world = make_world(SYNC_MAX_SESSIONS="5")
    sells(world, 30)
    assert world.body({"maxSessions": 17})["enqueued"] == 17


# Repeats and crashes


def test_case_6_the_same_schedule_delivered_twice_counts_everything_once(world):
    sells(world, 30)
    world.body()
    again = world.body()
    assert again["enqueued"] == 30
    world.drain()
    assert world.counters() == world.state_counters() == (30, 30, 30, 0, 0)
    third = world.body()
    assert (third["status"], third["created"], len(third["createdOrders"])) == ("success", 30, 20)
    assert world.counters() == (30, 30, 30, 0, 0)


def test_case_6_two_producers_at_once_for_one_schedule_count_everything_once(world):
    """The second one runs as a whole while the first one waits for its first page."""
    sells(world, 250)
    raced = []

    def the_other_one_is_faster(request):
        if request.endpoint is Endpoint.LIST and not raced:
            raced.append(True)
            world.body()

    world.stripe.on_request = the_other_one_is_faster
    body = world.body()
    assert body["enqueued"] == 250
    assert raced
    world.drain()
    assert world.counters() == (250, 250, 250, 0, 0)
    assert len(world.orders()) == 250


@pytest.mark.parametrize("fault", [killed_before(), killed_after()], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 13, 25])
def test_case_7_a_producer_that_dies_half_way_is_invoked_again_and_counts_every_session_once(
    world, fault, nth
):
    sells(world, 250)
    world.sqs.plan = on("send_message_batch", fault, nth=nth)
    with pytest.raises(Killed):
        world.body()
    world.sqs.plan = lambda call: None
    body = world.body()
    assert body["enqueued"] == 250
    assert set(sent(world)) == {f"cs_test_{n:05}" for n in range(250)}
    world.drain()
    assert world.counters() == world.state_counters() == (250, 250, 250, 0, 0)
    assert world.run()["status"] == "done"


@pytest.mark.parametrize("nth", range(1, 6))
@pytest.mark.parametrize("fault", [killed_before(), killed_after(), lost_response()], ids=lambda f: f.name)
def test_case_7_a_producer_that_dies_at_any_write_is_invoked_again_and_loses_nothing(world, fault, nth):
    sells(world, 250)
    world.dynamodb.plan = on("transact_write_items", fault, nth=nth)
    with contextlib.suppress(Killed):
        world.body()
    world.dynamodb.plan = lambda call: None
    world.body()
    world.drain()
    assert world.counters() == world.state_counters() == (250, 250, 250, 0, 0)
    assert world.run()["status"] == "done"


def test_case_8_entries_that_sqs_rejects_are_sent_again_and_only_those(world):
    sells(world, 10)
    rejected = []

    def rejects_three_once(operation, entry):
        if operation == "SendMessageBatch" and len(rejected) < 3 and entry["Id"] in "147":
            rejected.append(entry["Id"])
            return True
        return False

    world.memory_sqs.rejects = rejects_three_once
    world.body()
    assert rejected == ["1", "4", "7"]
    assert len(sent(world)) == len(set(sent(world))) == 10


def test_case_8_a_queue_that_keeps_rejecting_raises_and_the_next_invocation_goes_on(world):
    sells(world, 130)
    world.memory_sqs.rejects = lambda operation, entry: "cs_test_00120" in entry.get("MessageBody", "")
    with pytest.raises(QueueUnavailable):
        world.produce()
    assert world.counters()[0] == 0  # what was not sent whole is not counted
    assert not world.run()["listed"]
    world.memory_sqs.rejects = lambda operation, entry: False
    world.body()
    world.drain()
    assert world.counters() == (130, 130, 130, 0, 0)


def test_a_stripe_that_fails_for_good_raises_and_leaves_the_run_to_the_next_attempt(world):
    sells(world, 3)
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert world.run()["status"] == "failed"
    world.stripe.faults.clear()
    assert world.body()["enqueued"] == 3
    assert world.run()["status"] == "running"


def test_a_key_rejected_for_good_raises(world):
    world.stripe.accept_keys({"sk_test_new"})
    with pytest.raises(KeyRejected) as caught:
        world.produce()
    assert "sk_test" not in str(caught.value)


@pytest.mark.parametrize("fault", [throttled(), connection_closed(), lost_response()], ids=lambda f: f.name)
def test_a_start_whose_answer_is_lost_starts_one_run(world, fault):
    sells(world, 3)
    world.dynamodb.plan = on("transact_write_items", fault, nth=1)
    world.body()
    world.drain()
    assert world.counters() == world.state_counters() == (3, 3, 3, 0, 0)


@pytest.mark.parametrize("nth", [2, 3, 4])
def test_a_cursor_whose_move_was_answered_by_nobody_is_not_taken_for_another_producers(world, nth):
    """Without the transaction's token the repeat would meet its own move and stop listing half-way."""
    sells(world, 250)
    world.dynamodb.plan = on("transact_write_items", lost_response(), nth=nth)
    assert world.body()["enqueued"] == 250
    assert world.run()["listed"] is True
    assert world.history.faults().total() == 1


# Runs that came before


def dies(world):
    """The producer is killed once its run has begun; such a one writes nothing down."""
    world.sqs.plan = on("send_message_batch", killed_before(), nth=1)
    with pytest.raises(Killed):
        world.produce()
    world.sqs.plan = lambda call: None


def test_a_run_whose_producer_died_is_failed_by_the_next_one(world):
    sells(world, 3)
    dies(world)
    world.clock.now += 48 * HOUR
    later = "20241129T020000Z"
    world.body({"trigger": "scheduled", "scheduledTime": "2024-11-29T02:00:00Z"})
    assert world.run(RUN)["status"] == "failed"
    assert world.counters(later)[0] == 3  # it covers the night that failed
    assert (world.state()["lastSyncRunId"], world.state()["lastSyncStatus"]) == (later, "running")


def test_a_run_that_another_invocation_is_still_listing_is_left_open(world):
    sells(world, 3)
    dies(world)
    world.clock.now += 19 * 60
    world.body({"lookbackHours": 1})
    assert world.run(RUN)["status"] == "running"


def test_a_failed_run_goes_on_when_its_producer_comes_back(world):
    sells(world, 3)
    dies(world)
    world.clock.now += 30 * 60
    world.body({"lookbackHours": 1})
    assert world.run(RUN)["status"] == "failed"
    world.body(SCHEDULED)
    world.drain()
    assert world.run(RUN)["status"] == "done"
    assert world.counters(RUN)[:2] == (3, 3)


def test_a_run_that_was_given_up_while_its_producer_listed_is_revived_by_the_next_slice(world):
    sells(world, 3)
    raced = []

    def somebody_gives_it_up(request):
        if request.endpoint is Endpoint.LIST and not raced:
            raced.append(True)
            world.memory.update_item(
                TableName="commerce",
                Key={"PK": {"S": "SYSTEM"}, "SK": {"S": f"STRIPE_ORDER_SYNC#{RUN}"}},
                UpdateExpression="SET #s = :failed, syncCompletedAt = :at",
                ExpressionAttributeNames={"#s": "status"},
                ExpressionAttributeValues={":failed": {"S": "failed"}, ":at": {"S": "2024-11-27T02:00:01Z"}},
            )

    world.stripe.on_request = somebody_gives_it_up
    assert world.body(SCHEDULED)["status"] == "running"
    assert "syncCompletedAt" not in world.run(RUN)
    world.drain()
    assert raced
    assert world.run(RUN)["status"] == "done"
    assert world.counters(RUN) == (3, 3, 3, 0, 0)


def test_a_repeated_run_keeps_the_maximum_it_began_with(make_world):
    world = make_world()
    sells(world, 150)
    world.sqs.plan = on("send_message_batch", killed_before(), nth=12)
    with pytest.raises(Killed):
        world.body()
    world.sqs.plan = lambda call: None
    body = world.body({**SCHEDULED, "maxSessions": 10})
    assert (body["enqueued"], body["truncated"]) == (150, False)


def test_an_empty_page_that_says_there_is_more_is_no_end_of_the_listing(world, monkeypatch):
    sells(world, 350)
    get = StripeConnection.get

    def lies_on_the_second_page(self, path, params, key):
        return {"data": [], "has_more": True} if "starting_after" in params else get(self, path, params, key)

    monkeypatch.setattr(StripeConnection, "get", lies_on_the_second_page)
    with pytest.raises(StripeUnavailable):
        world.produce()
    monkeypatch.undo()
    assert not world.run()["listed"]
    assert world.body()["enqueued"] == 350


def test_a_record_that_a_stray_result_left_is_no_run_yet(world):
    sells(world, 3)
    world.sends(a_message(session_id="cs_stray", user_id=None))
    world.drain()
    assert world.counters() == (0, 1, 0, 1, 0)
    assert world.run()["expiresAt"] > NOW
    body = world.body()
    assert (body["enqueued"], body["lookbackWindow"]["to"]) == (3, "2024-11-27T01:50:00Z")
    world.drain()
    assert world.run()["status"] == "done"
    assert world.counters() == (3, 4, 3, 1, 0)


def test_a_run_whose_last_consumer_died_before_asking_is_done_by_the_next_producer(world):
    sells(world, 3)
    world.body()
    world.dynamodb.plan = on("get_item", killed_before())
    world.deliver()
    world.dynamodb.plan = lambda call: None
    assert world.run()["status"] == "running"
    world.clock.now += 24 * HOUR
    world.body({"trigger": "scheduled", "scheduledTime": "2024-11-28T02:00:00Z"})
    assert world.run(RUN)["status"] == "done"


def test_a_run_that_started_earlier_does_not_take_the_state_from_a_later_one(world):
    world.clock.now += 600
    later = world.body({"lookbackHours": 1})["runId"]
    world.clock.now -= 600  # an invocation whose clock is behind, or that was delayed at its start
    earlier = world.body()["runId"]
    assert world.state()["lastSyncRunId"] == later
    assert world.run(earlier)["status"] == "done"


def test_a_state_that_the_predecessor_left_is_taken_over(world):
    world.memory.put_item(
        TableName="commerce",
        Item={
            "PK": {"S": "SYSTEM"},
            "SK": {"S": "STRIPE_ORDER_SYNC"},
            "lastSyncStartedAt": {"N": "99999999999"},
            "lastSyncProcessed": {"N": "41"},
        },
    )
    sells(world, 2)
    world.night()
    assert world.state_counters() == (2, 2, 2, 0, 0)


# Dry run


def test_case_12_a_dry_run_tells_what_would_happen_and_writes_nothing(world):
    sells(world, 25)
    known = SessionSpec("cs_test_known", NOW - HOUR, metadata={"userId": "u1"})
    world.sells(known)
    world.webhook_writes(known.id, "u1", NOW - 10)
    world.sells(SessionSpec("cs_test_nobody", NOW - HOUR))
    world.sells(SessionSpec("cs_test_setup", NOW - HOUR, mode="setup", metadata={"userId": "u1"}))
    table, queue = world.memory.dump(), world.memory_sqs.dump()
    body = world.body({"dryRun": True})
    assert (world.memory.dump(), world.memory_sqs.dump()) == (table, queue)
    assert (body["status"], body["dryRun"], body["enqueued"]) == ("success", True, 0)
    assert (body["processed"], body["created"], body["skipped"], body["errors"]) == (28, 25, 3, 0)
    assert len(body["createdOrders"]) == 20
    assert world.night()["created"] == body["created"]


def test_a_dry_run_has_no_limit_of_its_own_and_obeys_an_explicit_one(make_world):
    world = make_world(SYNC_MAX_SESSIONS="5", SYNC_DRY_RUN="true")
    sells(world, 130)
    body = world.body({})
    assert (body["processed"], body["truncated"], body["dryRun"]) == (130, False, True)
    body = world.body({"maxSessions": 120})
    assert (body["processed"], body["truncated"]) == (120, True)


def test_a_dry_run_out_of_time_says_what_it_saw_and_that_it_is_truncated(world):
    for n in range(4000):
        world.sells(SessionSpec(f"cs_test_{n:05}", NOW - 700 - n * 20, completed_at=NOW - 700))

    def slow(request):
        world.clock.now += 1

    world.stripe.on_request = slow
    body = world.produce({"dryRun": True}, timeout=70)["body"]
    assert 0 < body["processed"] < 4000
    assert body["truncated"] is True
    assert body["warnings"]


def test_a_scheduled_preview_leaves_a_line_in_the_log(capfd, make_world):
    world = make_world(SYNC_DRY_RUN="true")
    sells(world, 3)
    world.produce(SCHEDULED)
    assert "Preview: processed=3, created=3, skipped=0, errors=0" in capfd.readouterr().out


def test_a_bug_is_raised_without_its_text_and_logged_with_its_place(capfd, make_world, monkeypatch):
    world = make_world()

    def breaks(*_):
        raise ValueError("secret@example.com")

    monkeypatch.setattr("producer.lambda_function.plan", breaks)
    with pytest.raises(Unexpected) as caught:
        world.produce()
    assert caught.value.__cause__ is None
    printed = "".join(capfd.readouterr())
    assert "secret" not in printed + str(caught.value)
    assert "Unexpected ValueError" in printed
    assert "breaks" in printed


def test_the_event_wins_over_the_setting_that_previews(make_world):
    world = make_world(SYNC_DRY_RUN="true")
    sells(world, 1)
    assert world.body({"dryRun": False})["enqueued"] == 1
