"""What Stripe's events say of webhooks: whom a run leaves to the next one, and which events travel."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from producer.webhook_events import DELIVERY, WebhookEvents
from producer.window import MARGIN
from recon.dynamodb.records import State, parse_state
from recon.errors import KeyNotAllowed
from recon.stripe.source import SessionEvent
from recon.timestamps import MINUTE
from testkit.builders import NOW, a_message

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
GRACE = NOW - 600


def event(session_id, kind=COMPLETED, event_id="evt_1"):
    return SessionEvent(event_id, kind, NOW, session_id)


def webhooks(leaves_after, *answers, fence_since=None):
    """After a look; `answers` are what Stripe says each time it is asked. Also what it was asked."""
    asked, left = [], list(answers)

    def list_events(created_from, *, undelivered=False):
        asked.append((created_from, undelivered))
        answer = left.pop(0) if left else []
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    stripe = SimpleNamespace(list_events=list_events)
    # One thread, so that what is asked at the same time is asked in one order.
    pool = ThreadPoolExecutor(1)
    made = WebhookEvents(
        lambda: stripe, lambda: NOW, pool, leaves_after=leaves_after, fence_since=fence_since
    )
    made.look()
    return made, asked


def test_a_session_that_was_completed_within_the_grace_is_left_to_the_next_run():
    found, asked = webhooks(GRACE, [event("cs_1")])
    assert asked == [(GRACE + 1, False)]
    assert found.left(a_message()) is None
    assert found.left(a_message(session_id="cs_2")) == a_message(session_id="cs_2", event_ids=())


def test_a_session_that_was_only_paid_within_the_grace_waits_as_unpaid():
    found, _ = webhooks(GRACE, [event("cs_1", PAID)])
    assert found.left(a_message()) == a_message(payment_status="unpaid")
    # One that waits already is seen by the next run anyway.
    assert found.left(a_message(pending=7)) is None
    assert found.left(a_message(session_id="cs_2", pending=7)) == a_message(
        session_id="cs_2", pending=7, event_ids=()
    )


def test_the_fence_sends_the_events_that_no_webhook_has_acknowledged():
    undelivered = [event("cs_1", COMPLETED, "evt_1"), event("cs_1", PAID, "evt_2"), event("cs_2")]
    found, asked = webhooks(None, [], undelivered, fence_since=NOW - 9000)
    assert asked == [(NOW - MARGIN, False), (NOW - DELIVERY, True)]
    assert found.left(a_message()) == a_message(event_ids=("evt_1", "evt_2"), event_types=(COMPLETED, PAID))


def test_the_fence_asks_back_to_the_windows_beginning_where_that_is_earlier():
    _, asked = webhooks(GRACE, fence_since=NOW - DELIVERY - 5)
    assert asked == [(GRACE + 1, False), (NOW - DELIVERY - 5, True)]


def test_what_happened_while_sessions_were_listed_is_asked_again():
    found, asked = webhooks(GRACE, [], [event("cs_1")])
    found.look()
    assert asked[1:] == [(GRACE + 1, False)]
    assert found.left(a_message()) is None
    assert found.known_until == NOW - MINUTE


def test_the_first_look_goes_back_to_the_grace_however_long_ago_that_is_and_the_next_to_the_first():
    found, asked = webhooks(NOW - 3600, [event("cs_1")])
    found.look()
    assert asked == [(NOW - 3600 + 1, False), (NOW - MARGIN, False)]
    assert found.left(a_message()) is None


def test_a_run_by_hand_asks_again_only_for_its_fence():
    found, asked = webhooks(None, [], [], [event("cs_1", event_id="evt_9")], fence_since=NOW - 9000)
    found.look()
    assert asked[2:] == [(NOW - MARGIN, False)]
    assert found.left(a_message()) == a_message(event_ids=("evt_9",), event_types=(COMPLETED,))
    plain, asked = webhooks(None)
    plain.look()
    assert asked == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_key_that_may_not_read_events_is_not_asked_again(times):
    answers = [KeyNotAllowed("no")] if times == 1 else [[], KeyNotAllowed("no")]
    found, asked = webhooks(GRACE, *answers)
    assert found.may_read is (times == 2)
    for _ in range(3):
        found.look()
    assert found.may_read is False
    assert len(asked) == times


def test_the_state_is_read_field_by_field():
    item = {"lastSyncRunId": "r", "lastCoveredThrough": 1, "lastLivemode": False, "firstLookbackStart": 2}
    assert parse_state(item) == State("r", 1, False, 2)
