"""Reads of the ledger: what they find, that they retry on a busy table, and what they project."""

import pytest

from recon.dynamodb.keys import outcome_key, run_key
from recon.dynamodb.outcomes import PriorState, find_created_orders, find_outcomes, load_prior_state
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.user_orders import find_orders
from testkit.builders import NOW, RUN
from testkit.doubles.faults import throttled
from testkit.runs import OTHER, RECORD, STATE

MANUAL = f"{RUN}-8f3c1d"
CREATED = OutcomeRecord("cs_1", "created", order_number="BC-1")
ERROR = OutcomeRecord("cs_2", "error", error_type="Unfinished", message_id="m-2")
OUTCOMES = {(RUN, "cs_1"): CREATED, (OTHER, "cs_2"): ERROR}
SESSIONS = [*OUTCOMES, (RUN, "cs_2")]


def ids(found):
    return [run.run_id for run in found]


# Each read with its result and, if it reads only one attribute, that attribute.
READS = {
    "a run": (lambda runs, table, deadline: runs.get(RUN).run_id, RUN, None),
    "the state": (lambda runs, table, deadline: runs.state().run_id, RUN, None),
    "pending entries": (
        lambda runs, table, deadline: [e["SK"] for e in runs.pending()],
        ["PENDING#cs_1"],
        None,
    ),
    "settled pending": (lambda runs, table, deadline: runs.find_settled_pending(RUN), {"cs_1"}, "SK"),
    "run by request": (lambda runs, table, deadline: runs.find_by_request("8f3c1d", NOW), MANUAL, "SK"),
    "runs by time": (lambda runs, table, deadline: runs.find_by_time(NOW), [MANUAL], "SK"),
    "scheduled runs": (lambda runs, table, deadline: ids(runs.scheduled_before(OTHER, 9)), [RUN], None),
    "latest runs": (lambda runs, table, deadline: ids(runs.latest(9)), [MANUAL, RUN], None),
    "open runs": (lambda runs, table, deadline: ids(runs.close_stale_runs(OTHER, NOW)), [MANUAL], None),
    "created orders": (
        lambda runs, table, deadline: find_created_orders(table, RUN, 2, deadline),
        ["BC-1", "BC-3"],
        "orderNumber",
    ),
    "no created orders": (
        lambda runs, table, deadline: find_created_orders(table, OTHER, 2, deadline),
        [],
        None,
    ),
    "prior state": (
        lambda runs, table, deadline: load_prior_state(table, SESSIONS, deadline),
        PriorState(OUTCOMES, RUN),
        None,
    ),
    "outcomes": (lambda runs, table, deadline: find_outcomes(table, SESSIONS * 2, deadline), OUTCOMES, None),
    "orders": (
        lambda runs, table, deadline: [o.order_id for o in find_orders(table, ["u1"], NOW, deadline)],
        ["o"],
        None,
    ),
}


@pytest.fixture(autouse=True)
def stored(put):
    """Store an item for each read to find, and others that it must not find."""
    put(STATE, lastSyncRunId=RUN)
    put(RECORD, trigger="scheduled", listingMovedAt=NOW, status="done")
    put(run_key(MANUAL), trigger="manual", status="running", listingMovedAt=NOW)
    put(("SYSTEM", "PENDING#cs_1"), sessionId="cs_1")
    put(("SYSTEM", "QUEUED#cs_1"), sessionId="cs_1")
    put(outcome_key(RUN, "cs_1"), outcome="created", orderNumber="BC-1", pending=True)
    put(outcome_key(RUN, "cs_3"), outcome="created", orderNumber="BC-3")
    put(outcome_key(RUN, "cs_4"), outcome="created", orderNumber="BC-4")
    put(outcome_key(RUN, "cs_5"), outcome="skipped", orderNumber="BC-0")
    put(outcome_key(OTHER, "cs_2"), outcome="error", errorType="Unfinished", messageId="m-2", pending=True)
    put(("USER#u1", f"ORDER#{NOW}#x"), orderId="o")


@pytest.mark.parametrize(("read", "expected", "attribute"), READS.values(), ids=READS)
def test_read_retries_on_a_busy_table(read, expected, attribute, runs, table, memory, time):
    faults = [throttled()]
    memory.plan = lambda call: faults.pop() if faults else None
    assert read(runs, table, time.deadline(60)) == expected
    assert (faults, len(time.slept)) == ([], 1)
    if attribute:
        queries = [call.arguments for call in memory.history.calls if call.method == "query"]
        assert {query["ProjectionExpression"] for query in queries} == {attribute}
