"""The filter on the watermark item when runs start and end at the same time."""

import pytest

from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.runs import Progress
from recon.dynamodb.watermark import FilterPeriod
from recon.timestamps import DAY
from testkit.builders import NOW
from testkit.doubles.faults import never
from testkit.runs import LATER, OTHER, STATE, a_run

STACK = "stripe-nightly-sync"
COVERED = NOW - 5 * DAY


@pytest.fixture
def start(runs):
    def start_with(text, **changes):
        return runs.start(a_run(session_filter=text, **changes), NOW, runs.watermark(), STACK)

    return start_with


@pytest.fixture
def list_run(runs, start, put):
    """Start and list a run, from the watermark COVERED."""

    def start_and_list(text):
        times = {"lastCoveredThrough": COVERED, "firstLookbackStart": COVERED}
        put(WATERMARK_KEY, stackName=STACK, sessionFilter=text, **times)
        return runs.advance(start(text), Progress(NOW - 600, 0, listed=True), NOW)

    return start_and_list


@pytest.fixture
def before_next_commit(memory):
    def act_once(action):
        def act(call):
            if call.method == "transact_write_items":
                memory.plan = never
                action()

        memory.plan = act

    return act_once


@pytest.mark.parametrize("text", ["", "a"])
@pytest.mark.parametrize("state", [{}, {"lastSyncStatus": "success"}], ids=["own state", "overwritten state"])
def test_start_with_another_filter_while_a_run_ends_leaves_its_time(
    state, text, runs, start, list_run, before_next_commit, put
):
    run = list_run(text)
    if state:
        put(STATE, **state)
    before_next_commit(lambda: start("b", run_id=OTHER))
    assert runs.finish(run, LATER).status == "done"
    after = runs.watermark()
    assert (after.session_filter, after.covered_through) == ("b", COVERED)
    assert after.former_filter == (FilterPeriod("a", COVERED, COVERED) if text else None)


def test_end_of_a_run_while_another_filter_starts_belongs_to_the_earlier_filter(
    runs, start, list_run, before_next_commit
):
    run = list_run("a")
    before_next_commit(lambda: runs.finish(run, LATER))
    assert start("b", run_id=OTHER) == runs.get(OTHER)
    after = runs.watermark()
    assert (after.session_filter, after.covered_through) == ("b", NOW - 600)
    assert after.former_filter == FilterPeriod("a", COVERED, NOW - 600)


def test_first_watermark_while_another_filter_starts_belongs_to_the_earlier_filter(
    runs, start, before_next_commit
):
    run = runs.advance(start("a"), Progress(NOW - 600, 0, listed=True), NOW)
    before_next_commit(lambda: runs.finish(run, LATER))
    start("b", run_id=OTHER)
    assert runs.watermark().former_filter == FilterPeriod("a", run.lookback_start, NOW - 600)


def test_watermark_that_moves_is_no_obstacle_to_a_run_of_the_same_filter(
    runs, start, list_run, before_next_commit, memory
):
    run = list_run("a")
    before_next_commit(lambda: runs.finish(run, LATER))
    commits = memory.history.count("transact_write_items")
    start("a", run_id=OTHER)
    assert memory.history.count("transact_write_items") == commits + 2
    assert runs.watermark().covered_through == NOW - 600
