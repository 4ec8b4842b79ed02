"""`nightly-sync ledger move`: which tables it takes, and what it says."""

from dataclasses import replace

import pytest

from ops.cli.commands.ledger import move
from ops.errors import CommandError
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import on, service_error
from testkit.fake_stripe import SessionSpec
from testkit.world import FUNCTION_TIMEOUT, wire

LEDGER = "books"
KEYS = [("PK", "HASH", "S"), ("SK", "RANGE", "S")]


@pytest.fixture
def memory():
    made = MemoryDynamoDB(lambda: NOW)
    for name in (TABLE, LEDGER):
        made.add_table(name)
    return made


@pytest.fixture
def world(make_world, memory):
    made = make_world(memory, SYNC_STACK="shop")
    made.sells(SessionSpec("cs_test_1", NOW - 3600, metadata={"userId": "u"}))
    made.night()
    return made


@pytest.fixture
def tables(context):
    """Let `describe_table` of the context's client answer with these keys, by the table's name."""
    described = {LEDGER: KEYS}

    def describe_table(TableName):  # noqa: N803 - boto3's name
        return {
            "Table": {
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind} for name, kind, _ in described[TableName]
                ],
                "AttributeDefinitions": [
                    {"AttributeName": name, "AttributeType": form} for name, _, form in described[TableName]
                ],
            }
        }

    context.world.memory.describe_table = describe_table
    return described


def deploy_with_ledger(context):
    context.stack.__dict__["outputs"] = replace(context.stack.outputs, ledger=LEDGER)
    del context.stack.__dict__["table"]


def test_move_before_the_deployment_says_what_it_copied_and_what_comes_next(context, tables):
    shown = " ".join(context.show(move(context, to=LEDGER)).split())
    assert "Moved the ledger from commerce to books: 3 records, all compared" in shown
    assert "(1 SESSION, 1 STRIPE_ORDER_SYNC, 1 SYNC_RUN); 3 written, 0 removed" in shown
    assert "The records in commerce stay, and nothing reads them any more" in shown
    assert 'make deploy ARGS="--stack shop --set LedgerTable=books"' in shown


def test_move_waits_once_for_the_batches_that_have_begun(context, tables):
    began = context.world.clock()
    move(context, to=LEDGER)
    move(context, to=LEDGER)
    assert context.world.clock() - began == FUNCTION_TIMEOUT
    assert context.log == "Waiting 60 seconds, until the batches that began on commerce have ended\n"


def test_move_after_the_deployment_takes_the_deployed_table(context, tables):
    context.stack.table  # noqa: B018 - cached with the first outputs
    deploy_with_ledger(context)
    shown = context.show(move(context))
    assert "Moved the ledger from commerce to books" in shown
    assert "make deploy" not in shown
    assert "had moved from commerce to books before" in " ".join(context.show(move(context)).split())


@pytest.mark.parametrize(
    ("to", "keys", "message"),
    [
        (None, KEYS, "the ledger of shop is in the shop's table commerce; name a table for it with --to"),
        (TABLE, KEYS, "is in table commerce already"),
        (LEDGER, [("PK", "HASH", "S")], "the table books must have the string keys PK and SK"),
    ],
)
def test_wrong_table_is_refused_before_anything_is_written(context, tables, memory, to, keys, message):
    tables[LEDGER] = keys
    before = memory.dump()
    with pytest.raises(CommandError, match=message):
        move(context, to=to)
    assert memory.dump() == before


def test_table_of_a_shop_with_its_own_layout_never_held_a_ledger(context, tables):
    context.world.dynamodb.plan = on("get_item", service_error("ValidationException"))
    with pytest.raises(CommandError, match="table commerce has other keys than PK and SK"):
        move(context, to=LEDGER)


def test_open_run_is_an_error_of_the_command(context, tables, memory):
    run = {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC#20241128T020000Z", "status": "running", "listed": True}
    memory.put_item(TableName=TABLE, Item=wire(run))
    with pytest.raises(CommandError, match="run 20241128T020000Z is open: wait until it is done"):
        move(context, to=LEDGER)
