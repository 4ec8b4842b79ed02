"""The facts that `status` reads, after nights in a world and what may happen to them."""

from dataclasses import replace

import pytest

from ops.format.json_encoding import to_json
from ops.runs.status import read_facts
from ops.runs.system_state import StateLevel, assess
from ops.stack.stack import DEFAULT_STACK
from recon.dynamodb.keys import STATE_KEY
from recon.dynamodb.records import Run
from recon.timestamps import DAY, HOUR, to_iso, to_run_id
from testkit.builders import NOW
from testkit.dead_letters import WorldContext, fail_sessions
from testkit.fake_stripe import SessionSpec
from testkit.world import wire

SESSION = "cs_test_00000001"


def lose_start(world, stack):
    url = world.memory_sqs.add_queue("missed-starts")
    world.memory_sqs.send_message(QueueUrl=url, MessageBody="{}")
    stack.__dict__["outputs"] = replace(stack.outputs, missed_starts_url=url)


def kill_producer(world, stack):
    world.clock.now += DAY
    now = int(world.clock.now)
    stack.runs.start(Run(to_run_id(now), "scheduled", to_iso(now), 25, now - DAY, now), now)
    world.clock.now += HOUR


def overwrite_state(world, stack):
    item = dict(zip(("PK", "SK"), STATE_KEY, strict=True)) | {"status": "done", "updatedAt": to_iso(NOW)}
    world.memory.put_item(TableName=world.table, Item=wire(item))


def miss_nights(world, stack):
    world.clock.now += 3 * DAY
    world.night({})


def own_stack(context):
    """Return the stack of a world, under the name that its functions claim the ledger with."""
    context.stack.name = DEFAULT_STACK
    return context.stack


def state_of(stack, world):
    return assess(read_facts(stack, int(world.clock.now)))


@pytest.fixture
def stack(world, context):
    world.sells(SessionSpec(SESSION, NOW - HOUR, metadata={"userId": "u1"}))
    world.night()
    return own_stack(context)


def test_good_night_is_fine(world, stack):
    facts = read_facts(stack, int(world.clock.now))
    assert assess(facts).level is StateLevel.FINE
    assert (facts.ended_night.run_id, facts.stopped) == (facts.last_run.run_id, ())
    assert to_json(facts)["nextNightDue"] == "2024-11-28T02:00:00Z"


def test_last_night_is_the_scheduled_run_with_its_money(world, stack):
    world.clock.now += HOUR
    world.sells(SessionSpec("cs_test_00000002", int(world.clock.now) - 1800, metadata={"userId": "u2"}))
    manual = world.night({})
    facts = read_facts(stack, int(world.clock.now))
    assert (facts.last_run.run_id, facts.last_run.created) == (manual["runId"], 1)
    assert (facts.last_night.trigger, facts.last_night.created) == ("scheduled", 1)
    assert (to_json(facts.recovered), facts.recovered_unknown) == ([{"currency": "usd", "amount": 1500}], 0)


@pytest.mark.parametrize(
    ("accident", "level", "codes"),
    [
        (lose_start, "needs_action", ["missed_starts"]),
        (kill_producer, "needs_action", ["producer_died"]),
        (overwrite_state, "needs_action", ["state_overwritten"]),
        (miss_nights, "no_run", ["no_scheduled_run"]),
    ],
)
def test_accident_is_never_fine(world, stack, accident, level, codes):
    accident(world, stack)
    state = state_of(stack, world)
    assert (state.level, [one.code for one in state.actions]) == (level, codes)


def test_paid_session_without_user_is_an_action_with_its_money(world, stack):
    world.clock.now += DAY
    world.sells(SessionSpec("cs_test_nobody01", int(world.clock.now) - HOUR, metadata={}))
    world.night({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY)})
    (action,) = state_of(stack, world).actions
    assert (action.code, action.command) == ("no_user_paid", "nightly-sync explain cs_test_nobody01")
    assert (len(action.money), "cs_test_nobody01" in action.url) == (1, True)


def test_held_night_is_an_action_and_no_ended_run(make_world):
    world = make_world(is_confirmed=False)
    world.sells(SessionSpec(SESSION, NOW - HOUR, metadata={"userId": "u1"}))
    world.body()
    state = state_of(own_stack(WorldContext(world)), world)
    assert (state.level, [one.code for one in state.actions]) == ("no_run", ["no_scheduled_run", "run_held"])


def test_errors_of_a_night_have_their_money_and_a_session(world, context):
    fail_sessions(world, 2)
    dead, errors = state_of(own_stack(context), world).actions
    assert (dead.code, errors.code) == ("dead_letters", "run_errors")
    assert (len(errors.money), "cs_test_0000000" in errors.url) == (1, True)


def test_manual_runs_count_as_nights_in_the_sandbox_only(world, context):
    world.night({})
    stack = own_stack(context)
    assert state_of(stack, world).level is StateLevel.NO_RUN
    stack.is_sandbox = True
    assert state_of(stack, world).level is StateLevel.FINE


def test_manual_run_of_a_sandbox_does_not_replace_its_night(world, context):
    world.night()
    night = world.run()["runId"]
    world.clock.sleep(60)
    world.night({"lookbackHours": 1})
    context.stack.is_sandbox = True
    facts = read_facts(own_stack(context), int(world.clock.now))
    assert (facts.last_night.run_id, facts.last_run.trigger) == (night, "manual")
