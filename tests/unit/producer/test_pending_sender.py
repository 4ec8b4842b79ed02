"""Sending the sessions that wait for their payment: when, in which memory, and after a producer that died."""

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import pytest

from producer import pending_sender, undelivered_events
from producer.pending_sender import PendingSender
from producer.webhook_events import MISSING_EVENTS, WebhookEvents
from recon.domain.message import dumps
from recon.domain.stripe_objects import ASYNC_PAYMENT_SUCCEEDED, CHECKOUT_COMPLETED
from recon.dynamodb.runs import Runs
from recon.stripe.source import SessionEvent
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import Killed
from testkit.listings import END, START, a_run


def put(harness, session_id, *, age, asked_days_ago, expires_in=500 * DAY, **fields):
    message = a_message(session_id=session_id, created=END - age)
    entry = {
        "message": dumps(message),
        "updatedAt": to_iso(END - asked_days_ago * DAY),
        "expiresAt": END + expires_in,
    }
    harness.put("SYSTEM", f"PENDING#{session_id}", **entry | fields)


@pytest.mark.parametrize(
    ("age", "asked_days_ago", "expires_in", "is_sent"),
    [
        (30 * DAY - 60, 1, 500 * DAY, True),
        (30 * DAY, 1, 500 * DAY, False),
        (30 * DAY, 6, 500 * DAY, False),
        (30 * DAY, 7, 500 * DAY, True),
        (50 * DAY, 20, 500 * DAY, True),
        (400 * DAY, 1, 60 * DAY, True),
        # Of an earlier version, whose entries expired after 90 days
        (50 * DAY, 1, 40 * DAY, True),
    ],
)
def test_entry_is_sent_in_the_nights_when_it_is_due(harness, age, asked_days_ago, expires_in, is_sent):
    put(harness, "cs_1", age=age, asked_days_ago=asked_days_ago, expires_in=expires_in)
    run = harness.begin()
    assert harness.sent_ids() == ["cs_1"] * is_sent
    assert run.enqueued == is_sent


@pytest.mark.parametrize(
    "fields",
    [
        {"message": 5},
        {"message": ["x"]},
        {"message": {"v": 1}},
        {"message": dumps(a_message(session_id="cs_other", created=START - 1))},
    ],
)
def test_entry_that_cannot_be_read_blocks_no_other(harness, fields):
    put(harness, "cs_1", age=3 * DAY, asked_days_ago=1, **fields)
    put(harness, "cs_2", age=3 * DAY, asked_days_ago=1)
    harness.begin()
    assert harness.sent_ids() == ["cs_2"]
    [error] = [line[1] for line in harness.read_output()[0] if line[0] == "ERROR"]
    assert error == "A pending entry cannot be read: MalformedMessage"


@pytest.mark.parametrize("fields", [{"updatedAt": 5}, {"updatedAt": "no time"}, {"expiresAt": "x"}])
def test_entry_with_unreadable_times_is_sent(harness, fields):
    put(harness, "cs_1", age=40 * DAY, asked_days_ago=8, **fields)
    harness.begin()
    assert harness.sent_ids() == ["cs_1"]


def test_missing_session_is_sent_with_the_time_since_which_it_is_missing(harness):
    """Without it, its 30 days would begin again every night."""
    put(harness, "cs_1", age=3 * DAY, asked_days_ago=1, missingSince=END - 2 * DAY)
    harness.begin()
    [message] = harness.sent()
    assert message["missingSince"] == END - 2 * DAY


def test_session_in_the_window_of_the_run_holds_back_no_other(harness):
    put(harness, "cs_1", age=END - START, asked_days_ago=1)
    put(harness, "cs_2", age=3 * DAY, asked_days_ago=1)
    harness.begin()
    assert harness.sent_ids() == ["cs_2"]


def test_messages_of_all_chunks_are_in_the_metric(harness, monkeypatch):
    monkeypatch.setattr(pending_sender, "CHUNK", 2)
    for number in range(5):
        put(harness, f"cs_{number}", age=3 * DAY, asked_days_ago=1)
    harness.begin()
    assert harness.read_output()[1]["SessionsEnqueued"] == [5]


@pytest.mark.parametrize("limit", [None, 7])
@pytest.mark.parametrize("sent_before", [0, 1, 3, 4, 6])
def test_repeat_after_a_death_counts_each_session_once(harness, monkeypatch, sent_before, limit):
    """Some that were sent before the death are settled: their entries are gone, asked about, or waiting."""
    monkeypatch.setattr(pending_sender, "CHUNK", 2)
    ids = [f"cs_{number}" for number in range(7)]
    for number, session_id in enumerate(ids):
        is_settled = number < sent_before
        if is_settled:
            harness.put(f"SYNC_RUN#{RUN}", f"SESSION#{session_id}", outcome="skipped", pending=True)
        if not is_settled or number % 3:
            asked_days_ago = 0 if is_settled and number % 3 == 1 else 9
            put(harness, session_id, age=60 * DAY, asked_days_ago=asked_days_ago)
    run = harness.begin(a_run(max_sessions=limit))
    assert (run.enqueued, run.truncated) == (7, False)
    settled = {f"cs_{number}" for number in range(sent_before)}
    assert set(ids) - settled <= set(harness.sent_ids())


