"""`nightly-sync missing`: the orders that a shop's own layout lacks, and how its webhook is asked again."""

from dataclasses import replace

import pytest

from ops.cli.commands.missing import missing
from ops.cli.commands.runs import runs
from ops.cli.commands.show import show
from ops.errors import CommandError
from ops.explain.in_table import load_pending
from ops.format.json_encoding import to_json
from ops.runs.attention import group_by_word
from recon.domain.message import dumps
from recon.dynamodb.attention import AttentionRecord
from recon.dynamodb.keys import attention_key, outcome_key, pending_key, run_key
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, RUN, a_message
from testkit.fake_stripe import SessionSpec
from testkit.world import wire

CS, OTHER, OLD, UNPAID = "cs_test_00000001", "cs_test_00000002", "cs_test_00000003", "cs_test_00000004"


@pytest.fixture
def put(world):
    def put(key, **fields):
        item = {"PK": key[0], "SK": key[1]} | fields
        world.memory.put_item(TableName=world.ledger, Item=wire(item))

    return put


@pytest.fixture
def missed(world, put):
    """Put two missing orders, one that no run looks for any more, and one session that waits."""
    times = {CS: NOW - HOUR, OTHER: NOW - 2 * DAY, OLD: NOW - 40 * DAY, UNPAID: NOW - HOUR}
    since = {CS: NOW - 60, OTHER: NOW - DAY, OLD: NOW - 31 * DAY, UNPAID: None}
    for name, created in times.items():
        message = a_message(session_id=name, created=created, amount_total=1500, currency="usd")
        fields = {} if since[name] is None else {"missingSince": since[name]}
        put(pending_key(name), message=dumps(message), **fields)
    world.sells(SessionSpec(CS, NOW - HOUR, completed_at=NOW - HOUR + 60, event_delivered=False))
    put(run_key(RUN), syncStartedAt="2024-11-27T02:00:00Z", status="done", missing=1, processed=1)
    put(outcome_key(RUN, CS), outcome="missing", amount=1500, currency="usd")


@pytest.mark.usefixtures("missed")
def test_missing_orders_are_listed_with_money_link_and_command(world, context):
    result = missing(context)
    first, second = to_json(result.data)["sessions"]
    assert (first["sessionId"], first["eventId"], first["command"]) == (OTHER, None, None)
    assert second["sessionId"] == CS
    assert second["command"] == (
        f"stripe events resend {second['eventId']} --webhook-endpoint=we_YOUR_ENDPOINT"
    )
    assert to_json(result.data)["money"] == [{"currency": "usd", "amount": 3000}]
    assert result.needs_attention
    shown = context.show(result)
    assert "2 orders missing, 30.00 USD" in shown
    assert CS in shown
    assert "dashboard.stripe.com" in shown
    assert f"stripe events resend {second['eventId']}" in shown
    assert "has no event of the others" in shown


@pytest.mark.usefixtures("missed")
def test_missing_orders_of_a_run_are_those_that_it_missed(context):
    result = missing(context, run="last")
    assert [one["sessionId"] for one in to_json(result.data)["sessions"]] == [CS]
    with pytest.raises(CommandError, match="there is no run 20240101T020000Z"):
        missing(context, run="20240101T020000Z")


@pytest.mark.usefixtures("missed")
def test_order_that_runs_gave_up_is_listed_until_acknowledged(context, put):
    put(attention_key(CS), words=["missing"])
    put(attention_key(OLD), words=["missing"])
    result = missing(context)
    assert to_json(result.data)["abandoned"] == [OLD]
    assert f"nightly-sync explain {OLD}" in context.show(result)
    put(attention_key(OLD), words=["missing"], acknowledgedBy="jane")
    assert to_json(missing(context).data)["abandoned"] == []


@pytest.mark.parametrize(("days", "expected"), [(29, 30), (31, None)])
def test_entry_of_a_missing_order_is_explained_until_runs_look_no_longer(world, put, days, expected):
    since = NOW - days * DAY
    message = a_message(session_id=CS, created=since - 40 * DAY)
    put(pending_key(CS), message=dumps(message), missingSince=since)
    pending = load_pending(world.open_table(), CS, NOW)
    until = pending and (pending.entry.asked_until - pending.entry.missing_since).days
    assert until == expected


def test_nothing_missing_is_said_and_needs_nobody(context):
    result = missing(context)
    assert (context.show(result).strip(), result.needs_attention) == ("No order is missing.", False)


@pytest.mark.usefixtures("missed")
def test_unreadable_events_leave_the_list_and_say_why(world, context):
    world.ssm.value = "sk_test_wrong"
    result = missing(context)
    assert len(to_json(result.data)["sessions"]) == 2
    assert "Not all events could be read" in context.show(result)


@pytest.mark.usefixtures("missed")
@pytest.mark.parametrize("command", [runs, lambda context: show(context, "last")])
def test_runs_and_show_count_missing_orders(context, command):
    shown = context.show(command(context))
    assert "missing" in shown
    assert to_json(command(context).data)


def test_runs_without_missing_orders_have_no_column_for_them(context, put):
    put(run_key(RUN), syncStartedAt="2024-11-27T02:00:00Z", status="done", created=1, processed=1)
    assert "missing" not in context.show(runs(context))


def test_status_names_the_command_for_missing_orders():
    record = AttentionRecord(CS, ("missing",), 1500, "usd", since="2024-11-27T02:00:00Z")
    [group] = group_by_word([record, replace(record, session_id=OTHER)])
    assert (group.count, group.command) == (2, "nightly-sync missing")
