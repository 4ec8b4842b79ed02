"""One invocation's part of a run: its ranges, its cursor, hard limits, pending sessions and events."""

from types import SimpleNamespace

import pytest

from producer.request import Continuation
from producer.run_lister import HURRY_SECONDS, MOST_PARTS, PAGE, RunLister, _cursor_before
from producer.session_lister import ListedRange
from producer.webhook_events import DELIVERY, NO_EVENTS, UNREADABLE
from recon.dynamodb.records import State
from recon.dynamodb.watermark import Watermark
from recon.errors import OutOfTime
from recon.stripe.source import SessionEvent
from testkit.builders import NOW, RUN, FakeTime, a_message, a_session
from testkit.listings import END, HOUR, START, a_run

OTHER_RUN = "20241126T020000Z"


def resume(harness, number=1, **settings):
    return harness.sync_run(**settings).resume(Continuation(RUN, number))


def spread(count):
    return [END - n * (END - START) // count for n in range(count)]


# Ranges and the cursor


def test_each_invocation_sends_its_part_and_numbers_the_next(harness):
    harness.account.add_sessions(*spread(2000))
    sent = 0
    for number in (1, 2):
        run = harness.begin(max_sessions=200) if number == 1 else resume(harness, max_sessions=200)
        assert harness.hops.pop() == Continuation(RUN, number)
        lines, metrics = harness.read_output("enqueued")
        part, sent = run.enqueued - sent, run.enqueued
        assert lines == [("INFO", f"Enqueued {part} sessions", RUN, run.enqueued)]
        assert metrics["SessionsEnqueued"] == [part]
        assert run.listed is False
        # Ranges have become shorter, which is stored for the next invocation.
        assert harness.record()["sliceSeconds"] == run.slice_seconds < (END - START) / 4
    assert len(set(harness.sent_ids())) == len(harness.sent_ids()) == sent < 2000


def test_resumed_listing_starts_at_the_cursor_with_the_stored_length(harness):
    harness.put_open_run(cursor=START + 999, sliceSeconds=500)
    harness.account.add_sessions(START + 999, START + 1000, END)
    resume(harness)
    assert harness.sent_ids() == ["cs_1", "cs_2"]
    assert min(harness.account.page_requests) == (START + 1000, START + 1499)


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


def test_out_of_time_continues_unless_the_cursor_has_not_moved(harness):
    harness.put_open_run(cursor=START - 1, sliceSeconds=HOUR)
    harness.account.add_sessions(START)

    def run_out_of_time(start):
        if start > START:
            raise OutOfTime("no time left in this invocation")

    harness.account.on_page = run_out_of_time
    run = resume(harness)
    assert (run.enqueued, run.listed, harness.hops) == (1, False, [Continuation(RUN, 2)])
    with pytest.raises(OutOfTime):
        resume(harness, 2)
    assert len(harness.hops) == 1


def test_rejected_batch_is_sent_again_within_the_invocation(harness):
    harness.account.add_sessions(NOW - HOUR)
    rejections = iter([True])
    harness.sqs.rejects = lambda operation, entry: next(rejections, False)
    harness.begin()
    assert harness.sent_ids() == ["cs_0"]


def test_range_is_sent_oldest_first_and_grouped_by_customer(harness):
    for number, customer in enumerate(["u1", "u2", "u1", "u3", "u2"]):
        harness.account.sessions.append(
            a_session(id=f"cs_{number}", created=NOW - HOUR + number, metadata={"userId": customer})
        )
    harness.begin()
    assert harness.sent_ids() == ["cs_0", "cs_2", "cs_1", "cs_4", "cs_3"]


@pytest.mark.parametrize(
    ("left", "sent", "limit", "buffered", "done"),
    [
        (HURRY_SECONDS / 2, 0, None, 0, False),
        (HURRY_SECONDS / 2 - 0.1, 0, None, 0, True),
        (600, 499, None, 0, False),
        (600, 500, None, 0, True),
        (600, 500, 1000, 0, False),
        (600, 500, None, PAGE - 1, True),
        (600, 500, None, PAGE, False),
        (600, 500 * MOST_PARTS - 1, None, PAGE, False),
        (600, 500 * MOST_PARTS, None, PAGE, True),
    ],
)
def test_invocation_has_done_its_part(left, sent, limit, buffered, done):
    assert a_lister(left, sent, limit)._has_done_its_part(buffered) is done


@pytest.mark.parametrize(("sent", "limit", "demand"), [(100, None, 400), (100, 130, 31), (200, 130, 1)])
def test_demand_is_the_rest_of_the_part_or_one_more_than_the_limit(sent, limit, demand):
    assert a_lister(600, sent, limit)._demand() == demand


def a_lister(left, sent, limit):
    context = SimpleNamespace(deadline=FakeTime().deadline(left), settings=SimpleNamespace(max_sessions=500))
    run = SimpleNamespace(max_sessions=limit, enqueued=sent)
    lister = RunLister(context, run, SimpleNamespace(livemode=None), events=None)
    lister.sent = sent
    return lister


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


def test_hard_limit_between_ranges_ends_the_run_there(harness):
    harness.put_open_run(cursor=START - 1, sliceSeconds=100, maxSessions=150)
    harness.account.add_sessions(*range(START, START + 400))
    run = resume(harness)
    assert (run.enqueued, run.truncated, run.listed, harness.hops) == (150, True, True, [])
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
    assert _cursor_before(messages, limit, ListedRange(100, 200, [])) == cursor


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
    harness.account.acknowledged = [SessionEvent("evt_1", "checkout.session.completed", NOW - 60, "cs_0")]
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


def test_run_without_a_fence_reads_no_undelivered_events(harness):
    harness.account.add_sessions(NOW - HOUR)
    harness.begin(webhook_fence=False)
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
