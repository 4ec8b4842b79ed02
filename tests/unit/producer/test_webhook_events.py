"""Stripe's events about webhooks: which sessions a run defers, and which events its messages have."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Timer
from types import SimpleNamespace

import pytest

from producer import undelivered_events
from producer.undelivered_events import DELIVERY
from producer.webhook_events import WebhookEvents
from producer.window import MARGIN
from recon.errors import KeyNotAllowed
from recon.stripe.source import SessionEvent
from recon.timestamps import DAY, MINUTE
from testkit.builders import NOW, a_message

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
GRACE = NOW - 600
FENCE = NOW - 9000


def event(session_id="cs_1", kind=COMPLETED, event_id="evt_1", created=NOW):
    return SessionEvent(event_id, kind, created, session_id)


def refreshed_events(defer_after, recent=(), undelivered=(), fence=None, now=lambda: NOW):
    """Return events after one refresh, and the list of requests. Stripe gives the answers in turn."""
    requests, answers = [], {False: list(recent), True: list(undelivered)}

    def list_events(created_from, *, undelivered=False, created_to=None):
        requests.append((created_from, undelivered) if created_to is None else (created_from, created_to))
        answer = answers[undelivered].pop(0) if answers[undelivered] else []
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    events = WebhookEvents(
        lambda: SimpleNamespace(list_events=list_events),
        now,
        ThreadPoolExecutor(1),
        defer_after=defer_after,
        fence=fence,
    )
    events.refresh()
    return events, requests


def test_session_completed_in_the_grace_is_deferred():
    events, requests = refreshed_events(GRACE, [[event()]])
    assert requests == [(GRACE + 1, False)]
    assert events.filter_message(a_message()) is None
    other = a_message(session_id="cs_2")
    assert events.filter_message(other) == a_message(session_id="cs_2", event_ids=())


def test_session_only_paid_in_the_grace_is_sent_as_unpaid():
    events, _ = refreshed_events(GRACE, [[event(kind=PAID)]])
    assert events.filter_message(a_message()) == a_message(payment_status="unpaid")
    # The next run sends a pending session anyway.
    assert events.filter_message(a_message(pending=7)) is None
    other = a_message(session_id="cs_2", pending=7, event_ids=())
    assert events.filter_message(other) == other


def test_fenced_message_has_its_undelivered_events():
    unread = [event(), event("cs_1", PAID, "evt_2"), event("cs_2")]
    events, requests = refreshed_events(None, [], [unread], fence=FENCE)
    assert sorted(requests) == sorted([(NOW - MARGIN, False), (FENCE, True)])
    assert (events.need_order, events.are_missing) == (False, False)
    expected = a_message(event_ids=("evt_1", "evt_2"), event_types=(COMPLETED, PAID), event_times=(NOW, NOW))
    assert events.filter_message(a_message()) == expected


@pytest.mark.parametrize(
    ("defer_after", "newest", "since"),
    [
        # A minute before the newest event by Stripe's clock, or a margin before the refresh by ours.
        (GRACE, None, GRACE + 1),
        (NOW - 3600, None, NOW - MARGIN),
        (NOW - 3600, NOW - 7, NOW - 7 - MINUTE),
        (NOW, None, NOW + 1),
    ],
)
def test_refresh_repeats_what_the_previous_one_may_have_missed(defer_after, newest, since):
    first = [event("cs_0", created=newest)] if newest else []
    events, requests = refreshed_events(defer_after, [first, [event()]])
    events.refresh()
    assert requests == [(defer_after + 1, False), (since, False)]
    assert events.filter_message(a_message()) is None
    assert events.known_until == NOW - MINUTE


@pytest.mark.parametrize(("known", "read"), [(0, 700), (300, 500)])
def test_refresh_stops_after_a_page_of_known_events(known, read):
    """A large shop has many pages of events a minute."""
    before = [event(f"cs_{n}", created=NOW - n) for n in range(known)]
    new = [event(f"cs_new{n}") for n in range(400)]
    answer = iter(new + before + [event(f"cs_old{n}") for n in range(300 - known)])
    events, _ = refreshed_events(GRACE, [before, answer])
    events.refresh()
    assert len(list(answer)) == 700 - read
    assert all(events.filter_message(a_message(session_id=f"cs_new{n}")) is None for n in range(400))


def test_manual_run_repeats_only_the_request_for_its_fence():
    events, requests = refreshed_events(None, [[], [event(event_id="evt_9")]], fence=FENCE)
    events.refresh()
    assert requests[2:] == [(NOW - MARGIN, False)]
    expected = a_message(event_ids=("evt_9",), event_types=(COMPLETED,), event_times=(NOW,))
    assert events.filter_message(a_message()) == expected


def test_manual_run_without_a_fence_reads_no_events():
    _, requests = refreshed_events(None)
    assert requests == []


@pytest.mark.parametrize("answers", [[KeyNotAllowed("no")], [[], KeyNotAllowed("no")]])
def test_forbidden_events_are_not_requested_again(answers):
    events, requests = refreshed_events(GRACE, answers)
    assert events.may_read is (len(answers) == 2)
    for _ in range(3):
        events.refresh()
    assert events.may_read is False
    assert len(requests) == len(answers)


def test_forbidden_undelivered_events_are_not_requested_again():
    events, requests = refreshed_events(GRACE, [], [KeyNotAllowed("no")], fence=FENCE)
    assert (events.may_read, events.need_order) == (False, False)
    events.read_for([{"created": NOW}])
    events.refresh()
    assert len(requests) == 2


def test_refresh_ends_with_the_first_page_of_known_events():
    known = [event(f"cs_{n}", created=NOW - n) for n in range(150)]
    answer = iter(known)
    events, _ = refreshed_events(GRACE, [known, answer])
    events.refresh()
    assert len(list(answer)) == 50


def test_undelivered_events_are_read_for_the_times_of_a_page():
    events, _ = refreshed_events(None, fence=FENCE)
    read = []
    events._undelivered = SimpleNamespace(read_for=lambda *times: read.append(times))
    events.read_for([{"created": 7}, {"created": "then"}, {"created": 9}, {"created": 8}, {}])
    assert read == [(7, 9)]


def test_newer_undelivered_events_do_not_delay_those_of_an_old_page(monkeypatch):
    monkeypatch.setattr(undelivered_events, "FEW", 2)
    monkeypatch.setattr(undelivered_events, "MOST_AWAITED", 3)
    log = [event(f"cs_{n}", event_id=f"evt_{n}", created=NOW - n) for n in range(20)]
    log.append(event("cs_old", event_id="evt_old", created=NOW - 5 * DAY))

    def list_events(created_from, *, undelivered=False, created_to=None, types=(COMPLETED, PAID)):
        if undelivered and COMPLETED in types:
            latest = NOW if created_to is None else created_to
            yield from (each for each in log if created_from <= each.created <= latest)

    stripe = SimpleNamespace(list_events=list_events)
    fence = NOW - 9 * DAY
    events = WebhookEvents(lambda: stripe, lambda: NOW, ThreadPoolExecutor(1), defer_after=None, fence=fence)
    events.read_undelivered()
    events.read_for([{"created": NOW - 5 * DAY - 60}])
    message = events.filter_message(a_message(session_id="cs_old", created=NOW - 5 * DAY - 60))
    assert message.event_ids == ("evt_old",)
    assert not events.are_missing


@pytest.mark.parametrize(
    ("ages", "read"),
    [
        ([], []),
        ([DELIVERY + DAY + 1], []),
        ([DELIVERY + DAY], [(NOW - DELIVERY, NOW)]),
        ([40 * DAY, 2 * DAY, 3 * DAY], [(NOW - 3 * DAY, NOW)]),
    ],
)
def test_events_of_waiting_sessions_are_read_while_stripe_delivers_them(ages, read):
    events, _ = refreshed_events(None, fence=FENCE)
    times = []
    events._undelivered = SimpleNamespace(read_for=lambda *args: times.append(args))
    events.read_for_waiting([NOW - age for age in ages])
    assert times == read


@pytest.mark.parametrize("created", [None, True, "then"])
def test_sessions_without_a_valid_time_need_no_events(created):
    events, requests = refreshed_events(None, fence=FENCE)
    events.read_for([{"created": created}, {}])
    assert len(requests) == 2


def test_close_leaves_no_thread_that_asks_stripe():
    reading, may_end, ended = Event(), Event(), []

    def list_events(_since):
        reading.set()
        may_end.wait(5)
        ended.append(True)
        yield from ()

    stripe = SimpleNamespace(list_events=list_events)
    with ThreadPoolExecutor(1) as pool:
        events, waiting = (
            WebhookEvents(lambda: stripe, lambda: NOW, pool, defer_after=GRACE, fence=None) for _ in range(2)
        )
        events.close()
        assert events.is_refreshed()
        events.begin_refresh()
        assert reading.wait(5)
        assert not events.is_refreshed()
        # The pool has no turn for this one, which is cancelled.
        waiting.begin_refresh()
        waiting.close()
        assert not ended
        Timer(0.01, may_end.set).start()
        events.close()
        assert (ended, events.is_refreshed()) == ([True], True)
