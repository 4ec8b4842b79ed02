"""What earlier versions left in queue and table is understood, and so is what a later one would leave.

A deployment finds messages, open runs and outcomes of the version before; a roll-back finds those of the
version after. So a version only ever adds: see "Compatibility" in CHANGELOG.md.
"""

import json

import pytest

from recon.domain.message import loads
from recon.domain.reconcile import Outcome
from recon.dynamodb.records import parse_outcome, parse_run, parse_state
from recon.timestamps import HOUR
from testkit.builders import NOW, RUN, TABLE
from testkit.fake_stripe import SessionSpec
from testkit.world import SCHEDULED, wire

NEXT_NIGHT = SCHEDULED | {"scheduledTime": "2024-11-28T02:00:00Z"}
# What the single-function system before this one kept of its last night, and nothing else.
SINGLE_FUNCTION_STATE = {
    "PK": "SYSTEM",
    "SK": "STRIPE_ORDER_SYNC",
    "lastSyncStartedAt": "2024-11-26T02:00:00Z",
    "lastSyncCompletedAt": "2024-11-26T02:03:10Z",
    "lastSyncProcessed": 40,
    "lastSyncCreated": 2,
    "lastSyncSkipped": 37,
    "lastSyncErrors": 1,
    "lastLookbackStart": NOW - 49 * HOUR,
    "lastLookbackEnd": NOW - 24 * HOUR,
    "updatedAt": "2024-11-26T02:03:10Z",
}


def holds(world, items):
    for item in items:
        world.memory.put_item(TableName=TABLE, Item=wire(item))


def records(sample, **where):
    return [item for item in sample["items"] if where.items() <= item.items()]


def by_session(sample):
    return {item["SK"].partition("#")[2]: item for item in records(sample, PK=f"SYNC_RUN#{RUN}")}


def test_every_message_is_read(sample):
    read = {message.session_id: message for message in map(loads, sample["messages"] + sample["dead"])}
    assert len(read) == 11
    created = read["cs_test_created"]
    assert (created.run_id, created.user_id, created.created) == (RUN, "u1", NOW - HOUR)
    assert (created.amount_total, created.currency, created.mode) == (1500, "usd", "payment")
    assert (created.event_ids, created.pending) == ((), None)
    assert read["cs_test_fenced"].event_types == ("checkout.session.completed",)
    assert read["cs_test_fenced"].event_ids[0].startswith("evt_")
    assert read["cs_test_unpaid"].pending == NOW + 48 * HOUR - 60
    assert read["cs_test_no_user"].user_id is None
    assert (read["cs_test_free"].amount_total, read["cs_test_free"].currency) == (None, None)


def test_every_runs_record_is_read(sample):
    [done] = records(sample, SK=f"STRIPE_ORDER_SYNC#{RUN}")
    [_, running] = sample["open"]
    read = [parse_run(item) for item in (done, running, sample["failed"], sample["truncated"])]
    assert [run.status for run in read] == ["done", "running", "failed", "running"]
    assert [run.listed for run in read] == [True, False, False, True]
    assert [run.truncated for run in read] == [False, False, False, True]
    assert (read[0].run_id, read[0].trigger, read[0].drifted) == (RUN, "scheduled", 1)
    assert (read[0].enqueued, read[0].processed, read[0].created, read[0].skipped, read[0].errors) == (
        11,
        11,
        3,
        7,
        1,
    )
    assert read[1].cursor == running["cursor"]
    assert read[1].slice_seconds
    assert read[3].max_sessions == 1
    assert read[3].warnings[0].startswith("truncated: ")


def test_the_state_is_read(sample):
    [state] = records(sample, SK="STRIPE_ORDER_SYNC")
    read = parse_state(state)
    assert (read.run_id, read.covered_through, read.livemode) == (RUN, NOW - 600, False)
    assert read.first_lookback_start == NOW - 25 * HOUR


def test_every_outcome_is_read_and_only_an_error_may_still_change(sample):
    outcomes = by_session(sample)
    assert len(outcomes) == 11
    for session, item in outcomes.items():
        known = parse_outcome(item)
        assert known.outcome in set(Outcome)
        assert known.is_final is (session != "cs_test_error")
    error = parse_outcome(outcomes["cs_test_error"])
    assert error.error_type == "SessionNotFound"
    assert error.message_id


def test_an_outcome_in_words_of_a_later_version_is_final_and_left_alone(world, sample):
    """As a person's dismissal of a dead session would be, with who did it and how much it was worth."""
    later = {
        "outcome": "skipped",
        "reason": "dismissed",
        "dismissedBy": "ops",
        "amount": 1500,
        "currency": "usd",
    }
    dismissed = by_session(sample)["cs_test_error"] | later
    holds(world, [*sample["items"], dismissed])
    world.sells(SessionSpec("cs_test_error", NOW - HOUR, metadata={"userId": "u9"}))
    world.sends(sample["dead"][0])
    world.drain()
    assert world.outcome("cs_test_error") == dismissed
    assert not world.orders("cs_test_error")


def test_a_redrive_corrects_the_counters_of_an_earlier_versions_run(world, sample):
    holds(world, sample["items"])
    world.sells(SessionSpec("cs_test_error", NOW - HOUR, metadata={"userId": "u9"}))
    world.sends(sample["dead"][0])
    world.drain()
    assert world.counters() == world.state_counters() == (11, 11, 4, 7, 0)
    assert world.run()["status"] == "done"
    assert len(world.orders("cs_test_error")) == 1
    world.check_books()


def test_messages_that_waited_through_a_deployment_change_nothing_that_is_settled(world, sample):
    holds(world, sample["items"])
    before = sorted_items(world)
    for body in sample["messages"]:
        if json.loads(body)["sessionId"] not in {"cs_test_error", "cs_test_unpaid"}:
            world.sends(body)
    world.drain()
    assert sorted_items(world) == before


