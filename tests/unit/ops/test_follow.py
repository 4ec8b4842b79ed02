"""Following a run, over the real pipeline on a clock that the test moves."""

import dataclasses

import pytest

from ops.runs.follow import Progress, Watch, follow
from ops.stack.queue_depth import Depth, read_depth
from recon.domain.run import RunStatus
from recon.dynamodb.records import parse_run, run_key
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from testkit.builders import NOW, RUN, FakeTime
from testkit.fake_stripe import SessionSpec

A_RUN = parse_run({"SK": run_key(RUN)[1]})


def progress(run=A_RUN, waiting=0, retrying=0, dead=0, **changes):
    return Progress(run and dataclasses.replace(run, **changes), waiting, retrying, dead)


@pytest.fixture
def watch(world):
    runs = Runs(Table(world.dynamodb, world.table), world.clock.deadline(3600))
    return Watch(runs, world.sqs, world.queue, world.dlq)


def sells(world, number):
    for n in range(number):
        world.sells(SessionSpec(f"cs_test_{n:08}", NOW - 3600, metadata={"userId": f"user-{n}"}))


def test_before_the_producer_has_begun_there_is_nothing_to_see(watch):
    seen = watch.progress(RUN)
    assert seen == Progress(run=None, waiting=0, retrying=0, dead=0)
    assert (seen.enqueued, seen.processed, seen.created, seen.skipped, seen.errors) == (0, 0, 0, 0, 0)
    assert not seen.is_over
    assert not seen.is_settled


def test_enqueued_sessions_wait_and_the_run_is_not_over(world, watch):
    sells(world, 12)
    world.produce()
    seen = watch.progress(RUN)
    assert (seen.enqueued, seen.processed, seen.waiting, seen.retrying) == (12, 0, 12, 0)
    assert not seen.is_over


def test_a_session_that_failed_is_retrying_until_its_time_comes(world, watch):
    sells(world, 2)
    world.stripe.faults.server_error(session="cs_test_00000000")
    world.produce()
    world.deliver()
    seen = watch.progress(RUN)
    assert (seen.processed, seen.created, seen.waiting, seen.retrying) == (1, 1, 0, 1)
    assert not seen.is_settled


def test_a_run_that_is_through_is_settled(world, watch):
    sells(world, 12)
    world.night()
    seen = watch.progress(RUN)
    assert (seen.enqueued, seen.processed, seen.created, seen.skipped, seen.errors) == (12, 12, 12, 0, 0)
    assert seen.is_settled


def test_a_session_that_was_given_up_is_an_error_and_dead(world, watch):
    sells(world, 1)
    world.stripe.faults.missing(session="cs_test_00000000")
    world.night()
    seen = watch.progress(RUN)
    assert (seen.errors, seen.dead, seen.retrying) == (1, 1, 0)
    assert seen.is_settled


def test_redriven_messages_unsettle_a_run_that_is_over(world, watch):
    sells(world, 1)
    world.stripe.faults.missing(session="cs_test_00000000")
    world.night()
    world.redrive()
    seen = watch.progress(RUN)
    assert seen.is_over
    assert not seen.is_settled


@pytest.mark.parametrize("status", [RunStatus.DONE, RunStatus.FAILED])
def test_a_run_ends_done_or_failed(status):
    assert progress(status=status).is_over


def test_depth_tells_what_is_visible_from_what_is_hidden(world):
    world.sends("one")
    world.sends("two")
    world.sqs.receive_message(QueueUrl=world.queue, MaxNumberOfMessages=1, VisibilityTimeout=60)
    assert read_depth(world.sqs, world.queue) == Depth(visible=1, hidden=1)


# follow


def followed(seen, *, timeout=60.0, until=lambda progress: progress.is_settled, cost=0.0):
    """What `follow` yields of the snapshots given, and how it slept; each look takes `cost` seconds."""
    clock, snapshots = FakeTime(), iter(seen)

    def look():
        clock.now += cost
        return next(snapshots)

    got = list(follow(look, until, timeout=timeout, clock=clock, sleep=clock.sleep, interval=2.0))
    return got, clock.slept


def test_follow_looks_until_the_end_and_shows_the_end():
    running, done = progress(enqueued=3), progress(enqueued=3, status=RunStatus.DONE)
    got, slept = followed([running, running, done, running])
    assert got == [running, running, done]
    assert slept == [2.0, 2.0]


def test_follow_shows_what_is_over_already_without_waiting():
    got, slept = followed([progress(status=RunStatus.DONE)])
    assert len(got) == 1
    assert slept == []


def test_follow_gives_up_in_time_and_its_last_look_says_so():
    got, slept = followed([progress()] * 99, timeout=10)
    assert not got[-1].is_settled
    assert sum(slept) == 10


def test_slow_looks_count_against_the_time():
    got, _ = followed([progress()] * 99, timeout=10, cost=8)
    assert len(got) == 2


def test_follow_looks_once_even_without_any_time():
    got, slept = followed([progress()], timeout=0)
    assert (len(got), slept) == (1, [])


def test_follow_ends_by_whatever_rule_it_is_given():
    got, _ = followed([progress(), progress(created=1), progress(created=2)], until=lambda p: p.created == 1)
    assert got[-1].created == 1