def test_session_settled_while_others_are_sent_is_counted(harness, monkeypatch):
    """A message of the dead invocation is processed between the reads of two chunks."""
    monkeypatch.setattr(pending_sender, "CHUNK", 1)
    for number in range(3):
        put(harness, f"cs_{number}", age=3 * DAY, asked_days_ago=1)
    find = Runs.find_settled_pending

    def settle_next(self, run_id, after="", through=None):
        found = find(self, run_id, after, through)
        if through == "cs_0":
            harness.put(f"SYNC_RUN#{RUN}", "SESSION#cs_1", outcome="created", pending=True)
            key = {"PK": {"S": "SYSTEM"}, "SK": {"S": "PENDING#cs_1"}}
            harness.memory.transact_write_items(
                TransactItems=[{"Delete": {"TableName": harness.table.ledger, "Key": key}}]
            )
        return found

    monkeypatch.setattr(Runs, "find_settled_pending", settle_next)
    assert harness.begin().enqueued == 3


def test_death_between_chunks_leaves_the_run_to_its_repeat(harness, monkeypatch):
    monkeypatch.setattr(pending_sender, "CHUNK", 2)
    for number in range(5):
        put(harness, f"cs_{number}", age=3 * DAY, asked_days_ago=1)
    send, calls = harness.sqs.send_message_batch, []

    def die_at_the_second(**request):
        calls.append(request)
        if len(calls) == 2:
            raise Killed
        return send(**request)

    harness.sqs.send_message_batch = die_at_the_second
    with pytest.raises(Killed):
        harness.begin()
    assert "cursor" not in harness.record()
    harness.sqs.send_message_batch = send
    assert harness.begin().enqueued == 5
    assert set(harness.sent_ids()) == {f"cs_{number}" for number in range(5)}


def test_waiting_session_has_its_payment_event_among_many_newer_ones(harness):
    """One forgotten endpoint of the account makes every event undelivered."""
    put(harness, "cs_1", age=40 * DAY, asked_days_ago=8)
    harness.account.undelivered = [
        *(SessionEvent(f"evt_{n}", CHECKOUT_COMPLETED, END - 60 * n, f"cs_x{n}") for n in range(600)),
        SessionEvent("evt_paid", ASYNC_PAYMENT_SUCCEEDED, END - 60 * 600, "cs_1"),
    ]
    harness.begin()
    [message] = harness.sent()
    assert (message["eventIds"], message["eventTypes"]) == (["evt_paid"], [ASYNC_PAYMENT_SUCCEEDED])
    assert harness.record()["warnings"] == []
    assert sum(undelivered for _, undelivered in harness.account.event_requests) == 2


@pytest.mark.parametrize(("age", "is_read"), [(3 * DAY, True), (5 * DAY, False)])
@pytest.mark.parametrize("most", [10_000, 99])
def test_waiting_session_has_its_completion_while_stripe_delivers_it(
    harness, monkeypatch, age, is_read, most
):
    """A webhook may write the order of an unpaid session, too."""
    monkeypatch.setattr(undelivered_events, "MOST_AWAITED", most)
    monkeypatch.setattr(undelivered_events, "AWAITED_PER_PAGE", 0)
    monkeypatch.setattr(pending_sender, "CHUNK", 1)
    sessions = {"cs_1": age, "cs_2": age - HOUR, "cs_3": 40 * DAY}
    for session_id, old in sessions.items():
        put(harness, session_id, age=old, asked_days_ago=8)
    events = [SessionEvent(f"evt_{n}", CHECKOUT_COMPLETED, END - 60 * n, f"cs_x{n}") for n in range(600)]
    events += [
        SessionEvent(f"evt_{session_id}", CHECKOUT_COMPLETED, END - old + MINUTE, session_id)
        for session_id, old in sessions.items()
    ]
    harness.account.undelivered = sorted(events, key=lambda event: -event.created)
    harness.begin()
    is_known = is_read and most > 99
    fenced = {message["sessionId"]: message["eventIds"] for message in harness.sent()}
    assert fenced == {
        "cs_1": ["evt_cs_1"] * is_known,
        "cs_2": ["evt_cs_2"] * is_known,
        "cs_3": [],
    }
    assert harness.record()["warnings"] == [MISSING_EVENTS] * (is_read and not is_known)


def test_more_payment_events_than_are_read_are_a_warning(harness, monkeypatch):
    monkeypatch.setattr(undelivered_events, "FEW", 10)
    monkeypatch.setattr(undelivered_events, "MOST_PAYMENTS", 20)
    put(harness, "cs_21", age=40 * DAY, asked_days_ago=8)
    harness.account.undelivered = [
        SessionEvent(f"evt_{n}", ASYNC_PAYMENT_SUCCEEDED, END - n, f"cs_{n}") for n in range(22)
    ]
    harness.begin()
    assert [message["eventIds"] for message in harness.sent()] == [[]]
    assert harness.record()["warnings"] == [MISSING_EVENTS]


@pytest.mark.slow
def test_memory_stays_flat_for_many_entries(harness):
    entry = {"updatedAt": to_iso(END - DAY), "expiresAt": END + 500 * DAY}
    sent = []

    def stream():
        for number in range(12_000):
            session_id = f"cs_{number:06}"
            text = dumps(a_message(session_id=session_id, created=END - 3 * DAY))
            yield entry | {"PK": "SYSTEM", "SK": f"PENDING#{session_id}", "message": text}

    context = replace(
        harness.sync_run().context,
        runs=SimpleNamespace(pending=stream, find_settled_pending=lambda *_: set()),
        queue=SimpleNamespace(send=lambda messages, *_: sent.append(len(messages))),
    )
    events = WebhookEvents(lambda: harness.account, lambda: NOW, harness.pool, defer_after=END, fence=None)
    sender = PendingSender(context, a_run(), events)
    tracemalloc.start()
    sender.send(events.refresh, list)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (sender.sent, sum(sent), max(sent)) == (12_000, 12_000, pending_sender.CHUNK)
    assert peak < 4_000_000
