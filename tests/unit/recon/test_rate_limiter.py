"""Requests are spaced; a 429 halves the pace and success raises it again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.errors import OutOfTime
from recon.stripe.rate_limiter import RateLimiter
from testkit.builders import FakeTime


def paced(per_second=10.0):
    time = FakeTime()
    return RateLimiter(per_second, time), time


def test_calls_are_spaced_evenly_and_the_first_does_not_wait():
    rate_limiter, time = paced()
    deadline = time.deadline(100)
    for _ in range(5):
        rate_limiter.wait(deadline, needed_after=0)
    assert time.slept == pytest.approx([0.1] * 4)


def test_idle_time_is_not_saved_up_for_a_burst():
    rate_limiter, time = paced()
    deadline = time.deadline(100)
    rate_limiter.wait(deadline, needed_after=0)
    time.now += 5
    for _ in range(3):
        rate_limiter.wait(deadline, needed_after=0)
    assert time.slept == pytest.approx([0.1, 0.1])


class Oversleeping(FakeTime):
    """A busy machine: whoever sleeps wakes so much later."""

    late = 0.0

    def sleep(self, seconds):
        super().sleep(seconds + self.late)


def test_a_late_turn_does_not_delay_all_that_follow():
    time = Oversleeping()
    time.late = 0.03
    rate_limiter, began = RateLimiter(10, time), time.now
    for _ in range(11):
        rate_limiter.wait(time.deadline(100), needed_after=0)
    assert time.now - began == pytest.approx(10 * 0.1 + 0.03)


def test_a_turn_never_comes_closer_to_a_late_one_than_half_of_the_spacing():
    time = Oversleeping()
    rate_limiter = RateLimiter(10, time)
    rate_limiter.wait(time.deadline(100), needed_after=0)
    time.late = 0.09
    rate_limiter.wait(time.deadline(100), needed_after=0)
    time.late, late = 0.0, time.now
    rate_limiter.wait(time.deadline(100), needed_after=0)
    assert time.now - late == pytest.approx(0.05)


def test_a_429_halves_the_pace_down_to_a_floor_and_success_raises_it_to_what_is_allowed():
    rate_limiter, _ = paced()
    rate_limiter.slow_down()
    assert rate_limiter.rate == 5
    for _ in range(10):
        rate_limiter.slow_down()
    assert rate_limiter.rate == 10 / 16
    for _ in range(100):
        rate_limiter.speed_up()
    assert rate_limiter.rate == 10


def test_a_turn_that_comes_too_late_is_refused_and_not_taken():
    rate_limiter, time = paced(per_second=1)
    deadline = time.deadline(3)
    rate_limiter.wait(deadline, needed_after=2)
    rate_limiter.wait(deadline, needed_after=2)
    with pytest.raises(OutOfTime, match=r"^no turn at Stripe before the invocation ends$"):
        rate_limiter.wait(deadline, needed_after=2)
    assert time.now == 1
    rate_limiter.wait(time.deadline(10), needed_after=2)
    assert time.now == 2


def test_threads_share_one_pace():
    rate_limiter, time = paced()
    deadline = time.deadline(1000)
    turns = []

    class Recording(FakeTime):
        def sleep(self, seconds):
            turns.append(seconds)

    recording = Recording()
    deadline = recording.deadline(1000)
    rate_limiter = RateLimiter(10, recording)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: rate_limiter.wait(deadline, needed_after=0), range(50)))
    assert sorted(turns) == pytest.approx([n / 10 for n in range(1, 50)])


def test_one_success_gives_a_fortieth_of_the_allowed_pace_back():
    rate_limiter, _ = paced(per_second=40)
    rate_limiter.slow_down()
    rate_limiter.speed_up()
    assert rate_limiter.rate == 21


def test_a_turn_that_leaves_just_what_is_needed_is_taken():
    rate_limiter, time = paced()
    rate_limiter.wait(time.deadline(2), needed_after=2)
    assert time.slept == []
