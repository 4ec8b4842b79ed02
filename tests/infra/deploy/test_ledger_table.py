"""LedgerTable: which tables a deployment accepts, and what it says of a ledger that is elsewhere."""

import re
from dataclasses import replace

import pytest

from tests.infra.deploy.recorded import DEPLOYED, PARAMETERS, SETTINGS, refusal, stacks, table

GET_ITEM, DESCRIBE_TABLE = "dynamodb__get_item", "dynamodb__describe_table"
STATE = {"Item": {"PK": {"S": "SYSTEM"}, "lastSyncRunId": {"S": "20241127T020000Z"}}}
KEYS = table(("PK", "HASH", "S"), ("SK", "RANGE", "S"))
NO_TABLE = refusal("ResourceNotFoundException")


def watermark(**texts):
    return {"Item": {name: {"S": text} for name, text in texts.items()}}


def settings(ledger):
    return replace(SETTINGS, parameters=PARAMETERS | {"LedgerTable": ledger})


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("ledger", "recorded", "message"),
    [
        ("shop", {}, "LedgerTable must be another table than CommerceTable"),
        ("books", {DESCRIBE_TABLE: [KEYS, NO_TABLE]}, "there is no table books"),
        ("books", {DESCRIBE_TABLE: [KEYS, table(("PK", "HASH", "S"))]}, "the table books must have"),
        ("books", {GET_ITEM: [{}, STATE, {}]}, "`nightly-sync ledger move --to books` before this"),
        ("books", {GET_ITEM: [{}, STATE, watermark(stackName="sync")]}, "table shop holds the ledger"),
        ("books", {GET_ITEM: [watermark(stackName="older-sync"), {}, {}]}, "belongs to stack older-sync"),
        ("books", {GET_ITEM: [{}, STATE, watermark(movedTo="elsewhere")]}, "has moved to table elsewhere"),
        ("books", {GET_ITEM: [watermark(movingFrom="shop"), {}, {}]}, "from table shop has not ended"),
        ("create", {GET_ITEM: [{}, STATE, {}]}, "make the table yourself"),
        ("", {GET_ITEM: [watermark(stackName="sync", movedTo="books")]}, "deploy with LedgerTable=books"),
    ],
)
def test_wrong_ledger_is_refused_before_anything_is_written(make_deployment, verb, ledger, recorded, message):
    deployment = make_deployment(stored=settings(ledger), **recorded)
    assert message in deployment.error(verb)
    assert deployment.writes == []


@pytest.mark.parametrize(
    ("ledger", "answers"),
    [
        ("books", [watermark(stackName="sync"), STATE, watermark(stackName="sync", movedTo="books")]),
        ("books", [{}, STATE, watermark(stackName="another")]),
        ("books", [{}, {}, {}]),
        ("create", [refusal("ResourceNotFoundException"), {}, {}]),
    ],
)
def test_new_or_moved_ledger_is_deployed(make_deployment, ledger, answers):
    deployment = make_deployment(stored=settings(ledger), **{GET_ITEM: answers}, **DEPLOYED)
    assert deployment.deploy() == 0
    tables = [call["TableName"] for call in deployment.calls("dynamodb", "get_item")]
    name = "sync-ledger" if ledger == "create" else "books"
    # The last one is for the time of an earlier filter.
    assert tables == [name, "shop", "shop", name]


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("deployed", "ledger", "mark", "message"),
    [
        ("books", "", {"stackName": "sync"}, "`nightly-sync ledger move --to shop` before this deployment"),
        ("books", "others", {"stackName": "sync"}, "Keep --set LedgerTable=books, or move it"),
        ("books", "create", {"stackName": "sync"}, "would begin another in table sync-ledger"),
        ("create", "", {"stackName": "sync"}, "table sync-ledger holds the ledger of stack sync"),
        ("books", "", {"movedTo": "elsewhere"}, "to table elsewhere: deploy with LedgerTable=elsewhere"),
        ("books", "", {"movingFrom": "shop"}, "the move of the ledger from table shop has not ended"),
    ],
)
@pytest.mark.parametrize("adopt", [False, True])
def test_separate_ledger_is_not_left_behind(make_deployment, verb, deployed, ledger, mark, message, adopt):
    found = [stacks("UPDATE_COMPLETE", settings(deployed).parameters)]
    reads = [{}, {}, {}] if ledger else [{}]
    recorded = {GET_ITEM: [*reads, watermark(**mark)], "cloudformation__describe_stacks": found}
    deployment = make_deployment(stored=settings(ledger), **recorded)
    assert message in deployment.error(verb, adopt=adopt)
    assert deployment.writes == []


@pytest.mark.parametrize(
    ("deployed", "ledger", "former"),
    [
        ("books", "", [watermark(stackName="sync", movedTo="shop")]),
        ("books", "", [{}]),
        ("books", "", [refusal("ResourceNotFoundException")]),
        ("create", "sync-ledger", [watermark(stackName="sync")]),
        ("books", "books", []),
    ],
)
def test_moved_empty_or_same_ledger_is_deployed(make_deployment, deployed, ledger, former):
    found = DEPLOYED | {
        "cloudformation__describe_stacks": [stacks("UPDATE_COMPLETE", settings(deployed).parameters)]
    }
    reads = [{}, {}, {}] if ledger else [{}]
    deployment = make_deployment(stored=settings(ledger), **found, **{GET_ITEM: [*reads, *former, {}]})
    assert deployment.deploy() == 0
    assert deployment.parameters["LedgerTable"] == ledger


def test_new_stack_does_not_make_a_ledger_that_exists(make_deployment):
    message = make_deployment(stored=settings("create")).error()
    assert "--set LedgerTable=sync-ledger" in message


def test_new_stack_makes_its_ledger(make_deployment):
    deployment = make_deployment(stored=settings("create"), **{DESCRIBE_TABLE: [KEYS, NO_TABLE]})
    assert deployment.deploy() == 0
    assert deployment.parameters["LedgerTable"] == "create"


@pytest.mark.parametrize(("ledger", "kept"), [("", []), ("create", ["sync-ledger"]), ("books", ["books"])])
def test_deletion_names_the_ledger_that_stays(make_deployment, ledger, kept):
    deployed = [stacks("UPDATE_COMPLETE", settings(ledger).parameters)]
    deployment = make_deployment(stored=None, cloudformation__describe_stacks=deployed)
    deployment.destroy_dry_run()
    assert re.findall(r"table (\S+), with the ledger", deployment.text) == kept
