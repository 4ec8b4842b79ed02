"""Ends that are seldom met: a bug in the middle, a look that fails, an unreadable entry, too many hops."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.dry_run import TRUNCATED, DryRun
from producer.sync_run import MOST_HOPS, SyncRun
from producer.webhook_events import NO_EVENTS, UNREADABLE
from recon.config import Settings
from recon.dynamodb.outcomes import Committed
from recon.dynamodb.records import Run
from recon.errors import KeyNotAllowed, KeyUnavailable, OutOfTime, TableUnavailable, TooManyHops
from recon.retry import READ_ATTEMPTS
from recon.stripe.source import Page, SessionEvent
from recon.timestamps import HOUR
from testkit.builders import NOW, RUN, FakeTime, a_message, a_session
from testkit.doubles.faults import killed_before, on, throttled
from testkit.fake_stripe import SessionSpec
from testkit.world import LambdaContext, wire


def lines(capfd):
    return [line for line in map(json.loads, capfd.readouterr().out.splitlines()) if "_aws" not in line]


def later(capfd, session_id="cs_1"):
    """Why a session is tried again later."""
    said = [line for line in lines(capfd) if line["message"].startswith("Session is tried again later: ")]
    [line] = [line for line in said if line["session_id"] == session_id]
    return (line["error_type"], line["message"].removeprefix("Session is tried again later: "))


def bug(*_, **__):
    raise ZeroDivisionError("a secret")


# The consumer


def test_a_bug_met_by_one_group_undoes_no_other(capfd, make_world, monkeypatch):
    world = make_world()
    world.webhook_writes("cs_1", "u1", NOW - HOUR)
    monkeypatch.setattr("consumer.session_group.find_drift", bug)
    world.sends(a_message(user_id="u1"))
    world.sends(a_message(run_id="another", session_id="cs_2", payment_status="unpaid"))
    world.deliver()
    said = lines(capfd)
    unexpected = next(line for line in said if line["message"] == "Unexpected ZeroDivisionError")
    assert (unexpected["run_id"], unexpected["session_id"]) == (RUN, "-")
    assert unexpected["frames"][-1].endswith(" bug")
    assert world.outcome("cs_2", "another")["outcome"] == "skipped"
    assert world.outcome("cs_1") is None


def test_a_session_of_which_a_commit_says_nothing_is_tried_again(capfd, make_world, monkeypatch):
    world = make_world()
    monkeypatch.setattr(
        "consumer.session_group.OutcomeWriter", lambda *_, **__: lambda results: Committed({}, {}, {})
    )
    world.sends(a_message(payment_status="unpaid"))
    world.deliver()
    assert later(capfd) == ("Unexpected", "the commit does not say what became of it")
    assert len(world.memory_sqs.messages(world.queue)) == 1


def test_a_second_look_that_fails_leaves_the_session_for_later(capfd, make_world):
    world = make_world()
    world.sells(SessionSpec("cs_1", NOW - HOUR, metadata={"userId": "u1"}))
    world.sends(a_message(user_id="u1"))
    world.dynamodb.plan = on("query", throttled(), nth=range(2, 2 + READ_ATTEMPTS))
    world.deliver()
    assert later(capfd)[0] == "TableUnavailable"
    assert world.orders() == []


def test_without_a_connection_to_stripe_every_missing_session_waits(capfd, make_world):
    world = make_world()

    def no_key(_timeout=0):
        raise KeyUnavailable("the SSM parameter cannot be read")

    world.connect = no_key
    world.sends(a_message())
    world.deliver()
    assert later(capfd) == ("KeyUnavailable", "the SSM parameter cannot be read")


def test_a_message_that_was_received_before_is_kept_back_for_the_whole_time_of_the_function(make_world):
    world = make_world()
    world.rng.random = lambda: 0.0
    world.sends(a_message(user_id="u1"))
    world.dynamodb.plan = on("batch_get_item", killed_before())
    for _ in range(2):
        world.clock.now += 6 * HOUR
        event = world.poller.deliver(world.handle, 1, LambdaContext(world.clock, timeout=900)).event
    assert event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert world.memory_sqs.next_visible_at(world.queue) == world.clock.now + 900


# The producer


def test_a_pending_entry_that_cannot_be_read_is_told_and_keeps_no_run_back(capfd, make_world):
    world = make_world()
    for key, fields in (("PENDING#cs_8", {}), ("PENDING#cs_9", {"message": "no JSON"})):
        world.memory.put_item(TableName=world.table, Item=wire({"PK": "SYSTEM", "SK": key} | fields))
    assert world.night()["status"] == "done"
    told = [(line["message"], line["run_id"]) for line in lines(capfd) if line["level"] == "ERROR"]
    assert told == [
        ("A pending entry cannot be read: KeyError", RUN),
        ("A pending entry cannot be read: MalformedMessage", RUN),
    ]


def test_a_run_that_does_not_end_is_ended_by_the_number_of_its_hops():
    hops = []
    enqueue = SyncRun(*[None] * 8, go_on=hops.append)
    run = Run(RUN, "scheduled", "2024-11-27T02:00:00Z", 25, 0, 1)
    enqueue._hop_on(run, MOST_HOPS - 1)
    assert [(hop.run_id, hop.number) for hop in hops] == [(RUN, MOST_HOPS)]
    with pytest.raises(TooManyHops) as caught:
        enqueue._hop_on(run, MOST_HOPS)
    assert str(caught.value) == f"run {RUN} has not ended after 5000 invocations"
    assert len(hops) == 1


# The preview


class Listing:
    """Stripe with one page; `error` is what is raised instead, `events` what it says of them."""

    def __init__(self, sessions=(), *, error=None, events=(), unreadable=0):
        self.page = Page(list(sessions), has_more=False, unreadable=unreadable)
        self.error = error
        self.answer = events
        self.asked = []

    def list_sessions(self, start, end, *, after=None):
        self.asked.append((start, end, after))
        if self.error:
            raise self.error
        return self.page

    def events(self, created_from, *, undelivered=False):
        self.asked.append((created_from, undelivered))
        if isinstance(self.answer, Exception):
            raise self.answer
        yield from self.answer


@pytest.fixture
def preview(table):
    def make(stripe, limit=None, **settings):
        known = Settings(table="t", queue_url="q", order_number_prefix="SHOP", **settings)
        run = Run(
            RUN, "scheduled", "2024-11-27T02:00:00Z", 25, NOW - 25 * HOUR, NOW - 600, warnings=("careful",)
        )
        with ThreadPoolExecutor(2) as pool:
            made = DryRun(known, table, lambda: stripe, pool, FakeTime().deadline(60), lambda: NOW)
            return made(run, limit)

    return make


def sold(number, **changes):
    return a_session(
        id=f"cs_test_{number}", created=NOW - HOUR - number, metadata={"userId": "u1"}, **changes
    )


def test_a_preview_counts_what_would_become_of_each_session(preview, put):
    put(("USER#u1", f"ORDER#{NOW}#cs_test_3"), orderId="cs_test_3")
    sessions = [
        sold(1),
        sold(2, payment_status="unpaid"),
        sold(3),
        sold(4, payment_status=None),
        sold(5, mode=7),
    ]
    stripe = Listing(sessions)
    run, numbers = preview(stripe)
    assert (run.processed, run.created, run.skipped, run.errors) == (5, 1, 2, 2)
    assert numbers == ["SHOP-STEST1"]
    assert (run.status, run.completed_at, run.truncated) == ("done", "2024-11-27T02:00:00Z", False)
    assert run.warnings == ("careful",)
    assert stripe.asked == [(NOW - 599, False), (NOW - 25 * HOUR, NOW - 600, None)]


def test_a_preview_leaves_to_the_next_run_what_the_run_would(preview):
    event = SessionEvent("evt_1", "checkout.session.completed", NOW - 60, "cs_test_1")
    run, numbers = preview(Listing([sold(1), sold(2)], events=[event]))
    assert (run.processed, run.created, len(numbers)) == (1, 1, 1)


def test_a_preview_skips_what_has_expired(preview):
    run, _ = preview(Listing([a_session(created=NOW - 24 * HOUR)]), order_ttl_days=1)
    assert (run.created, run.skipped) == (0, 1)


def test_a_preview_takes_the_oldest_up_to_its_limit_and_says_so(preview):
    run, numbers = preview(Listing([sold(1), sold(2), sold(3)]), limit=2)
    assert (run.created, run.truncated, run.warnings) == (2, True, ("careful", TRUNCATED))
    assert [number[-1] for number in numbers] == ["3", "2"]


def test_a_preview_that_has_no_more_time_says_what_it_has_seen(preview):
    run, numbers = preview(Listing(error=OutOfTime("no time")))
    assert (run.processed, run.truncated, run.warnings) == (0, True, ("careful", TRUNCATED))
    assert numbers == []


def test_a_preview_says_what_it_could_not_read(preview):
    run, _ = preview(Listing([sold(1)], unreadable=1, events=KeyNotAllowed("no")))
    assert run.warnings == ("careful", NO_EVENTS, UNREADABLE)
    assert run.created == 1


def test_a_preview_ends_where_orders_cannot_be_looked_up(preview, memory):
    memory.plan = on("query", throttled())
    with pytest.raises(TableUnavailable):
        preview(Listing([sold(1)]))


def test_nothing_is_written_by_a_preview(preview, memory):
    preview(Listing([sold(1)]))
    assert {call.method for call in memory.history.calls} == {"query"}
