"""The model of growing nights: what it takes from the real functions, and what it works out."""

from dataclasses import replace
from random import Random

import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import decode_str

from bench import cost
from bench.growth import PAGE, charts, check, grid, site, tables
from bench.growth.contention import Contention
from bench.growth.engine import Simulation
from bench.growth.night import Night
from bench.growth.site import Site, Tally
from bench.growth.trace import Step, Trace, record_trace, stretch
from bench.night import BATCH, count_night
from bench.shops import MISSING_SHARE
from recon.dynamodb.table import Table
from recon.errors import TableUnavailable
from recon.retry import TRANSACTION_ATTEMPTS
from testkit.builders import TABLE, FakeTime
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, conflict, on

TEMPLATE = decode_str(cost.TEMPLATE.read_text())[0]
SOME = 300


def a_step(messages, *, begins=True, stripe=1):
    return Step(begins, stripe=stripe, abreast=1, reads=1, sends=-(-messages // 10), messages=messages)


def a_trace(*messages):
    return Trace(tuple(map(a_step, messages)), gets=1)


def a_night(trace, seed=1, **site):
    return Night(Site(**site), trace, Random(seed)).run()


# --- simulated time -----------------------------------------------------------------------------------------


def test_processes_have_their_turns_in_the_order_of_time():
    simulation, turns = Simulation(), []

    def process(name, *waits):
        for seconds in waits:
            yield seconds
            turns.append((name, simulation.now))

    simulation.start(process("slow", 3, 3))
    simulation.start(process("fast", 2, 1, 1))
    simulation.run()
    assert turns == [("fast", 2), ("slow", 3), ("fast", 3), ("fast", 4), ("slow", 6)]


def test_a_sleeper_goes_on_when_it_is_woken():
    simulation, woken = Simulation(), []

    def sleeper():
        yield None
        woken.append(simulation.now)

    def waker():
        yield 5.0
        simulation.wake()

    simulation.start(sleeper())
    simulation.start(waker())
    simulation.run()
    assert woken == [5.0]


# --- what is watched ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trace():
    return record_trace(SOME)


def test_a_trace_sends_every_session_and_asks_for_every_page(trace):
    assert sum(step.messages for step in trace.steps) == SOME
    assert sum(step.stripe for step in trace.steps) >= SOME / 100
    assert trace.steps[0].begins


def test_the_model_asks_for_as_much_as_the_real_functions_do(trace):
    modelled, real = a_night(trace, consumers=1), count_night(SOME)
    assert modelled.sessions == real.sessions
    assert modelled.queue == real.queue_requests
    assert modelled.stripe == real.stripe_lists + real.stripe_fetches
    assert modelled.reads == pytest.approx(real.reads, rel=0.02)
    # The end of the run is no commit of a batch.
    assert modelled.commits == real.transactions - 1


def test_a_larger_night_repeats_what_lies_between_the_first_invocation_and_the_last():
    larger = stretch(a_trace(100, 500, 600, 50), 2_000)
    assert [step.messages for step in larger.steps] == [100, 500, 600, 500, 250, 50]
    assert larger.steps[-2].sends == 25


def test_a_stretched_night_has_exactly_as_many_sessions_as_it_should():
    for sessions in (1_000, 12_345, 100_000):
        steps = stretch(a_trace(100, 501, 607, 53), sessions).steps
        assert sum(step.messages for step in steps) == sessions


# --- what is worked out -------------------------------------------------------------------------------------

AT_ONCE = Trace((replace(a_step(5_000), stripe=0),), gets=1)
FREE = {
    "hold": 0.0,
    "partition_units": float("inf"),
    "stripe_rps": 1e9,
    "cold_start": 0.0,
    "computing_listed": 0.0,
}


@pytest.mark.parametrize("consumers", [1, 2, 5, 20])
def test_every_session_is_settled_once_whatever_it_meets(consumers):
    made = a_night(AT_ONCE, consumers=consumers)
    assert made.sessions == 5_000
    assert made.commits >= 5_000 / BATCH


def test_where_nothing_is_shared_twice_the_consumers_need_half_the_time():
    one, two, four = (a_night(AT_ONCE, consumers=count, **FREE).seconds for count in (1, 2, 4))
    assert one / two == pytest.approx(2, rel=0.05)
    assert two / four == pytest.approx(2, rel=0.05)


def test_no_partition_takes_more_than_its_units():
    made = a_night(AT_ONCE, consumers=20, hold=0.0, partition_units=1000)
    assert made.throttled > 0
    assert made.seconds >= (5_000 * 2 - 1000) / 1000


def test_consumers_together_keep_stripes_pace():
    made = a_night(a_trace(300), consumers=5, missing=1.0, stripe_rps=10)
    # The rest: the thirteenth batch has one consumer to itself.
    assert 300 / 10 <= made.seconds < 300 / 10 + BATCH


def test_requests_to_stripe_are_evenly_spaced_also_from_one_batch_to_the_next():
    pace = site.Pace(per_second=2.0)
    assert [pace.wait(0.0, 3), pace.wait(1.0, 1), pace.wait(10.0, 1)] == [1.0, 0.5, 0.0]


def test_transactions_meet_more_often_the_longer_they_hold_the_counters():
    free, short, long = (a_night(AT_ONCE, consumers=10, hold=hold).conflicts for hold in (0.0, 0.005, 0.03))
    assert free == 0 < short < long


def test_a_single_consumer_meets_nobody_but_the_producer():
    assert a_night(AT_ONCE, consumers=1).conflicts <= 1


def test_who_gives_up_at_the_counters_comes_back_half_a_minute_later():
    made = a_night(AT_ONCE, consumers=20, hold=0.5)
    assert made.came_back > 0
    assert made.sessions == 5_000
    assert made.seconds > 30 * 0.75


def test_a_night_ends_no_sooner_than_its_listing():
    slow = replace(AT_ONCE, steps=(a_step(100, stripe=100), a_step(100, begins=False, stripe=100)))
    made = a_night(slow, consumers=5)
    assert made.seconds > made.listed_after > 200 * 0.35


def test_the_same_night_comes_out_the_same():
    assert a_night(AT_ONCE, consumers=10) == a_night(AT_ONCE, consumers=10)


def test_the_model_works_with_the_templates_numbers():
    parameters, mapping = TEMPLATE["Parameters"], TEMPLATE["Resources"]["ConsumerMapping"]["Properties"]
    assert mapping["MaximumBatchingWindowInSeconds"] == site.WINDOW_SECONDS
    assert parameters["ConsumerConcurrency"]["MinValue"] == site.LEAST_CONCURRENCY
    assert parameters["BackoffBaseSeconds"]["Default"] == site.BACKOFF_BASE


def test_the_model_waits_between_tries_as_the_table_does():
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


# --- an item that takes one transaction at a time -----------------------------------------------------------


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


def test_a_transaction_that_meets_another_is_told_at_which_item(contention_client):
    _, contention, move = contention_client
    move("counters", "one")
    with pytest.raises(ClientError) as refused:
        move("two", "counters")
    codes = [reason["Code"] for reason in refused.value.response["CancellationReasons"]]
    assert codes == ["None", "TransactionConflict"]
    assert contention.conflicts == 1


def test_once_the_hold_is_over_and_on_other_items_nobody_is_met(contention_client):
    time, contention, move = contention_client
    move("counters", "one")
    move("others", "two")
    time.sleep(0.016)
    move("counters", "two")
    assert contention.conflicts == 0


# --- beside what was measured -------------------------------------------------------------------------------


def test_the_machine_of_a_measurement_is_found_from_a_small_night(trace):
    known = check.bare(2)
    made = Night(replace(known, computing=0.2, computing_listed=0.003), trace, Random(5)).run()
    real = check.RealNight(SOME, 2, made.seconds, 0, made.consuming / (SOME / BATCH), made.listed_after)
    found = check.fit_site(real, trace)
    assert found.computing == pytest.approx(0.2, rel=0.1)
    assert found.computing_listed == pytest.approx(0.003, rel=0.1)


def test_the_table_shows_how_far_the_model_is_off():
    real = check.RealNight(1_000, 2, 8.0, 5, 0.2, 2.0)
    rows = check.check_table([check.Checked(real, Tally(seconds=10.0, conflicts=4))])
    assert rows.splitlines()[-1] == "| 1,000, 2 | 8.0 | 10.0 | +25% | 5 | 4 |"


# --- the grid and its page ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_grid():
    counts = count_night(SOME)
    return {
        (sessions, consumers): grid.one(consumers, a_trace(100, 100, 100), replace(counts, sessions=sessions))
        for sessions in grid.SIZES
        for consumers in grid.CONSUMERS
    }


def a_grown(**tally):
    return grid.Grown(100, 5, Tally(seconds=100.0, commits=10, **tally), 0.0)


def test_a_night_waits_for_its_slowest_part():
    assert a_grown(listed_after=95).binds == "the producer's listing"
    assert a_grown(listed_after=50, throttled=2).binds == "the run's partition"
    assert a_grown(listed_after=50).binds == "the consumers"


def test_tries_that_fail_cost_as_much_as_those_that_succeed():
    counts = count_night(50)
    quiet = Tally(seconds=60, commits=10)
    assert grid.cost(replace(quiet, conflicts=100), counts) > grid.cost(quiet, counts)


def test_the_page_shows_every_plot_that_is_drawn_and_no_other(small_grid):
    draw_plots = {path.name for path, _ in charts.draw_plots(small_grid)}
    assert draw_plots == {path.name for path in charts.DOCS.glob("growth-*.svg")}
    assert all(PAGE.read_text().count(f"({name})") == 1 for name in draw_plots)
    assert len(draw_plots) == 8


def test_the_tables_have_a_row_for_each_number_of_consumers(small_grid):
    rows = tables.grid_table(small_grid).splitlines()[2:]
    assert [int(row.split(" | ")[0].strip("| ")) for row in rows] == list(grid.CONSUMERS)


def test_the_page_says_what_is_assumed_now():
    assert (
        f"<!-- make bench: growth assumed -->\n{tables.assumptions_table()}<!-- end -->" in PAGE.read_text()
    )


def test_a_length_of_time_is_said_in_its_own_unit():
    assert [charts.duration(seconds) for seconds in (9.5, 90, 5_400)] == ["9.5 s", "1.5 min", "1.5 h"]


def test_as_many_webhooks_are_lost_as_in_the_nights_that_are_counted():
    made = a_night(a_trace(1_000), consumers=3)
    assert made.stripe - 1 == round(1_000 * MISSING_SHARE)
