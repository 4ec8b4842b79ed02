"""What an invocation that enqueues does, step by step: whom it closes, what it sends, keeps and says."""

import pytest

from producer.request import Continuation
from producer.sync_run import MOST_HOPS, NO_SESSIONS, SCHEDULED_COMPARED
from producer.webhook_events import DELIVERY, NO_EVENTS, UNREADABLE
from recon.dynamodb.records import State
from recon.dynamodb.runs import LISTING_STALE_SECONDS
from recon.errors import OutOfTime, TooManyHops
from recon.stripe.source import SessionEvent
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, TABLE, a_message, a_session
from testkit.listings import END, HOUR, START, ProducerHarness, a_run
from testkit.world import wire

ANOTHER = "20241126T020000Z"
COMPLETED = "checkout.session.completed"


@pytest.fixture
def shop(memory, table, capfd):
    shop = ProducerHarness(memory, table, capfd)
    yield shop
    shop.pool.shutdown()


# Other runs, and repeats


def test_runs_that_ended_without_saying_so_are_closed_and_each_is_told_as_what_it_is(shop):
    begun = {"trigger": "scheduled", "status": "running", "syncStartedAt": to_iso(NOW - HOUR)}
    stale = NOW - LISTING_STALE_SECONDS
    shop.put("SYSTEM", "STRIPE_ORDER_SYNC#20241101-dead", **begun, listed=False, listingMovedAt=stale)
    shop.put("SYSTEM", "STRIPE_ORDER_SYNC#20241102-done", **begun, listed=True, enqueued=3, processed=3)
    shop.put("SYSTEM", "STRIPE_ORDER_SYNC#20241103-open", **begun, listed=True, enqueued=3, processed=2)
    shop.begin()
    said, metrics = shop.read_output()
    statuses = [shop.record(f"2024110{n}")["status"] for n in ("1-dead", "2-done", "3-open")]
    assert statuses == ["failed", "done", "running"]
    assert said[:2] == [
        ("ERROR", "Run failed: its listing ended before its window was through", "20241101-dead"),
        ("INFO", "Sync completed: processed=3, created=0, skipped=0, errors=0", "20241102-done"),
    ]
    # The one that was done, and this run, which had nothing to do.
    assert (metrics["RunsCompleted"], metrics["RunSeconds"]) == ([2], [HOUR, 0])
    assert metrics["OpenRunSeconds"] == [HOUR]


def test_a_run_that_comes_back_late_is_not_called_failed_by_itself(shop):
    shop.put_open_run(listingMovedAt=NOW - 2 * LISTING_STALE_SECONDS)
    assert shop.begin().status == "done"
    assert [level for level, _, _ in shop.read_output()[0]] == ["INFO", "INFO"]


def test_a_run_that_is_listed_already_is_not_listed_again(shop):
    shop.put_open_run(cursor=END, listed=True, enqueued=1)
    shop.account.add_sessions(NOW - HOUR)
    assert shop.begin().enqueued == 1
    said, metrics = shop.read_output()
    assert (shop.sent_ids(), shop.hops, said) == ([], [], [])
    assert metrics == {"OpenRunSeconds": [HOUR]}


def test_an_invocation_that_goes_on_shows_that_the_run_lives_before_anything_else(shop):
    shop.put_open_run(cursor=START)
    shop.account.on_page = lambda start: 1 / 0
    with pytest.raises(ZeroDivisionError):
        shop.sync_run().resume(Continuation(RUN, 1))
    assert shop.record()["listingMovedAt"] == NOW


def test_an_invocation_whose_run_another_one_lists_stops_and_says_so(shop):
    shop.account.add_sessions(NOW - HOUR)

    def the_other_one_is_faster(_start):
        shop.account.on_page = lambda start: None
        shop.begin()
        shop.read_output()

    shop.account.on_page = the_other_one_is_faster
    assert shop.begin().enqueued == 1
    said, _ = shop.read_output()
    assert said == [("INFO", "Another invocation lists this run; this one stops", RUN)]
    assert (shop.sent_ids(), shop.hops) == (["cs_0", "cs_0"], [])


