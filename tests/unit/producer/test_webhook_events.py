"""Stripe's events about webhooks: which sessions a run defers, and which events its messages have."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from producer.webhook_events import DELIVERY, WebhookEvents
from producer.window import MARGIN
from recon.errors import KeyNotAllowed
from recon.stripe.source import SessionEvent
from recon.timestamps import MINUTE
from testkit.builders import NOW, a_message

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
GRACE = NOW - 600
WINDOW_START = NOW - 9000


def event(session_id="cs_1", kind=COMPLETED, event_id="evt_1"):
    return SessionEvent(event_id, kind, NOW, session_id)


def refreshed_events(defer_after, *answers, fence_since=None):
    """Return events after one refresh, and the list of requests. Stripe gives the answers in turn."""
    requests, left = [], list(answers)

    def list_events(created_from, *, undelivered=False):
        requests.append((created_from, undelivered))
        answer = left.pop(0) if left else []
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    events = WebhookEvents(
        lambda: SimpleNamespace(list_events=list_events),
        lambda: NOW,
        ThreadPoolExecutor(1),  # one thread, so that concurrent requests have one order
        defer_after=defer_after,
        fence_since=fence_since,
    )
    events.refresh()
    return events, requests


def test_session_completed_in_the_grace_is_deferred():
    events, requests = refreshed_events(GRACE, [event()])
    assert requests == [(GRACE + 1, False)]
    assert events.filter_message(a_message()) is None
    other = a_message(session_id="cs_2")
    assert events.filter_message(other) == a_message(session_id="cs_2", event_ids=())


def test_session_only_paid_in_the_grace_is_sent_as_unpaid():
    events, _ = refreshed_events(GRACE, [event(kind=PAID)])
    assert events.filter_message(a_message()) == a_message(payment_status="unpaid")
    # The next run sends a pending session anyway.
    assert events.filter_message(a_message(pending=7)) is None
    other = a_message(session_id="cs_2", pending=7, event_ids=())
    assert events.filter_message(other) == other


def test_fenced_message_has_its_undelivered_events():
    undelivered = [event(), event("cs_1", PAID, "evt_2"), event("cs_2")]
    events, requests = refreshed_events(None, [], undelivered, fence_since=WINDOW_START)
    assert requests == [(NOW - MARGIN, False), (NOW - DELIVERY, True)]
    expected = a_message(event_ids=("evt_1", "evt_2"), event_types=(COMPLETED, PAID), event_times=(NOW, NOW))
    assert events.filter_message(a_message()) == expected


def test_fence_starts_at_the_window_if_that_is_earlier():
    _, requests = refreshed_events(GRACE, fence_since=NOW - DELIVERY - 5)
    assert requests == [(GRACE + 1, False), (NOW - DELIVERY - 5, True)]


@pytest.mark.parametrize(
    ("defer_after", "since"), [(GRACE, GRACE + 1), (NOW - 3600, NOW - MARGIN), (NOW, NOW + 1)]
)
def test_refresh_repeats_what_the_previous_one_may_have_missed(defer_after, since):
    events, requests = refreshed_events(defer_after, [], [event()])
    events.refresh()
    assert requests == [(defer_after + 1, False), (since, False)]
    assert events.filter_message(a_message()) is None
    assert events.known_until == NOW - MINUTE


def test_manual_run_repeats_only_the_request_for_its_fence():
    events, requests = refreshed_events(None, [], [], [event(event_id="evt_9")], fence_since=WINDOW_START)
    events.refresh()
    assert requests[2:] == [(NOW - MARGIN, False)]
    expected = a_message(event_ids=("evt_9",), event_types=(COMPLETED,), event_times=(NOW,))
    assert events.filter_message(a_message()) == expected


def test_manual_run_without_a_fence_reads_no_events():
    _, requests = refreshed_events(None)
    assert requests == []


@pytest.mark.parametrize("answers", [[KeyNotAllowed("no")], [[], KeyNotAllowed("no")]])
def test_forbidden_events_are_not_requested_again(answers):
    events, requests = refreshed_events(GRACE, *answers)
    assert events.may_read is (len(answers) == 2)
    for _ in range(3):
        events.refresh()
    assert events.may_read is False
    assert len(requests) == len(answers)
