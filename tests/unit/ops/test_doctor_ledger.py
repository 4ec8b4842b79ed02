"""The doctor on a stack whose ledger is in a separate table."""

from dataclasses import replace

import pytest

from ops.doctor.diagnosis import run_checks
from ops.doctor.facts import LedgerFacts, TableFacts
from ops.doctor.finding import advice, fix
from ops.runs.finding import Verdict
from recon.domain.shape import parse_shape
from tests.unit.ops.doctor_faults import BACK_UP, EXPIRE, MISSING, NO_EXPIRY, SET_VARIABLES, set_parameter
from tests.unit.ops.healthy_stack import CONSUMER, HEALTHY, NAMES, PRODUCER, VARIABLES, stack
from tests.unit.ops.test_doctor import find

SET_LEDGER = SET_VARIABLES.replace('"}}', '", "SYNC_LEDGER_TABLE": "books"}}')
LEDGER_TABLE = TableFacts(
    "books", {**HEALTHY.table, "TableName": "books"}, HEALTHY.time_to_live, HEALTHY.backups
)


def own_ledger(**changes):
    """Return the healthy stack with its ledger in the table `books`, and with other facts."""
    variables = {"Environment": {"Variables": VARIABLES | {"SYNC_LEDGER_TABLE": "books"}}}
    functions = {
        name: replace(function, configuration=function.configuration | variables)
        for name, function in (("producer", PRODUCER), ("consumer", CONSUMER))
    }
    names = replace(NAMES, ledger="books")
    return stack(**{"names": names, "ledger_table": LEDGER_TABLE} | functions | changes)


def test_healthy_stack_with_an_own_ledger_has_only_ok_findings():
    findings = run_checks(own_ledger())
    assert [finding for finding in findings if finding.verdict is not Verdict.OK] == []
    assert {one.name for one in findings} >= {"ledger table", "ledger table: keys", "ledger table: expiry"}


FAULTS = [
    (
        own_ledger(ledger=LedgerFacts(None, is_state_overwritten=False, not_moved="it is elsewhere")),
        fix("ledger: move", "it is elsewhere", "nightly-sync ledger move"),
    ),
    (
        own_ledger(ledger_table=replace(LEDGER_TABLE, table=MISSING)),
        fix("ledger table", "no table books", set_parameter("LedgerTable=YOUR-TABLE")),
    ),
    (
        own_ledger(ledger_table=replace(LEDGER_TABLE, time_to_live=NO_EXPIRY)),
        advice("ledger table: expiry", "records of runs", EXPIRE.replace("shop", "books")),
    ),
    (
        own_ledger(ledger_table=replace(LEDGER_TABLE, backups={})),
        advice("ledger table: backups", "guards could not be restored", BACK_UP.replace("shop", "books")),
    ),
    (own_ledger(time_to_live=NO_EXPIRY), advice("table: expiry", "EVENT# records", EXPIRE)),
    (
        own_ledger(consumer=CONSUMER),
        fix("consumer: settings", "SYNC_LEDGER_TABLE is not set, not books", SET_LEDGER),
    ),
]


@pytest.mark.parametrize(("facts", "expected"), FAULTS, ids=[one.name for _, one in FAULTS])
def test_fault_is_found_with_its_command(facts, expected):
    found = find(facts)[expected.name]
    assert (found.verdict, found.command) == (expected.verdict, expected.command)
    assert expected.what in found.what


SHAPE = '[find]\nkey = { orderId = "{id}" }'
INDEX_SHAPE = '[find]\nkey = { session = "{id}" }\nindex = "by-session"'
ORDERS = {
    **HEALTHY.table,
    "KeySchema": [{"AttributeName": "orderId", "KeyType": "HASH"}],
    "GlobalSecondaryIndexes": [
        {"IndexName": "by-session", "KeySchema": [{"AttributeName": "session", "KeyType": "HASH"}]}
    ],
}


@pytest.mark.parametrize(
    ("text", "table", "verdict"),
    [
        (SHAPE, ORDERS, Verdict.OK),
        (INDEX_SHAPE, ORDERS, Verdict.OK),
        (SHAPE, HEALTHY.table, Verdict.FIX),
        (INDEX_SHAPE, HEALTHY.table, Verdict.FIX),
    ],
)
def test_keys_of_another_shop_are_those_of_its_file(text, table, verdict):
    settings = replace(HEALTHY.settings, shape=parse_shape(text))
    facts = own_ledger(settings=settings, table=table, time_to_live=NO_EXPIRY, backups={})
    found = {one.name: one for one in run_checks(facts) if one.name.startswith("table")}
    assert found["table: keys"].verdict is verdict
    assert "table: expiry" not in found
