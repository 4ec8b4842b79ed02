"""The model of growing nights: what it records from the real functions, and what it computes."""

from dataclasses import replace
from random import Random

import pytest
from botocore.exceptions import ClientError

from bench.growth import PAGE, charts, check, grid, site, tables
from bench.growth.contention import Contention
from bench.growth.engine import Simulation
from bench.growth.night import Night
from bench.growth.site import Site, Tally
from bench.growth.trace import Step, Trace, record_trace, stretch
from bench.night import BATCH, count_night
from recon.dynamodb.table import Table
from recon.errors import TableUnavailable
from recon.retry import TRANSACTION_ATTEMPTS
from testkit.builders import TABLE, FakeTime
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, conflict, on

SOME = 300


def make_step(messages, *, begins=True, stripe=1):
    return Step(begins, stripe=stripe, abreast=1, reads=1, sends=-(-messages // 10), messages=messages)


def make_trace(*messages):
    return Trace(tuple(map(make_step, messages)), gets=1)


def simulate_night(trace, seed=1, **site):
    return Night(Site(**site), trace, Random(seed)).run()


# --- simulated time -----------------------------------------------------------------------------------------


def test_processes_run_in_the_order_of_time():
    simulation, turns = Simulation(), []

    def process(name, *waits):
        for seconds in waits:
            yield seconds
            turns.append((name, simulation.now))

    simulation.start(process("slow", 3, 3))
    simulation.start(process("fast", 2, 1, 1))
    simulation.run()
    assert turns == [("fast", 2), ("slow", 3), ("fast", 3), ("fast", 4), ("slow", 6)]


# --- the recorded trace -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trace():
    return record_trace(SOME)


def test_trace_holds_every_message_and_stripe_page(trace):
    assert sum(step.messages for step in trace.steps) == SOME
    assert sum(step.stripe for step in trace.steps) >= SOME / 100
    assert trace.steps[0].begins


def test_model_makes_as_many_requests_as_the_functions(trace):
    modelled, real = simulate_night(trace, consumers=1), count_night(SOME)
    assert modelled.sessions == real.sessions
    assert modelled.queue == real.queue_requests
    assert modelled.stripe == real.stripe_lists + real.stripe_fetches
    assert modelled.reads == pytest.approx(real.reads, rel=0.02)
    # The end of the run, the mark that it is reported, and the proof session are no commits of a batch.
    assert modelled.commits == real.transactions - 3


def test_larger_night_repeats_the_middle_invocations():
    larger = stretch(make_trace(100, 500, 600, 50), 2_000)
    assert [step.messages for step in larger.steps] == [100, 500, 600, 500, 250, 50]
    assert larger.steps[-2].sends == 25
    for sessions in (1_000, 12_345, 100_000):
        steps = stretch(make_trace(100, 501, 607, 53), sessions).steps
        assert sum(step.messages for step in steps) == sessions


# --- the simulated night ------------------------------------------------------------------------------------

AT_ONCE = Trace((replace(make_step(5_000), stripe=0),), gets=1)
FREE = {
    "hold": 0.0,
    "partition_units": float("inf"),
    "stripe_rps": 1e9,
    "cold_start": 0.0,
    "computing_listed": 0.0,
}


@pytest.mark.parametrize("consumers", [1, 2, 5, 20])
def test_every_session_is_settled_once(consumers):
    made = simulate_night(AT_ONCE, consumers=consumers)
    assert made.sessions == 5_000
    assert made.commits >= 5_000 / BATCH


def test_twice_the_consumers_halve_the_time_if_nothing_is_shared():
    one, two, four = (simulate_night(AT_ONCE, consumers=count, **FREE).seconds for count in (1, 2, 4))
    assert one / two == pytest.approx(2, rel=0.05)
    assert two / four == pytest.approx(2, rel=0.05)


def test_partition_takes_at_most_its_units():
    made = simulate_night(AT_ONCE, consumers=20, hold=0.0, partition_units=1000)
    assert made.throttled > 0
    assert made.seconds >= (5_000 * 2 - 1000) / 1000


def test_consumers_share_the_rate_limit_of_stripe():
    made = simulate_night(make_trace(300), consumers=5, missing=1.0, stripe_rps=10)
    # The rest: the thirteenth batch has one consumer to itself.
    assert 300 / 10 <= made.seconds < 300 / 10 + BATCH


def test_stripe_requests_are_evenly_spaced_across_batches():
    pace = site.Pace(per_second=2.0)
    assert [pace.wait(0.0, 3), pace.wait(1.0, 1), pace.wait(10.0, 1)] == [1.0, 0.5, 0.0]


def test_longer_locks_cause_more_conflicts():
    # A single consumer can only conflict with the producer.
    assert simulate_night(AT_ONCE, consumers=1).conflicts <= 1
    free, short, long = (
        simulate_night(AT_ONCE, consumers=10, hold=hold).conflicts for hold in (0.0, 0.005, 0.03)
    )
    assert free == 0 < short < long


def test_batch_that_gives_up_returns_after_its_backoff():
    made = simulate_night(AT_ONCE, consumers=20, hold=0.5)
    assert made.came_back > 0
    assert made.sessions == 5_000
    assert made.seconds > 30 * 0.75


def test_night_lasts_at_least_as_long_as_its_listing():
    slow = replace(AT_ONCE, steps=(make_step(100, stripe=100), make_step(100, begins=False, stripe=100)))
    made = simulate_night(slow, consumers=5)
    assert made.seconds > made.listed_after > 200 * 0.35


def test_simulation_is_deterministic():
    assert simulate_night(AT_ONCE, consumers=10) == simulate_night(AT_ONCE, consumers=10)


def test_model_waits_between_attempts_like_the_table():
    for seed in range(5):
        time = FakeTime()
        memory = MemoryDynamoDB(time)
        memory.add_table(TABLE)
        table = Table(Faulty(memory, on("transact_write_items", conflict())), TABLE)
        with pytest.raises(TableUnavailable):
            table.transact([table.delete(("a", "b"))], time.deadline(1000))
        most = [min(site.LONGEST_WAIT, site.FIRST_WAIT * 2**n) for n in range(TRANSACTION_ATTEMPTS - 1)]
        assert len(time.slept) == len(most), seed
        assert all(slept <= longest for slept, longest in zip(time.slept, most, strict=True)), seed
    assert sum(time.slept) > sum(most) / 10


# --- contention ---------------------------------------------------------------------------------------------


@pytest.fixture
def contention_client():
    time = FakeTime(100.0)
    memory = MemoryDynamoDB(time)
    memory.add_table(TABLE)
    contention = Contention(0.015, time)
    client = Faulty(memory, contention)

    def move(*items):
        actions = [
            {"Delete": {"TableName": TABLE, "Key": {"PK": {"S": name}, "SK": {"S": "x"}}}} for name in items
        ]
        client.transact_write_items(TransactItems=actions)

    return time, contention, move


def test_conflict_names_the_contended_item(contention_client):
    _, contention, move = contention_client
    move("counters", "one")
    with pytest.raises(ClientError) as refused:
        move("two", "counters")
    codes = [reason["Code"] for reason in refused.value.response["CancellationReasons"]]
    assert codes == ["None", "TransactionConflict"]
    assert contention.conflicts == 1


def test_no_conflict_on_other_items_or_after_the_lock(contention_client):
    time, contention, move = contention_client
    move("counters", "one")
    move("others", "two")
    time.sleep(0.016)
    move("counters", "two")
    assert contention.conflicts == 0


# --- compared with measurements -----------------------------------------------------------------------------


def test_site_is_fitted_from_a_small_night(trace):
    known = check.bare(2)
    made = Night(replace(known, computing=0.2, computing_listed=0.003), trace, Random(5)).run()
    real = check.RealNight(SOME, 2, made.seconds, 0, made.consuming / (SOME / BATCH), made.listed_after)
    found = check.fit_site(real, trace)
    assert found.computing == pytest.approx(0.2, rel=0.1)
    assert found.computing_listed == pytest.approx(0.003, rel=0.1)


def test_table_shows_the_error_of_the_model():
    real = check.RealNight(1_000, 2, 8.0, 5, 0.2, 2.0)
    rows = check.check_table([check.Checked(real, Tally(seconds=10.0, conflicts=4))])
    assert rows.splitlines()[-1] == "| 1,000, 2 | 8.0 | 10.0 | +25% | 5 | 4 |"


# --- the grid and its page ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_grid():
    counts = count_night(SOME)
    return {
        (sessions, consumers): grid.one(
            consumers, make_trace(100, 100, 100), replace(counts, sessions=sessions)
        )
        for sessions in grid.SIZES
        for consumers in grid.CONSUMERS
    }


def make_grown(**tally):
    return grid.Grown(100, 5, Tally(seconds=100.0, commits=10, **tally), 0.0)


def test_slowest_part_limits_the_night():
    assert make_grown(listed_after=95).binds == "the producer's listing"
    assert make_grown(listed_after=50, throttled=2).binds == "the run's partition"
    assert make_grown(listed_after=50).binds == "the consumers"


def test_failed_attempts_are_charged():
    counts = count_night(50)
    quiet = Tally(seconds=60, commits=10)
    assert grid.cost(replace(quiet, conflicts=100), counts) > grid.cost(quiet, counts)


def test_page_shows_exactly_the_drawn_plots(small_grid):
    draw_plots = {path.name for path, _ in charts.draw_plots(small_grid)}
    assert draw_plots == {path.name for path in charts.DOCS.glob("growth-*.svg")}
    assert all(PAGE.read_text().count(f"({name})") == 1 for name in draw_plots)
    assert len(draw_plots) == 8


def test_table_has_a_row_for_each_number_of_consumers(small_grid):
    rows = tables.grid_table(small_grid).splitlines()[2:]
    assert [int(row.split(" | ")[0].strip("| ")) for row in rows] == list(grid.CONSUMERS)


def test_page_shows_the_current_assumptions():
    assert (
        f"<!-- make bench: growth assumed -->\n{tables.assumptions_table()}<!-- end -->" in PAGE.read_text()
    )


def test_duration_has_a_suitable_unit():
    assert [charts.duration(seconds) for seconds in (9.5, 90, 5_400)] == ["9.5 s", "1.5 min", "1.5 h"]