def test_a_run_whose_sessions_were_settled_while_it_was_listed_is_done_at_once(shop):
    shop.account.add_sessions(NOW - HOUR)

    def the_consumer_is_ahead(_start):
        shop.memory.update_item(
            TableName=TABLE,
            Key=wire({"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}),
            UpdateExpression="ADD #processed :one",
            ExpressionAttributeNames={"#processed": "processed"},
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    shop.account.on_page = the_consumer_is_ahead
    run = shop.begin()
    assert (run.status, run.processed, shop.record()["status"]) == ("done", 1, "done")


# Parts of a run


def evenly(count):
    return [END - n * (END - START) // count for n in range(count)]


def test_each_invocation_sends_its_part_and_numbers_the_one_that_goes_on(shop):
    shop.account.add_sessions(*evenly(2000))
    first = shop.begin(max_sessions=200)
    assert (first.listed, [(hop.run_id, hop.number) for hop in shop.hops]) == (False, [(RUN, 1)])
    said, metrics = shop.read_output("enqueued")
    assert said == [("INFO", f"Enqueued {first.enqueued} sessions", RUN, first.enqueued)]
    assert metrics["SessionsEnqueued"] == [first.enqueued]
    second = shop.sync_run(max_sessions=200).resume(shop.hops[0])
    assert shop.hops[1] == Continuation(RUN, 2)
    said, metrics = shop.read_output("enqueued")
    part = second.enqueued - first.enqueued
    assert said == [("INFO", f"Enqueued {part} sessions", RUN, second.enqueued)]
    assert metrics["SessionsEnqueued"] == [part]
    assert len(set(shop.sent_ids())) == len(shop.sent_ids()) == second.enqueued < 2000


def test_whoever_goes_on_begins_where_the_last_one_stopped_with_slices_as_long_as_there(shop):
    shop.put_open_run(cursor=START + 999, sliceSeconds=500)
    shop.account.add_sessions(START + 999, START + 1000, END)
    shop.sync_run().resume(Continuation(RUN, 1))
    assert shop.sent_ids() == ["cs_1", "cs_2"]
    assert min(shop.account.asked) == (START + 1000, START + 1499)


def test_how_long_slices_have_become_is_kept_for_whoever_goes_on(shop):
    shop.account.add_sessions(*evenly(2000))
    run = shop.begin(max_sessions=200)
    assert shop.record()["sliceSeconds"] == run.slice_seconds
    assert run.slice_seconds < (END - START) / 4


def test_the_last_second_of_a_window_is_looked_at_like_any_other(shop):
    shop.put_open_run(cursor=END - 1)
    shop.account.add_sessions(END - 1, END, END + 1)
    assert shop.sync_run().resume(Continuation(RUN, 1)).listed is True
    assert shop.sent_ids() == ["cs_1"]


def test_a_window_has_both_its_ends(shop):
    shop.account.add_sessions(START - 1, START, END, END + 1)
    shop.begin()
    assert sorted(shop.sent_ids()) == ["cs_1", "cs_2"]
    assert (shop.record()["cursor"], shop.record()["listed"]) == (END, True)


def test_a_window_that_ends_before_it_begins_is_through_and_asks_for_no_session(shop):
    run = shop.begin(a_run(lookback_end=START - 1))
    assert (run.status, run.enqueued, shop.record()["cursor"]) == ("done", 0, START - 1)
    assert shop.account.asked == []


def test_a_second_of_many_pages_is_sent_whole(shop):
    shop.account.add_sessions(*[NOW - HOUR] * 250)
    assert shop.begin().enqueued == 250
    assert sorted(shop.sent_ids()) == sorted(f"cs_{n}" for n in range(250))


def test_out_of_time_hands_over_what_is_left_unless_nothing_was_done(shop):
    shop.put_open_run(cursor=START - 1, sliceSeconds=HOUR)
    shop.account.add_sessions(START)

    def no_more_time(start):
        if start > START:
            raise OutOfTime("no time left in this invocation")

    shop.account.on_page = no_more_time
    run = shop.sync_run().resume(Continuation(RUN, 1))
    assert (run.enqueued, run.listed, shop.hops) == (1, False, [Continuation(RUN, 2)])
    with pytest.raises(OutOfTime):
        shop.sync_run().resume(Continuation(RUN, 2))
    assert len(shop.hops) == 1


def test_a_batch_that_sqs_rejects_is_sent_again_within_the_invocation(shop):
    shop.account.add_sessions(NOW - HOUR)
    rejections = iter([True])
    shop.sqs.rejects = lambda operation, entry: next(rejections, False)
    shop.begin()
    assert shop.sent_ids() == ["cs_0"]


def test_a_slice_is_sent_oldest_first_and_a_customers_sessions_side_by_side(shop):
    for number, customer in enumerate(["u1", "u2", "u1", "u3", "u2"]):
        shop.account.sessions.append(
            a_session(id=f"cs_{number}", created=NOW - HOUR + number, metadata={"userId": customer})
        )
    shop.begin()
    assert shop.sent_ids() == ["cs_0", "cs_2", "cs_1", "cs_4", "cs_3"]


# A hard maximum


def test_a_hard_maximum_sends_the_oldest_and_ends_the_run_where_it_stopped_looking(shop):
    shop.account.add_sessions(*range(NOW - HOUR, NOW - HOUR + 5))
    run = shop.begin(a_run(max_sessions=3, covers_through=END))
    assert shop.sent_ids() == ["cs_0", "cs_1", "cs_2"]
    assert (run.enqueued, run.listed, run.truncated, shop.hops) == (3, True, True, [])
    record = shop.record()
    assert (record["cursor"], record["coversThrough"]) == (NOW - HOUR + 2, NOW - HOUR + 2)
    said, metrics = shop.read_output()
    text = (
        "truncated: the window holds more than the 3 sessions of maxSessions; "
        "what is newer than the last of them was not looked at"
    )
    assert said[0] == ("WARNING", text, RUN)
    assert record["warnings"] == [text]
    assert (metrics["TruncatedRuns"], metrics["RunWarnings"]) == ([1], [1])


def test_a_maximum_that_is_reached_between_slices_ends_the_run_there(shop):
    shop.put_open_run(cursor=START - 1, sliceSeconds=100, maxSessions=150)
    shop.account.add_sessions(*range(START, START + 400))
    run = shop.sync_run().resume(Continuation(RUN, 1))
    assert (run.enqueued, run.truncated, run.listed, shop.hops) == (150, True, True, [])
    assert sorted(shop.sent_ids()) == sorted(f"cs_{n}" for n in range(150))


def test_exactly_the_maximum_is_no_truncated_run(shop):
    shop.account.add_sessions(*range(NOW - HOUR, NOW - HOUR + 3))
    run = shop.begin(a_run(max_sessions=3, covers_through=END))
    assert (run.enqueued, run.truncated, shop.record()["cursor"]) == (3, False, END)
    assert shop.record()["coversThrough"] == END


@pytest.mark.parametrize("changes", [{"trigger": "manual", "covers_through": END}, {"covers_through": None}])
def test_a_truncated_run_that_leaves_no_scheduled_watermark_moves_none(shop, changes):
    shop.account.add_sessions(*range(NOW - HOUR, NOW - HOUR + 3))
    shop.begin(a_run(max_sessions=2, **changes))
    assert shop.record()["coversThrough"] == 0


# What waits for its payment


def test_what_waits_is_asked_about_again_in_the_name_of_this_run(shop):
    shop.put_pending(
        a_message(session_id="cs_old", run_id=ANOTHER, created=START - 1, payment_status="unpaid")
    )
    run = shop.begin()
    [message] = shop.sent()
    assert (message["sessionId"], message["runId"], message["pending"]) == ("cs_old", RUN, NOW - 60)
    assert (run.enqueued, run.truncated) == (1, False)
    assert shop.read_output()[1]["SessionsEnqueued"] == [1]


def test_what_waits_and_lies_in_the_window_is_left_to_the_listing(shop):
    for created in (START - 1, START, END, END + 1):
        shop.put_pending(a_message(session_id=f"cs_{created}", created=created, payment_status="unpaid"))
    shop.begin()
    assert sorted(shop.sent_ids()) == [f"cs_{START - 1}", f"cs_{END + 1}"]


def test_an_entry_that_cannot_be_read_keeps_back_no_later_one(shop):
    shop.put("SYSTEM", "PENDING#cs_0")
    shop.put("SYSTEM", "PENDING#cs_1", message="no JSON")
    shop.put_pending(a_message(session_id="cs_2", created=START - 1))
    shop.begin()
    assert shop.sent_ids() == ["cs_2"]
    errors = [line for line in shop.read_output()[0] if line[0] == "ERROR"]
    assert errors == [
        ("ERROR", f"A pending entry cannot be read: {error}", RUN)
        for error in ("KeyError", "MalformedMessage")
    ]


def test_after_what_waits_the_window_is_listed_from_its_first_second(shop):
    shop.put_pending(a_message(session_id="cs_old", created=START - 1))
    shop.account.add_sessions(START - 1, START)
    assert shop.begin().enqueued == 2
    assert shop.sent_ids() == ["cs_old", "cs_1"]


def test_a_run_by_hand_asks_about_nothing_that_waits(shop):
    shop.put_pending(a_message(session_id="cs_old", created=START - 1))
    assert shop.begin(a_run(trigger="manual")).enqueued == 0
    assert shop.sent_ids() == []


@pytest.mark.parametrize(
    ("maximum", "settled", "sent", "truncated"),
    [(3, 0, 3, False), (2, 0, 2, True), (4, 1, 3, False), (3, 1, 2, True), (1, 1, 0, True), (1, 3, 0, True)],
)
def test_a_maximum_counts_what_was_sent_and_settled_before_this_invocation(
    shop, maximum, settled, sent, truncated
):
    """An invocation that died had sent some, and the consumer has deleted their entries since."""
    for number in range(3):
        shop.put_pending(a_message(session_id=f"cs_{number}", created=START - 1))
    for number in range(settled):
        shop.put(f"SYNC_RUN#{RUN}", f"SESSION#cs_old_{number}", outcome="skipped", pending=True)
    run = shop.begin(a_run(max_sessions=maximum))
    assert len(shop.sent_ids()) == sent
    assert (run.enqueued, run.truncated) == (sent + settled, truncated)
    assert [text.partition(":")[0] for text in shop.record()["warnings"]] == ["truncated"] * truncated


def test_what_was_sent_and_settled_before_is_counted_where_nothing_waits_any_more(shop):
    shop.put(f"SYNC_RUN#{RUN}", "SESSION#cs_old", outcome="skipped", pending=True)
    assert shop.begin().enqueued == 1
    assert shop.sent_ids() == []


# Webhooks


def test_a_scheduled_run_leaves_what_was_completed_within_the_grace_and_one_by_hand_does_not(shop):
    shop.account.add_sessions(NOW - HOUR)
    shop.account.acknowledged = [SessionEvent("evt_1", COMPLETED, NOW - 60, "cs_0")]
    assert shop.begin(a_run(trigger="manual", run_id=ANOTHER)).enqueued == 1
    assert shop.begin().enqueued == 0


@pytest.mark.parametrize(
    ("covered", "start", "since"),
    [
        (None, NOW - DELIVERY - 5, NOW - DELIVERY - 5),
        (NOW - DELIVERY - 9, NOW - DELIVERY - 5, NOW - DELIVERY - 9),
        (NOW - HOUR, NOW - DELIVERY - 5, NOW - DELIVERY - 5),
        (NOW - HOUR, START, NOW - DELIVERY),
    ],
)
def test_the_fence_goes_back_to_the_window_or_to_the_watermark_whichever_is_earlier(
    shop, covered, start, since
):
    shop.account.add_sessions(NOW - HOUR)
    shop.sync_run().begin(a_run(lookback_start=start), State(covered_through=covered))
    assert [asked for asked, undelivered in shop.account.asked_events if undelivered] == [since]


def test_without_a_fence_nobody_asks_what_was_not_delivered(shop):
    shop.account.add_sessions(NOW - HOUR)
    shop.begin(webhook_fence=False)
    assert [undelivered for _, undelivered in shop.account.asked_events] == [False]


def test_a_key_that_may_not_read_events_is_told_once(shop):
    shop.account.add_sessions(NOW - HOUR)

    shop.account.forbids_events = True
    assert shop.begin().enqueued == 1
    said, metrics = shop.read_output()
    assert said[0] == ("WARNING", NO_EVENTS, RUN)
    assert (shop.record()["warnings"], metrics["RunWarnings"]) == ([NO_EVENTS], [1])


# What is suspicious


def test_sessions_that_cannot_be_read_are_told_and_the_watermark_stays(shop):
    shop.account.add_sessions(*[NOW - HOUR] * 150)
    shop.account.unreadable = [1]
    shop.begin(a_run(covers_through=END))
    said, _ = shop.read_output()
    assert ("WARNING", UNREADABLE, RUN) in said
    assert (shop.record()["warnings"], shop.record()["coversThrough"]) == ([UNREADABLE], 0)


def test_a_run_that_reads_everything_keeps_its_watermark_and_warns_of_nothing(shop):
    shop.account.add_sessions(NOW - HOUR)
    shop.begin(a_run(covers_through=END))
    record = shop.record()
    assert (record["warnings"], record["coversThrough"], record["truncated"]) == ([], END, False)


@pytest.mark.parametrize(
    ("before", "now", "warning"),
    [
        (False, True, "this run reads live sessions, the last one read test ones; check the key"),
        (True, False, "this run reads test sessions, the last one read live ones; check the key"),
        (True, True, None),
        (False, False, None),
        (None, True, None),
    ],
)
def test_a_key_of_the_other_mode_is_told(shop, before, now, warning):
    shop.account.add_sessions(NOW - HOUR, livemode=now)
    shop.sync_run().begin(a_run(), State(livemode=before))
    assert shop.record()["warnings"] == ([f"livemode: {warning}"] if warning else [])
    assert shop.record()["livemode"] is now


def test_the_mode_is_compared_with_the_first_slice_that_has_a_session(shop):
    shop.put_open_run(cursor=START - 1, sliceSeconds=HOUR)
    shop.account.add_sessions(END, livemode=True)
    shop.put("SYSTEM", "STRIPE_ORDER_SYNC", lastSyncRunId=RUN, lastLivemode=False)
    shop.sync_run().resume(Continuation(RUN, 1))
    assert len(shop.record()["warnings"]) == 1


def scheduled_before(shop, *modes):
    """Scheduled runs that ended, the newest first."""
    for number, mode in enumerate(modes):
        fields = {} if mode is None else {"livemode": mode}
        key = f"STRIPE_ORDER_SYNC#202411{25 - number}T020000Z"
        shop.put("SYSTEM", key, trigger="scheduled", status="done", **fields)


def test_no_session_at_all_is_told_where_earlier_runs_found_some(shop):
    scheduled_before(shop, *[None] * (SCHEDULED_COMPARED - 1), False)
    shop.begin()
    said, metrics = shop.read_output()
    assert said[1] == ("WARNING", NO_SESSIONS, RUN)
    assert (shop.record()["warnings"], metrics["NoSessions"]) == ([NO_SESSIONS], [1])


@pytest.mark.parametrize(
    ("before", "run", "sessions"),
    [
        ([None] * SCHEDULED_COMPARED + [False], {}, []),  # a quiet week is what the shop is like by now
        ([None], {}, []),
        ([False], {"trigger": "manual"}, []),
        ([False], {}, [NOW - HOUR]),
    ],
)
def test_no_session_is_suspicious_in_no_other_case(shop, before, run, sessions):
    scheduled_before(shop, *before)
    shop.account.add_sessions(*sessions)
    shop.begin(a_run(**run))
    assert shop.record()["warnings"] == []
    assert "NoSessions" not in shop.read_output()[1]


def test_warnings_of_the_window_are_kept_and_told(shop):
    shop.begin(a_run(warnings=("gap: a month",)))
    assert shop.record()["warnings"] == ["gap: a month"]
    assert shop.read_output()[0][0] == ("WARNING", "gap: a month", RUN)


def test_run_without_end_stops_after_a_number_of_invocations(shop):
    sync_run = shop.sync_run()
    sync_run._hop_on(a_run(), MOST_HOPS - 1)
    assert shop.hops == [Continuation(RUN, MOST_HOPS)]
    with pytest.raises(TooManyHops, match=f"^run {RUN} has not ended after 5000 invocations$"):
        sync_run._hop_on(a_run(), MOST_HOPS)
    assert len(shop.hops) == 1
