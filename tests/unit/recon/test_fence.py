"""Which events of the webhook are marked, and how long a claim counts."""

import pytest

from recon.domain.fence import EventMark, FencedEvent, mark_events, select_of_found
from testkit.builders import NOW

DONE, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"


def test_event_is_marked_unless_its_marker_is_completed():
    events = [
        FencedEvent("evt_new", DONE, NOW - 5),
        FencedEvent("evt_completed", DONE, NOW - 5),
        FencedEvent("evt_claimed", PAID),
        FencedEvent("evt_within_skew", DONE, NOW + 300),
        FencedEvent("evt_ahead", DONE, NOW + 301),
    ]
    markers = {"evt_completed": True, "evt_claimed": False}
    assert mark_events(events, markers, assumed=7, now=NOW, order_number="BC-1") == (
        EventMark("evt_new", DONE, NOW - 5, "BC-1", is_claimed=False),
        EventMark("evt_claimed", PAID, 7, "BC-1", is_claimed=True),
        EventMark("evt_within_skew", DONE, NOW + 300, "BC-1", is_claimed=False),
        EventMark("evt_ahead", DONE, 7, "BC-1", is_claimed=False),
    )


def test_only_a_claim_of_the_last_quarter_of_an_hour_is_waited_for():
    claim = EventMark("evt_1", DONE, NOW, is_claimed=True)
    assert [claim.wait_seconds(NOW + passed) for passed in (0, 899, 900, 901)] == [900, 1, 0, 0]
    assert EventMark("evt_1", DONE, NOW).wait_seconds(NOW) == 0


@pytest.mark.parametrize(
    ("event", "is_unpaid", "selected"),
    [
        (FencedEvent("evt_1", DONE, NOW - 3601), False, True),
        (FencedEvent("evt_1", DONE, NOW - 3600), False, False),
        (FencedEvent("evt_1", DONE), False, False),
        (FencedEvent("evt_1", DONE, NOW - 3601), True, True),
        (FencedEvent("evt_1", PAID, NOW - 3601), False, True),
        (FencedEvent("evt_1", PAID, NOW - 3601), True, False),
    ],
)
def test_event_of_a_found_order_is_selected_an_hour_later_unless_it_may_still_pay(event, is_unpaid, selected):
    assert select_of_found([event], is_unpaid=is_unpaid, now=NOW) == [event] * selected
