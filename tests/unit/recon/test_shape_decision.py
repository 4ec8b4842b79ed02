"""The decision about a session by the orders found, in both layouts."""

from dataclasses import replace

import pytest

from recon.domain.key_template import MAX_KEY_VALUE
from recon.domain.outcome import SkipReason
from recon.domain.shape import parse_shape
from recon.domain.shape_decision import decide_from_orders, find_skip_reason, knows_key
from recon.domain.table_decision import ExistingOrder
from recon.errors import TableUnavailable, UnknownState
from recon.timestamps import DAY
from testkit.builders import a_message

SHAPE = parse_shape('[find]\nkey = { id = "{metadata.orderId}#{id}" }')
OURS = a_message()
KEYED = a_message(user_id=None, key_values=(("metadata.orderId", "o-1"),))
KEYLESS = replace(KEYED, key_values=(("metadata.orderId", ""),))
ORDER = ExistingOrder("o-1", "", "o-1", None)
BUSY = TableUnavailable("busy")
LATE = OURS.created + 30 * DAY


def decide(message, orders=(), shape=SHAPE, now=OURS.created + 3600, **options):
    return decide_from_orders(message, orders, shape, now=now, ttl_days=1, **options)


def test_session_of_this_layout_without_a_user_is_skipped_unless_a_shape_made_its_message():
    assert decide(OURS, shape=None) is None
    assert decide(OURS, shape=None, is_guarded=True) is SkipReason.REMOVED
    assert decide(replace(OURS, user_id=None), shape=None) is SkipReason.NO_USER
    assert decide(KEYED, shape=None) is None
    assert decide(replace(KEYED, mode="setup"), shape=None) is SkipReason.NOT_A_SALE


@pytest.mark.parametrize(
    ("message", "orders", "now", "reason"),
    [
        (KEYED, (), LATE, SkipReason.EXPIRED),
        (KEYED, (), OURS.created, None),
        (KEYED, [ORDER], LATE, SkipReason.EXISTS),
        (KEYED, BUSY, LATE, BUSY),
        (KEYLESS, BUSY, LATE, SkipReason.NO_KEY),
        (replace(KEYED, mode="setup"), BUSY, LATE, SkipReason.NOT_A_SALE),
        (replace(KEYED, payment_status="unpaid"), (), LATE, None),
        (replace(KEYED, pending=1), (), LATE, None),
    ],
)
def test_session_of_another_layout_is_decided_by_its_key_and_its_order(message, orders, now, reason):
    assert decide(message, orders, now=now) is reason


def test_unknown_word_is_an_error_in_another_layout_too():
    assert isinstance(decide(replace(KEYED, payment_status="later"), now=LATE), UnknownState)


def test_message_of_an_earlier_shape_does_not_say_that_there_is_no_key():
    assert [knows_key(message, SHAPE) for message in (OURS, KEYED, KEYLESS)] == [False, True, True]
    assert find_skip_reason(OURS, SHAPE) is None
    assert (
        find_skip_reason(replace(KEYED, key_values=(("metadata.orderId", "x" * MAX_KEY_VALUE),)), SHAPE)
        is None
    )
    assert find_skip_reason(replace(OURS, user_id=None), None) is SkipReason.NO_USER
