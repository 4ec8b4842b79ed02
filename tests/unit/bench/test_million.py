"""Simulated time, the producer's listing on it, and the ledger under several consumers."""

import os
import time

import pytest

from bench import backfill, ledger, throughput
from bench.ledger import contend
from bench.machine import find_slowdown, time_work
from bench.million import (
    FLAT_MB,
    MEMORIES,
    RATES,
    SimulatedListing,
    Stage,
    find_missed,
    memory_table,
    most_sessions,
    run_simulation,
)
from bench.simulation import SimulatedLock, SimulatedPool, Simulation

LISTED = SimulatedListing(1000.0, 935.0, 250.0, 2, 10_010, 90, 120.0, 125.0)
CONTENTION = ledger.Contention(10.0, 60, 6, 0, 4_000)


def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_waits_pass_side_by_side_and_cpu_time_one_after_the_other():
    simulation = Simulation(share=0.5, now=100)
    pool = SimulatedPool(simulation, 2)

    def work():
        burn(0.05)
        simulation.sleep(600)

    simulation.wait([pool.submit(work) for _ in range(2)])
    # Both compute on half a core before the second one waits.
    assert simulation.clock() - 100 == pytest.approx(600 + 4 * 0.05, abs=0.1)
    assert simulation.cpu == pytest.approx(0.1, abs=0.05)


def test_work_of_services_takes_no_time_and_a_lock_has_one_holder():
    simulation = Simulation(share=1, now=0)
    pool, lock, holders = SimulatedPool(simulation, 3), SimulatedLock(simulation), []

    def work():
        with lock:
            holders.append(1)
            assert len(holders) == 1
            simulation.sleep(5)
            holders.clear()
        with simulation.uncharged():
            burn(0.2)

    for done in [pool.submit(work) for _ in range(3)]:
        done.result()
    assert simulation.clock() == pytest.approx(15, abs=0.15)


def test_producer_lists_as_fast_as_its_share_of_the_pace_allows():
    """Each session is sent once, or the simulation raises."""
    _, listing = run_simulation(Stage(6_000))
    assert listing.rate == pytest.approx(most_sessions(12), rel=0.15)
    assert listing.pages <= 6_000 / 100 + 12
    assert listing.event_pages <= 20


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"rate": 900.0}, ["at least 922 sessions are listed a second; it was 900"]),
        ({"peak": 130.0}, [f"it grew by 10.0 MB, of at most {FLAT_MB:g}"]),
        ({"early_peak": 0.0, "peak": 130.0}, []),
    ],
)
def test_slow_listing_and_growing_memory_are_missed(changes, missed):
    found = find_missed((Stage(1_000_000), SimulatedListing(**vars(LISTED) | changes)))
    assert len(found) == len(missed)
    assert all(text in sentence for text, sentence in zip(missed, found, strict=True))


def test_table_has_each_memory_and_pace():
    rows = memory_table([(Stage(1, memory, rps), LISTED) for rps in RATES for memory in MEMORIES])
    assert "| 25 | 1,960 | 935 | 935 | 935 | 935 |" in rows


def test_grouped_sessions_take_few_transactions_and_units():
    single, grouped = (contend(5, size, sessions=200) for size in (1, 100))
    assert single.tries > 200
    assert grouped.tries <= 10
    assert single.write_units > 2.5 * grouped.write_units


@pytest.mark.parametrize(("tries", "count"), [(60, 0), (101, 1)])
def test_many_transactions_are_missed(tries, count):
    found = {(5, ledger.BATCH): ledger.Contention(**vars(CONTENTION) | {"tries": tries})}
    assert len(list(ledger.find_missed(found))) == count
    assert f"| 5 | {ledger.BATCH} | {tries / 2000:.3f} |" in ledger.render(found)


@pytest.mark.parametrize(
    ("faster", "above_floor", "slowdown", "missed"),
    [(8.1, 1.2, 1.0, 0), (7.9, 1.2, 1.0, 1), (7.9, 1.2, 1.1, 0), (7.9, 1.3, 1.1, 1), (7.9, 1.3, 1.0, 2)],
)
def test_slow_machine_relaxes_only_what_its_own_cpu_time_does_not_show(faster, above_floor, slowdown, missed):
    assert len(throughput.find_missed(faster, above_floor, slowdown)) == missed


@pytest.mark.parametrize(
    ("requests", "speed", "throttled", "slowdown", "missed"),
    [
        (0.15, 150, 0.0049, 1.0, []),
        (0.16, 150, 0.005, 1.0, ["an order takes", "under 0.5%"]),
        (0.15, 149, 0.0, 1.0, ["at least 150"]),
        (0.15, 100, 0.0, 1.5, []),
    ],
)
def test_backfill_misses_its_demands_by_the_slowdown_of_the_machine(
    requests, speed, throttled, slowdown, missed
):
    found = list(backfill.find_missed(requests, speed, throttled, slowdown))
    assert [text.startswith(start) for text, start in zip(found, missed, strict=True)] == [True] * len(missed)


def test_slowdown_is_that_of_equal_pieces_of_work():
    assert find_slowdown([1.0] * 20) == 1
    assert find_slowdown([1.0] * 20 + [2.0] * 20) == 1.5


def test_work_is_timed_on_all_cores():
    assert len(time_work(2)) == 2 * len(os.sched_getaffinity(0))
    assert min(time_work(2)) > 0
