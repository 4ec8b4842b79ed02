"""One invocation's part of a run: its parts, its cursor, hard limits, pending sessions and events."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest

from producer import undelivered_events
from producer.request import Continuation
from producer.run_lister import HURRY_SECONDS, RunLister, _cursor_before
from producer.undelivered_events import DELIVERY
from producer.webhook_events import MISSING_EVENTS, NO_EVENTS, UNREADABLE
from recon.config import FenceMode
from recon.domain.run import Part
from recon.domain.stripe_objects import ASYNC_PAYMENT_SUCCEEDED
from recon.dynamodb.records import State
from recon.dynamodb.watermark import Watermark
from recon.errors import OutOfTime
from recon.stripe.source import SessionEvent
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, FakeTime, a_message, a_session
from testkit.listings import END, HOUR, START, a_run

COMPLETED = "checkout.session.completed"
OTHER_RUN = "20241126T020000Z"


def resume(harness, number=1, **settings):
    """Continue the run in another invocation."""
    return harness.sync_run(**settings).resume(Continuation(RUN, number))


def spread(count):
    return [END - n * (END - START) // count for n in range(count)]


# Parts and the cursor


def test_each_invocation_sends_its_part_and_numbers_the_next(harness):
    harness.account.add_sessions(*spread(2000))
    sent = 0
    for number in (1, 2):
        start = harness.begin if number == 1 else partial(resume, harness)
        run = start(sessions_per_invocation=200)
        assert harness.hops.pop() == Continuation(RUN, number)
        lines, metrics = harness.read_output("enqueued")
        part, sent = run.enqueued - sent, run.enqueued
        assert lines == [("INFO", f"Enqueued {part} sessions", RUN, run.enqueued)]
        assert sum(metrics["SessionsEnqueued"]) == part
        # The part ends with a page, and the last page of a part of the window is not full.
        assert 200 <= part < 300
        assert run.listed is False
        record = harness.record()
        assert (record["enqueued"], record["cursor"]) == (sent, None)
    assert len(set(harness.sent_ids())) == len(harness.sent_ids()) == sent


def test_whole_window_is_one_invocation_by_default(harness):
    harness.account.add_sessions(*spread(2000))
    run = harness.begin()
    assert (run.enqueued, run.listed, harness.hops) == (2000, True, [])
    assert len(harness.account.page_requests) <= 2000 / 100 + 12
    record = harness.record()
    assert (record["cursor"], "listing" in record) == (END, False)


def test_run_of_an_earlier_version_continues_from_its_cursor(harness):
    harness.put_open_run(cursor=START + 999, sliceSeconds=500)
    harness.account.add_sessions(START + 999, START + 1000, END)
    assert resume(harness).listed
    assert harness.sent_ids() == ["cs_1", "cs_2"]
    assert harness.account.page_requests == [(START + 1000, END)]


def test_listing_in_parts_resumes_after_the_last_session_of_each(harness):
    parts = [
        {"from": START, "to": START + 9, "after": "cs_1", "reached": START + 5},
        {"from": END - 5, "to": END},
    ]
    harness.put_open_run(enqueued=7, listing={"made": 4, "parts": parts})
    harness.put("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}", **harness.record() | {"cursor": None})
    harness.account.add_sessions(START + 4, START + 5, START + 10, END - 5)
    run = resume(harness)
    assert (run.listed, run.enqueued) == (True, 9)
    assert sorted(harness.sent_ids()) == ["cs_0", "cs_3"]


@pytest.mark.parametrize("other", [{"enqueued": 8}, {"cursor": END}, {"listing": None, "cursor": None}])
def test_listing_that_another_invocation_continued_is_not_counted(harness, other):
    listing = {"made": 1, "parts": [{"from": START, "to": END}]}
    harness.put_open_run(enqueued=7, listing=listing)
    harness.put("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}", **harness.record() | {"cursor": None})
    harness.account.add_sessions(START)

    def continue_in_another_invocation(_start):
        record = {
            name: value for name, value in (harness.record() | other).items() if value or name == "cursor"
        }
        harness.put("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}", **record)

    harness.account.on_page = continue_in_another_invocation
    resume(harness)
    assert harness.record()["enqueued"] == other.get("enqueued", 7)
    assert harness.hops == []


@pytest.mark.parametrize(
    ("cursor", "ids"), [(None, ["cs_1", "cs_2", "cs_3"]), (START, ["cs_2", "cs_3"]), (END - 1, ["cs_3"])]
)
def test_both_ends_of_the_window_are_listed(harness, cursor, ids):
    harness.put_open_run(cursor=cursor)
    harness.account.add_sessions(START - 1, START, END - 1, END, END + 1)
    assert resume(harness).listed is True
    assert sorted(harness.sent_ids()) == ids
    assert harness.record()["cursor"] == END


def test_empty_window_is_listed_without_a_request(harness):
    run = harness.begin(a_run(lookback_end=START - 1))
    assert (run.status, run.enqueued, harness.record()["cursor"]) == ("done", 0, START - 1)
    assert harness.account.page_requests == []


def test_second_of_many_pages_is_sent_completely(harness):
    harness.account.add_sessions(*[NOW - HOUR] * 250)
    assert harness.begin().enqueued == 250
    assert sorted(harness.sent_ids()) == sorted(f"cs_{n}" for n in range(250))


def test_out_of_time_continues_unless_nothing_was_sent(harness):
    harness.account.add_sessions(*spread(300))
    fails = []

    def run_out_of_time(_start):
        if fails or len(harness.account.page_requests) > 1:
            raise OutOfTime("no time left in this invocation")

    harness.account.on_page = run_out_of_time
    run = harness.begin()
    assert (run.enqueued, run.listed, harness.hops) == (100, False, [Continuation(RUN, 1)])
    fails.append(True)
    with pytest.raises(OutOfTime):
        resume(harness)
    assert len(harness.hops) == 1


@pytest.mark.slow
def test_sending_ends_with_the_time_and_the_next_invocation_sends_the_rest(harness):
    harness.account.add_sessions(*spread(6000))
    send = harness.sqs.send_message_batch

    def send_slowly(**batch):
        harness.clock.now += 3
        return send(**batch)

    harness.sqs.send_message_batch = send_slowly
    run = harness.begin()
    # The last part of 400 messages may have begun just before the end.
    assert harness.clock.now <= NOW + 900 + 40 * 3
    assert (0 < run.enqueued <= len(harness.sent_ids()), run.listed) == (True, False)
    assert harness.hops == [Continuation(RUN, 1)]
    harness.sqs.send_message_batch = send
    run = resume(harness)
    assert (run.enqueued, run.listed, len(set(harness.sent_ids()))) == (6000, True, 6000)


def test_bug_in_the_listing_leaves_no_reading_of_events_behind(harness):
    harness.account.add_sessions(*spread(300))
    harness.pool.shutdown()
    harness.pool = ThreadPoolExecutor(8)
    begun, ended = threading.Event(), []

    def fail_on_the_second_page(_start):
        if len(harness.account.page_requests) > 1 and begun.wait(5):
            raise ZeroDivisionError

    def list_events(_since, *, undelivered=False, created_to=None):
        if not undelivered:
            begun.set()
            time.sleep(0.05)
            ended.append(True)
        yield from ()

    harness.account.on_page, harness.account.list_events = fail_on_the_second_page, list_events
    with pytest.raises(ZeroDivisionError):
        harness.begin(a_run(trigger="manual"))
    assert ended == [True]


def test_rejected_batch_is_sent_again_within_the_invocation(harness):
    harness.account.add_sessions(NOW - HOUR)
    rejections = iter([True])
    harness.sqs.rejects = lambda operation, entry: next(rejections, False)
    harness.begin()
    assert harness.sent_ids() == ["cs_0"]


def test_batch_is_sent_oldest_first_and_grouped_by_customer(harness):
    for number, customer in enumerate(["u1", "u2", "u1", "u3", "u2"]):
        harness.account.sessions.append(
            a_session(id=f"cs_{number}", created=NOW - HOUR + number, metadata={"userId": customer})
        )
    harness.begin()
    assert harness.sent_ids() == ["cs_0", "cs_2", "cs_1", "cs_4", "cs_3"]


@pytest.mark.parametrize(
    ("left", "sent", "part", "demand"),
    [
        (HURRY_SECONDS, 0, 0, float("inf")),
        (HURRY_SECONDS - 0.1, 0, 0, 0),
        (600, 10**6, 0, float("inf")),
        (600, 499, 500, 1),
        (600, 500, 500, 0),
        (HURRY_SECONDS - 0.1, 0, 500, 0),
    ],
)
def test_demand_is_the_rest_of_the_part_while_there_is_time(left, sent, part, demand):
    settings = SimpleNamespace(sessions_per_invocation=part)
    context = SimpleNamespace(deadline=FakeTime().deadline(left), settings=settings)
    lister = RunLister(context, a_run(), State(), events=None)
    lister.sent = sent
    assert lister._demand() == demand


def test_sessions_that_wait_are_sent_once_whatever_continues_the_run(harness):
    harness.put_pending(a_message(session_id="cs_old", created=START - 1, payment_status="unpaid"))
    harness.account.add_sessions(*spread(300))
    harness.begin(sessions_per_invocation=100)
    while not resume(harness, sessions_per_invocation=100).listed:
        pass
    assert sorted(harness.sent_ids()) == sorted(["cs_old", *(f"cs_{n}" for n in range(300))])


# Hard limits


def test_hard_limit_sends_the_oldest_and_ends_the_run_there(harness):
    harness.account.add_sessions(*range(NOW - HOUR, NOW - HOUR + 5))
    run = harness.begin(a_run(max_sessions=3, covers_through=END))
    assert harness.sent_ids() == ["cs_0", "cs_1", "cs_2"]
    assert (run.enqueued, run.listed, run.truncated, harness.hops) == (3, True, True, [])
    record = harness.record()
    assert (record["cursor"], record["coversThrough"]) == (NOW - HOUR + 2, NOW - HOUR + 2)
    lines, metrics = harness.read_output()
    text = (
        "truncated: the window holds more than the 3 sessions of maxSessions; newer sessions were not checked"
    )
    assert lines[0] == ("WARNING", text, RUN)
    assert record["warnings"] == [text]
    assert (metrics["TruncatedRuns"], metrics["RunWarnings"]) == ([1], [1])


def test_hard_limit_within_a_part_ends_the_run_there(harness):
    harness.put_open_run(cursor=START - 1, maxSessions=150)
    harness.account.add_sessions(*range(START, END, (END - START) // 400))
    run = resume(harness)
    assert (run.enqueued, run.truncated, run.listed, harness.hops) == (150, True, True, [])
    assert sorted(harness.sent_ids()) == sorted(f"cs_{n}" for n in range(150))


def test_hard_limit_goes_on_where_an_invocation_ran_out_of_time(harness):
    harness.account.add_sessions(*range(START, END, (END - START) // 400))
    harness.account.on_page = lambda _start: setattr(harness.clock, "now", harness.clock.now + 60)
    run = harness.begin(a_run(max_sessions=150), seconds=150)
    assert 0 < run.enqueued < 150
    assert (run.listed, len(harness.hops), harness.record()["cursor"] > START) == (False, 1, True)
    run = resume(harness)
    assert (run.enqueued, run.truncated, run.listed) == (150, True, True)
    assert sorted(harness.sent_ids()) == sorted(f"cs_{n}" for n in range(150))


def test_hard_limit_that_is_just_met_does_not_truncate(harness):
    harness.account.add_sessions(*range(NOW - HOUR, NOW - HOUR + 3))
    run = harness.begin(a_run(max_sessions=3, covers_through=END))
    assert (run.enqueued, run.truncated, harness.record()["cursor"]) == (3, False, END)
    assert harness.record()["coversThrough"] == END


@pytest.mark.parametrize("changes", [{"trigger": "manual", "covers_through": END}, {"covers_through": None}])
def test_truncated_run_without_a_scheduled_watermark_moves_none(harness, changes):
    harness.account.add_sessions(*range(NOW - HOUR, NOW - HOUR + 3))
    harness.begin(a_run(max_sessions=2, **changes))
    assert harness.record()["coversThrough"] == 0


@pytest.mark.parametrize(
    ("created", "limit", "cursor"),
    [
        ((110, 120, 130), 1, 119),
        ((110, 120, 130), 2, 129),
        ((110, 120), 0, 109),
        # Without a valid time, the message before it counts.
        ((110, "then", 130), 1, 109),
        ((110, True, 130), 1, 109),
        ((110, 99, 130), 1, 109),
        ((110, 201, 130), 1, 109),
        ((None, 120), 0, 99),
        ((100, 201), 0, 99),
        ((200, 201), 0, 199),
        # A time out of order counts as well.
        ((110, 100), 1, 99),
    ],
)
def test_cursor_is_a_second_before_the_first_message_left_out(created, limit, cursor):
    messages = [a_message(created=at) for at in created]
    assert _cursor_before(messages, limit, Part(100, 200)) == cursor


# Pending sessions


def test_pending_session_is_sent_again_with_the_id_of_this_run(harness):
    message = a_message(session_id="cs_old", run_id=OTHER_RUN, created=START - 1, payment_status="unpaid")
    harness.put_pending(message)
    harness.account.add_sessions(START - 1, START)
    run = harness.begin()
    pending, listed = harness.sent()
    assert (pending["sessionId"], pending["runId"], pending["pending"]) == ("cs_old", RUN, NOW - 60)
    assert listed["sessionId"] == "cs_1"
    assert (run.enqueued, run.truncated) == (2, False)
    assert harness.read_output()[1]["SessionsEnqueued"] == [2]


def test_pending_session_in_the_window_is_left_to_the_listing(harness):
    for created in (START - 1, START, END, END + 1):
        harness.put_pending(a_message(session_id=f"cs_{created}", created=created, payment_status="unpaid"))
    harness.begin()
    assert sorted(harness.sent_ids()) == [f"cs_{START - 1}", f"cs_{END + 1}"]


def test_unreadable_pending_entry_is_logged_and_left_out(harness):
    harness.put("SYSTEM", "PENDING#cs_0")
    harness.put("SYSTEM", "PENDING#cs_1", message="no JSON")
    harness.put_pending(a_message(session_id="cs_2", created=START - 1))
    harness.begin()
    assert harness.sent_ids() == ["cs_2"]
    errors = [line[1:] for line in harness.read_output()[0] if line[0] == "ERROR"]
    assert errors == [
        ("A pending entry cannot be read: MalformedMessage", RUN),
        ("A pending entry cannot be read: MalformedMessage", RUN),
    ]


def test_manual_run_sends_no_pending_session(harness):
    harness.put_pending(a_message(session_id="cs_old", created=START - 1))
    assert harness.begin(a_run(trigger="manual")).enqueued == 0
    assert harness.sent_ids() == []


@pytest.mark.parametrize(
    ("pending", "maximum", "settled", "sent"),
    [
        (3, 3, 0, 3),
        (3, 2, 0, 2),
        (3, 4, 1, 3),
        (3, 3, 1, 2),
        (3, 1, 1, 0),
        (3, 1, 3, 0),
        (0, None, 1, 0),
    ],
)
def test_limit_counts_pending_sessions_settled_before(harness, pending, maximum, settled, sent):
    """An earlier invocation died after it sent some, and the consumer has deleted their entries."""
    for number in range(pending):
        harness.put_pending(a_message(session_id=f"cs_{number}", created=START - 1))
    for number in range(settled):
        harness.put(f"SYNC_RUN#{RUN}", f"SESSION#cs_old_{number}", outcome="skipped", pending=True)
    run = harness.begin(a_run(max_sessions=maximum))
    assert len(harness.sent_ids()) == sent
    assert (run.enqueued, run.truncated) == (sent + settled, sent < pending)
    warnings = [text.partition(":")[0] for text in harness.record()["warnings"]]
    assert warnings == ["truncated"] * (sent < pending)


# Events


def test_only_a_scheduled_run_defers_sessions_completed_in_the_grace(harness):
    harness.account.add_sessions(NOW - HOUR)
    harness.account.acknowledged = [SessionEvent("evt_1", COMPLETED, NOW - 60, "cs_0")]
    assert harness.begin(a_run(trigger="manual", run_id=OTHER_RUN)).enqueued == 1
    assert harness.begin().enqueued == 0


@pytest.mark.parametrize(
    ("covered", "start", "since"),
    [
        (None, NOW - DELIVERY - 5, NOW - DELIVERY - 5),
        (NOW - DELIVERY - 9, NOW - DELIVERY - 5, NOW - DELIVERY - 9),
        (NOW - HOUR, NOW - DELIVERY - 5, NOW - DELIVERY - 5),
        (NOW - HOUR, START, NOW - DELIVERY),
    ],
)
def test_fence_reaches_back_to_the_window_or_the_watermark(harness, covered, start, since):
    harness.account.add_sessions(NOW - HOUR)
    harness.sync_run().begin(a_run(lookback_start=start), State(), Watermark(covered, confirmed_by="a run"))
    assert [at for at, undelivered in harness.account.event_requests if undelivered] == [since]


def test_message_has_its_undelivered_events(harness):
    harness.account.add_sessions(NOW - HOUR)
    harness.account.undelivered = [SessionEvent("evt_1", COMPLETED, NOW - HOUR + 9, "cs_0")]
    harness.begin()
    [message] = harness.sent()
    assert (message["eventIds"], message["eventTypes"]) == (["evt_1"], [COMPLETED])


@pytest.mark.parametrize("newer", [0, 600])
@pytest.mark.parametrize("is_continued", [True, False])
def test_listed_session_has_its_late_payment_event(harness, is_continued, newer):
    """A backfill, or the rest of a long window, lists sessions whose payments are days later."""
    start = END - 9 * DAY
    harness.account.add_sessions(start + HOUR)
    harness.account.undelivered = [
        *(SessionEvent(f"evt_{n}", COMPLETED, END - 60 * n, f"cs_x{n}") for n in range(newer)),
        SessionEvent("evt_paid", ASYNC_PAYMENT_SUCCEEDED, END - 3 * DAY, "cs_0"),
    ]
    if is_continued:
        listing = {"made": 2, "parts": [{"from": start, "to": start + DAY}]}
        harness.put_open_run(lookbackStart=start, listing=listing)
        resume(harness)
    else:
        harness.begin(a_run(trigger="manual", lookback_start=start, lookback_end=start + DAY))
    [message] = harness.sent()
    assert message["eventIds"] == ["evt_paid"]
    assert not harness.record().get("warnings")


@pytest.mark.parametrize("few", [True, False])
def test_more_undelivered_events_than_a_run_reads_are_a_warning_once(harness, monkeypatch, few):
    monkeypatch.setattr(undelivered_events, "FEW", 10)
    monkeypatch.setattr(undelivered_events, "MOST_AWAITED", 0)
    monkeypatch.setattr(undelivered_events, "AWAITED_PER_PAGE", 1)
    harness.account.add_sessions(*spread(200))
    harness.account.undelivered = [
        SessionEvent(f"evt_{n}", COMPLETED, END - n, f"cs_{n}") for n in range(9 if few else 40)
    ]
    harness.account.add_sessions(*spread(500))
    run = harness.begin()
    assert (run.enqueued, run.listed) == (700, True)
    assert harness.record()["warnings"] == ([] if few else [MISSING_EVENTS])
    writes = [call for call in harness.memory.history.calls if "list_append" in str(call.arguments)]
    assert len(writes) == (0 if few else 1)


def test_run_without_a_fence_reads_no_undelivered_events(harness):
    harness.account.add_sessions(NOW - HOUR)
    harness.begin(webhook_fence=FenceMode.OFF)
    assert [undelivered for _, undelivered in harness.account.event_requests] == [False]


def test_forbidden_events_are_a_warning_once(harness):
    harness.account.add_sessions(NOW - HOUR)
    harness.account.forbids_events = True
    assert harness.begin().enqueued == 1
    lines, metrics = harness.read_output()
    assert lines[0] == ("WARNING", NO_EVENTS, RUN)
    assert (harness.record()["warnings"], metrics["RunWarnings"]) == ([NO_EVENTS], [1])


@pytest.mark.parametrize(("unreadable", "covers"), [(0, END), (1, 0)])
def test_unreadable_sessions_are_a_warning_and_keep_the_watermark(harness, unreadable, covers):
    harness.account.add_sessions(*[NOW - HOUR] * 150)
    harness.account.unreadable = [unreadable]
    harness.begin(a_run(covers_through=END))
    warnings = [UNREADABLE] * unreadable
    assert [line[1] for line in harness.read_output()[0] if line[0] == "WARNING"] == warnings
    assert (harness.record()["warnings"], harness.record()["coversThrough"]) == (warnings, covers)
