"""Reads of the ledger: what they find, that they retry on a busy table, and what they project."""

import pytest

from recon.dynamodb.attention import AttentionRecord, find_attention, parse_attention
from recon.dynamodb.dismissals import find_dismissal, find_dismissed_ids
from recon.dynamodb.guards import find_guards
from recon.dynamodb.keys import (
    WATERMARK_KEY,
    attention_key,
    dismissed_key,
    guard_key,
    marker_key,
    outcome_key,
    run_key,
)
from recon.dynamodb.outcomes import (
    PriorState,
    find_created_orders,
    find_found_sessions,
    find_outcomes,
    find_settled_pending,
    load_prior_state,
    load_unread,
)
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.user_orders import find_orders
from recon.errors import LedgerNotMoved
from testkit.builders import NOW, RUN
from testkit.doubles.faults import throttled
from testkit.runs import OTHER, RECORD, STATE

MANUAL = f"{RUN}-8f3c1d"
CREATED = OutcomeRecord("cs_1", "created", order_number="BC-1")
ERROR = OutcomeRecord("cs_2", "error", error_type="Unfinished", message_id="m-2")
OUTCOMES = {(RUN, "cs_1"): CREATED, (OTHER, "cs_2"): ERROR}
SESSIONS = [*OUTCOMES, (RUN, "cs_2")]
WORDS = AttentionRecord("cs_2", ("disputed",), until=NOW, acknowledged_by="jane")
PRIOR = PriorState(
    OUTCOMES,
    RUN,
    attention={"cs_2": WORDS},
    dismissed=frozenset({"cs_2"}),
    guarded=frozenset({"cs_1"}),
    markers={"evt_1": False, "evt_2": True},
    listed_until=NOW + 9,
    proven_created=NOW - 9,
)


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
    "guards": (
        lambda runs, table, deadline: find_guards(table, ["cs_1", "cs_2"], deadline),
        {"cs_1"},
        None,
    ),
    "what was unread": (
        lambda runs, table, deadline: load_unread(table, PRIOR, [marker_key("evt_2")], deadline),
        PRIOR,
        None,
    ),
    "found sessions": (
        lambda runs, table, deadline: find_found_sessions(table, RUN, deadline),
        ["cs_6", "cs_7", "cs_5"],
        "SK, updatedAt",
    ),
    "attention": (lambda runs, table, deadline: list(find_attention(table, deadline)), [WORDS], None),
    "dismissed": (lambda runs, table, deadline: find_dismissed_ids(table, deadline), {"cs_2"}, "SK"),
    "dismissal": (
        lambda runs, table, deadline: find_dismissal(table, "cs_2", deadline).session_id,
        "cs_2",
        None,
    ),
    "no created orders": (
        lambda runs, table, deadline: find_created_orders(table, OTHER, 2, deadline),
        [],
        None,
    ),
    "prior state": (
        lambda runs, table, deadline: load_prior_state(
            table, SESSIONS, deadline, ["evt_1", "evt_2", "evt_3"]
        ),
        PRIOR,
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
    put(STATE, lastSyncRunId=RUN, listingUntil=NOW + 9)
    put(WATERMARK_KEY, provenCreated=NOW - 9)
    put(attention_key("cs_2"), words=["disputed"], until=NOW, acknowledgedBy="jane")
    put(dismissed_key("cs_2"))
    put(guard_key("cs_1"))
    put(marker_key("evt_1"), status="processing")
    put(marker_key("evt_2"), status="completed")
    put(RECORD, trigger="scheduled", listingMovedAt=NOW, status="done")
    put(run_key(MANUAL), trigger="manual", status="running", listingMovedAt=NOW)
    put(("SYSTEM", "PENDING#cs_1"), sessionId="cs_1")
    put(("SYSTEM", "QUEUED#cs_1"), sessionId="cs_1")
    put(outcome_key(RUN, "cs_1"), outcome="created", orderNumber="BC-1", pending=True)
    put(outcome_key(RUN, "cs_3"), outcome="created", orderNumber="BC-3")
    put(outcome_key(RUN, "cs_4"), outcome="created", orderNumber="BC-4")
    for number, hour in ((5, "01"), (6, "03"), (7, "02")):
        at = f"2024-11-27T{hour}:00:00Z"
        put(
            outcome_key(RUN, f"cs_{number}"),
            outcome="skipped",
            reason="exists",
            orderNumber="BC-0",
            updatedAt=at,
        )
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


@pytest.mark.parametrize(("sessions", "events", "left"), [(20, 18, 0), (20, 21, 3), (32, 2, 32), (33, 2, 35)])
def test_guards_and_markers_beyond_one_request_are_left_unread(table, time, sessions, events, left):
    batch = [(RUN, f"cs_{number}") for number in range(sessions)]
    prior = load_prior_state(table, batch, time.deadline(60), map("evt_{}".format, range(events)))
    assert len(prior.unread) == left


@pytest.mark.parametrize(
    ("after", "through", "found"),
    [("", "cs_1", {"cs_1"}), ("cs_1", "cs_3", {"cs_3"}), ("cs_1", None, {"cs_3"})],
)
def test_settled_pending_sessions_are_found_in_a_range(table, put, time, after, through, found):
    put(outcome_key(RUN, "cs_3"), outcome="created", pending=True)
    assert find_settled_pending(table, RUN, time.deadline(60), after, through) == found


def test_empty_item_has_no_words():
    assert parse_attention({}) == AttentionRecord("", ())


def test_what_was_left_unread_is_added(table, time):
    batch = [(RUN, f"cs_{number}") for number in range(33)]
    prior = load_prior_state(table, batch, time.deadline(60), ["evt_1", "evt_2"])
    first = {marker_key("evt_1"), guard_key("cs_1")}
    after = load_unread(table, prior, first, time.deadline(60))
    assert (after.guarded, after.markers, len(after.unread)) == ({"cs_1"}, {"evt_1": False}, 33)
    last = load_unread(table, after, after.unread, time.deadline(60))
    assert (last.guarded, last.markers, last.unread) == ({"cs_1"}, {"evt_1": False, "evt_2": True}, set())


def test_ledger_that_moves_back_names_the_unfinished_move(table, put, time):
    put(WATERMARK_KEY, movedTo="books", movingFrom="books")
    with pytest.raises(LedgerNotMoved, match="the move of the ledger from table books has not ended"):
        load_prior_state(table, SESSIONS, time.deadline(60))


def test_ledger_that_has_moved_is_not_read(table, put, time):
    put(WATERMARK_KEY, movedTo="books")
    with pytest.raises(LedgerNotMoved) as caught:
        load_prior_state(table, SESSIONS, time.deadline(60))
    assert str(caught.value) == (
        "the ledger has moved to table books: deploy with LedgerTable=books, or with an empty LedgerTable if "
        "that is the shop's table"
    )
