"""Every read of the ledger goes on when the table is busy for a moment; a list of ids reads nothing else."""

import pytest

from recon.dynamodb.orders import find_orders
from recon.dynamodb.outcomes import find_created_orders, load_prior_state
from testkit.builders import NOW, RUN
from testkit.doubles.faults import throttled
from testkit.runs import OTHER, RECORD

BY_HAND = f"{RUN}-8f3c1d"
READS = {
    "a run": lambda runs, table, deadline: runs.get(RUN),
    "the state": lambda runs, table, deadline: runs.state(),
    "the sessions that wait": lambda runs, table, deadline: list(runs.pending()),
    "those that are settled": lambda runs, table, deadline: runs.find_settled_pending(RUN),
    "a run by its request": lambda runs, table, deadline: runs.find_by_request("8f3c1d", NOW),
    "the runs of a second": lambda runs, table, deadline: runs.find_by_time(NOW),
    "the scheduled runs": lambda runs, table, deadline: runs.scheduled_before(OTHER, 9),
    "the latest runs": lambda runs, table, deadline: runs.latest(9),
    "the runs that are open": lambda runs, table, deadline: runs.close_stale_runs(OTHER, NOW),
    "what a run created": lambda runs, table, deadline: find_created_orders(table, RUN, 9, deadline),
    "what is known": lambda runs, table, deadline: (
        load_prior_state(table, [(RUN, "cs_1")], deadline).outcomes
    ),
    "a user's orders": lambda runs, table, deadline: find_orders(table, ["u1"], NOW, deadline),
}
IDS = {
    "those that are settled": "SK",
    "a run by its request": "SK",
    "the runs of a second": "SK",
    "what a run created": "orderNumber",
}


@pytest.fixture(autouse=True)
def kept(put):
    """Something for each of them to find."""
    put(RECORD, trigger="scheduled", listingMovedAt=NOW)
    put(("SYSTEM", f"STRIPE_ORDER_SYNC#{BY_HAND}"), status="running", listingMovedAt=NOW)
    put(("SYSTEM", "PENDING#cs_1"), sessionId="cs_1")
    put((f"SYNC_RUN#{RUN}", "SESSION#cs_1"), outcome="created", orderNumber="BC-1", pending=True)
    put(("USER#u1", f"ORDER#{NOW}#x"), orderId="o")


@pytest.mark.parametrize("what", READS)
def test_a_read_that_is_throttled_once_is_made_again(what, runs, table, memory, time):
    def read():
        return READS[what](runs, table, time.deadline(60))

    found = read()
    assert found
    faults = [throttled()]
    memory.plan = lambda call: faults.pop() if faults else None
    assert read() == found
    assert (faults, len(time.slept)) == ([], 1)


@pytest.mark.parametrize(("what", "attribute"), IDS.items())
def test_a_list_of_ids_reads_nothing_but_them(what, attribute, runs, table, memory, time):
    assert READS[what](runs, table, time.deadline(60))
    [asked] = [call.arguments for call in memory.history.calls if call.method == "query"]
    assert asked["ProjectionExpression"] == attribute