def sorted_items(world):
    return sorted(world.items(), key=lambda item: (item["PK"], item["SK"]))


def test_messages_that_nobody_has_worked_on_are_settled_as_they_would_have_been(make_world, sample):
    world = make_world(ORDER_TTL_DAYS="1")
    kept = [item for item in sample["items"] if item.get("source") != "nightly_sync"]
    webhooks = [item for item in kept if item["SK"].startswith("ORDER#")]
    [state] = records(sample, SK="STRIPE_ORDER_SYNC")
    [run] = records(sample, SK=f"STRIPE_ORDER_SYNC#{RUN}")
    holds(world, [*webhooks, unsettled(state, "lastSync{}"), unsettled(run, "{}")])
    for session, fields in SOLD.items():
        world.sells(SessionSpec(f"cs_test_{session}", NOW - HOUR, **fields))
    for body in sample["messages"]:
        if json.loads(body)["runId"] == RUN:
            world.sends(body)
    world.drain()
    found = {name: item["outcome"] for name, item in by_session({"items": world.items()}).items()}
    waited = {name: item["outcome"] for name, item in by_session(sample).items()}
    assert found == {name: waited[name] for name in found}
    assert len(found) == 11
    world.check_books()


SOLD = {
    "created": {"metadata": {"userId": "u1"}, "email": "a@shop.test"},
    "fenced": {"metadata": {"userId": "u2"}},
    "refunded": {"metadata": {"userId": "u7"}, "amount_refunded": 1500},
    "free": {"metadata": {"userId": "u10"}, "currency": None},
}


def unsettled(item, name):
    """As it was when the last message had been sent and none received."""
    counters = ("processed", "created", "skipped", "errors", "drifted")
    zero = {name.format(one if name == "{}" else one.capitalize()): 0 for one in counters}
    return item | zero | ({"status": "running"} if "status" in item else {"lastSyncStatus": "running"})


def test_a_run_whose_producer_was_replaced_under_way_is_finished_by_the_next_hop(world, sample):
    holds(world, sample["open"])
    sells_the_rest(world)
    enqueued = world.run()["enqueued"]
    world.body(sample["hop"])
    run = world.run()
    assert run["listed"]
    assert run["enqueued"] > enqueued
    assert world.state()["lastSyncRunId"] == RUN


def sells_the_rest(world):
    """What the open run had not listed yet, and one that it had."""
    cursor = int(world.run()["cursor"])
    for n, created in enumerate([cursor - 10, cursor + 10, NOW - HOUR]):
        world.sells(SessionSpec(f"cs_test_rest{n}", created, metadata={"userId": "u"}))


def test_a_hop_begins_where_the_cursor_stood(world, sample):
    holds(world, sample["open"])
    sells_the_rest(world)
    world.body(sample["hop"])
    sent = [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]
    assert sent == ["cs_test_rest1", "cs_test_rest2"]


def test_a_run_that_was_open_when_the_version_changed_is_closed_by_the_next_night(world, sample):
    holds(world, sample["open"])
    world.clock.now += 24 * HOUR
    world.body(NEXT_NIGHT)
    assert world.run()["status"] == "failed"
    assert world.state()["lastSyncRunId"] == "20241128T020000Z"


def test_a_session_that_waits_for_its_payment_is_asked_about_again(world, sample):
    holds(world, sample["items"])
    paid = SessionSpec("cs_test_unpaid", NOW - HOUR, metadata={"userId": "u5"}, async_paid_at=NOW + HOUR)
    world.sells(paid)
    for night in (28, 29):
        world.clock.now += 24 * HOUR
        world.night(SCHEDULED | {"scheduledTime": f"2024-11-{night}T02:00:00Z"})
    assert len(world.orders("cs_test_unpaid")) == 1
    assert world.item("SYSTEM", "PENDING#cs_test_unpaid") is None


@pytest.mark.parametrize("name", ["created", "fenced", "free", "exists"])
def test_an_order_of_any_version_is_found_and_not_written_again(world, sample, name):
    session = f"cs_test_{name}"
    [order] = records(sample, orderId=session)
    holds(world, [order])
    world.sells(SessionSpec(session, NOW - HOUR, metadata={"userId": order["userId"]}))
    world.night()
    assert world.orders(session) == [order]
    assert world.outcome(session)["reason"] == "exists"


def test_a_marker_of_any_version_stops_no_order_that_is_missing(world, sample):
    [marker] = [item for item in sample["items"] if item["PK"].startswith("EVENT#")]
    holds(world, [marker])
    world.sells(SessionSpec("cs_test_fenced", NOW - HOUR, metadata={"userId": "u2"}, event_delivered=False))
    world.night()
    assert len(world.orders("cs_test_fenced")) == 1
    assert world.item(marker["PK"], marker["SK"]) == marker


def test_the_next_night_goes_on_from_the_watermark(world, sample):
    holds(world, sample["items"])
    world.clock.now += 24 * HOUR
    body = world.body(NEXT_NIGHT)
    # It knows of the night before that there used to be sessions.
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["no_sessions"]
    assert world.run("20241128T020000Z")["lookbackStart"] == NOW - 600 - 24 * HOUR - 600


def test_the_state_of_the_single_function_system_is_taken_over(world):
    holds(world, [SINGLE_FUNCTION_STATE])
    world.sells(SessionSpec("cs_test_1", NOW - HOUR, metadata={"userId": "u1"}))
    world.night()
    assert world.state_counters() == (1, 1, 1, 0, 0)
    state = world.state()
    assert (state["lastSyncRunId"], state["lastSyncStatus"]) == (RUN, "done")
    assert state["lastCoveredThrough"] == NOW - 600
