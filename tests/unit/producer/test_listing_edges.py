"""Where a hard limit cuts a slice: the cursor stands before the first second that was not looked at whole."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from producer.dry_run import SessionBudget
from producer.session_lister import AHEAD, AIM, ListedRange
from producer.run_lister import HURRY_SECONDS, MOST_PARTS, PAGE, RunLister, _cursor_before as _before
from recon.stripe.source import Page
from testkit.builders import FakeTime, a_message

SLICE = ListedRange(100, 200, [])


def created(*seconds):
    return [a_message(created=at) for at in seconds]


@pytest.mark.parametrize(
    ("messages", "left", "cursor"),
    [
        (created(110, 120, 130), 1, 119),
        (created(110, 120, 130), 2, 129),
        (created(110, 120), 0, 109),
        # One that says nothing, or something else than was asked for: what comes before it counts.
        (created(110, "then", 130), 1, 109),
        (created(110, True, 130), 1, 109),
        (created(110, 99, 130), 1, 109),
        (created(110, 201, 130), 1, 109),
        (created(100, 201), 0, 99),
        # And where it comes out of turn, it counts as well.
        (created(110, 100), 1, 99),
        (created(200, 201), 0, 199),
        (created(None, 120), 0, 99),
    ],
)
def test_the_cursor_stands_a_second_before_the_first_that_is_left_out(messages, left, cursor):
    assert _before(messages, left, SLICE) == cursor


NEW = SimpleNamespace(livemode=None)  # nothing is known of runs before


def listing(*, left, sent=0, part=500, limit=None):
    enqueue = SimpleNamespace(deadline=FakeTime().deadline(left), settings=SimpleNamespace(max_sessions=part))
    made = RunLister(enqueue, SimpleNamespace(max_sessions=limit, enqueued=sent), NEW, events=None)
    made.sent = sent
    return made


@pytest.mark.parametrize(
    ("state", "held", "done"),
    [
        ({"left": HURRY_SECONDS / 2}, 0, False),
        ({"left": HURRY_SECONDS / 2 - 0.1}, 0, True),
        ({"left": 600, "sent": 499}, 0, False),
        ({"left": 600, "sent": 500}, 0, True),
        ({"left": 600, "sent": 500, "limit": 1000}, 0, False),
        # What is listed already is sent rather than listed again, within reason.
        ({"left": 600, "sent": 500}, PAGE - 1, True),
        ({"left": 600, "sent": 500}, PAGE, False),
        ({"left": 600, "sent": 500 * MOST_PARTS - 1}, PAGE, False),
        ({"left": 600, "sent": 500 * MOST_PARTS}, PAGE, True),
    ],
)
def test_an_invocation_has_done_its_part(state, held, done):
    assert listing(**state)._has_done_its_part(held) is done


def test_an_invocation_wants_what_is_left_of_its_part_or_one_more_than_the_limit():
    assert listing(left=600, sent=100)._demand() == 400
    assert listing(left=600, sent=100, limit=130)._demand() == 31
    assert listing(left=600, sent=200, limit=130)._demand() == 1


def test_a_preview_takes_what_it_has_room_for_and_says_whether_there_was_more():
    room = SessionBudget(3)
    assert (room.demand(), room.take(["a", "b"]), room.truncated) == (4, ["a", "b"], False)
    assert (room.demand(), room.take(["c", "d"]), room.truncated, room.remaining) == (2, ["c"], True, 0)


def test_a_preview_without_a_limit_takes_everything():
    room = SessionBudget(None)
    assert (room.demand(), room.take(["a", "b"]), room.truncated) == (AIM * AHEAD, ["a", "b"], False)


def test_what_stripe_lists_without_an_id_adds_up():
    room, page = SessionBudget(None), Page([], has_more=False, unreadable=2)
    assert room.count_unreadable(page) is page
    room.count_unreadable(replace(page, unreadable=3))
    assert room.unreadable == 5
