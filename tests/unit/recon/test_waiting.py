"""How long a session waits for its payment, and in which nights it is checked."""

import pytest

from recon.domain.outcome import SkipReason
from recon.domain.waiting import ENTRY_LIFE, LONGEST_WAIT, is_due, is_missing_due, is_wait_over, may_wait
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW


def nights_asked(days, missed=()):
    """Return the days after creation in which a session is checked, with an answer an hour later."""
    asked_at, asked = None, []
    for day in range(1, days):
        night = NOW + day * DAY
        if day not in missed and is_due(NOW, asked_at, NOW + ENTRY_LIFE, night):
            asked.append(day)
            asked_at = night + HOUR
    return asked


def test_session_is_checked_every_night_then_one_in_seven():
    asked = nights_asked(401)
    assert asked[:29] == list(range(1, 30))
    assert asked[29:-1] == list(range(36, 400, 7))
    assert asked[-1] == 400


@pytest.mark.parametrize("missed", [(43,), (43, 44), tuple(range(40, 52))])
def test_missed_night_is_made_up_for_in_the_next_one(missed):
    after = [day for day in nights_asked(70, missed) if day > 36]
    assert after[:2] == [missed[-1] + 1, missed[-1] + 8]


@pytest.mark.parametrize(
    ("expires_in", "due"),
    [(LONGEST_WAIT - 1, True), (LONGEST_WAIT, False), (ENTRY_LIFE, False), (None, False)],
)
def test_entry_that_expires_before_the_wait_ends_is_due(expires_in, due):
    expires_at = None if expires_in is None else NOW + expires_in
    assert is_due(NOW, NOW + 49 * DAY, expires_at, NOW + 50 * DAY) is due


def test_next_check_is_due_after_six_and_a_half_days_and_never_of_an_order_missed_for_thirty():
    night = NOW + 60 * DAY
    assert [is_due(NOW, night - 156 * HOUR + late, None, night) for late in (0, 1)] == [True, False]
    assert [is_missing_due(NOW, NOW + 30 * DAY - early) for early in (1, 0)] == [True, False]


def test_three_abandoned_payments_a_day_cost_few_requests_a_night():
    asked_at = dict.fromkeys(range(3 * 400))
    for night in range(366):
        now = NOW + night * DAY
        created = {number: NOW + number // 3 * DAY - HOUR for number in asked_at}
        waiting = [n for n in asked_at if created[n] <= now]
        due = [n for n in waiting if is_due(created[n], asked_at[n], NOW + 900 * DAY, now)]
        asked_at |= dict.fromkeys(due, now + 60)
    assert len(waiting) > 1000
    assert len(due) < 260


@pytest.mark.parametrize(
    ("reason", "age", "waits"),
    [
        (SkipReason.UNPAID, LONGEST_WAIT - 1, True),
        (SkipReason.UNPAID, LONGEST_WAIT, False),
        (SkipReason.AWAITING_CAPTURE, 31 * DAY, True),
        (SkipReason.EXISTS, 31 * DAY, True),
        (SkipReason.PAYMENT_FAILED, 30 * DAY - 1, True),
        (SkipReason.PAYMENT_FAILED, 30 * DAY, False),
    ],
)
def test_wait_ends_by_its_own_date(reason, age, waits):
    assert may_wait(reason, NOW, NOW + age) is waits
    assert is_wait_over(NOW, NOW + age) is (age >= LONGEST_WAIT)
