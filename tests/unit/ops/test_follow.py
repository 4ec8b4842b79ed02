"""Following the progress of a run in memory."""

from dataclasses import replace

import pytest

from ops.runs.follow import ProgressReader, RunProgress, follow
from recon.domain.run import RunStatus
from recon.dynamodb.keys import run_key
from recon.dynamodb.records import parse_run
from recon.dynamodb.runs import Runs
from testkit.builders import RUN, FakeTime
from testkit.dead_letters import fail_sessions, sell_sessions

A_RUN = parse_run({"SK": run_key(RUN)[1]})


def progress(**changes):
    return RunProgress(replace(A_RUN, **changes), 0, 0, 0)


@pytest.fixture
def reader(world):
    runs = Runs(world.open_table(), world.clock.deadline(3600))
    return ProgressReader(runs, world.sqs, world.queue, world.dlq)


def test_progress_before_the_record_exists_is_empty(reader):
    snapshot = reader.read(RUN)
    assert snapshot == RunProgress(run=None, waiting=0, retrying=0, dead=0)
    counters = (snapshot.enqueued, snapshot.processed, snapshot.created, snapshot.skipped, snapshot.errors)
    assert counters == (0, 0, 0, 0, 0)
    assert not snapshot.is_over
    assert not snapshot.is_settled


def test_progress_counts_waiting_and_retried_sessions(world, reader):
    first, *_ = sell_sessions(world, 12)
    world.produce()
    snapshot = reader.read(RUN)
    assert (snapshot.enqueued, snapshot.processed, snapshot.waiting, snapshot.retrying) == (12, 0, 12, 0)
    world.stripe.faults.server_error(session=first)
    world.deliver(batch_size=10)
    world.deliver(batch_size=10)
    snapshot = reader.read(RUN)
    assert (snapshot.processed, snapshot.created, snapshot.waiting, snapshot.retrying) == (11, 11, 0, 1)
    assert not snapshot.is_over
    world.stripe.faults.clear()
    world.drain()
    snapshot = reader.read(RUN)
    assert (snapshot.processed, snapshot.created, snapshot.skipped, snapshot.errors) == (12, 12, 0, 0)
    assert snapshot.is_settled


def test_redrive_makes_a_run_with_dead_letters_unsettled(world, reader):
    fail_sessions(world, 1)
    snapshot = reader.read(RUN)
    assert (snapshot.errors, snapshot.dead, snapshot.retrying, snapshot.is_settled) == (1, 1, 0, True)
    world.redrive()
    snapshot = reader.read(RUN)
    assert (snapshot.is_over, snapshot.is_settled) == (True, False)


@pytest.mark.parametrize("status", [RunStatus.DONE, RunStatus.FAILED])
def test_run_is_over_when_done_or_failed(status):
    assert progress(status=status).is_over


def follow_to_end(snapshots, *, timeout=60.0, until=lambda progress: progress.is_settled, cost=0.0):
    """Return what `follow` yields and its sleeps; each look takes `cost` seconds."""
    clock, remaining = FakeTime(), iter(snapshots)

    def look():
        clock.now += cost
        return next(remaining)

    yielded = list(follow(look, until, timeout=timeout, clock=clock, sleep=clock.sleep, interval=2.0))
    return yielded, clock.slept


RUNNING, OVER, CREATED = (
    progress(enqueued=3),
    progress(enqueued=3, status=RunStatus.DONE),
    progress(created=1),
)


@pytest.mark.parametrize(
    ("snapshots", "options", "yielded", "sleeps"),
    [
        ([RUNNING, RUNNING, OVER, RUNNING], {}, [RUNNING, RUNNING, OVER], 2),
        ([OVER], {}, [OVER], 0),
        ([RUNNING] * 99, {"timeout": 10}, [RUNNING] * 6, 5),
        ([RUNNING] * 99, {"timeout": 10, "cost": 8}, [RUNNING] * 2, 1),
        ([RUNNING], {"timeout": 0}, [RUNNING], 0),
        ([RUNNING, CREATED, RUNNING], {"until": lambda p: p.created == 1}, [RUNNING, CREATED], 1),
    ],
)
def test_follow_yields_until_the_end_or_the_timeout(snapshots, options, yielded, sleeps):
    assert follow_to_end(snapshots, **options) == (yielded, [2.0] * sleeps)
