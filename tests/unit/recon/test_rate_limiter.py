"""Requests are spaced evenly; a 429 halves the rate and success raises it again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.errors import OutOfTime
from recon.stripe.rate_limiter import RateLimiter
from testkit.builders import FakeTime


class LateTime(FakeTime):
    """A clock of a busy machine: a sleep takes `late` seconds longer."""

    late = 0.0

    def sleep(self, seconds):
        super().sleep(seconds + self.late)


@pytest.fixture
def time():
    return LateTime()


@pytest.fixture
def limiter(time):
    return RateLimiter(10, time)


def wait(limiter, time, times=1):
    deadline = time.deadline(100)
    for _ in range(times):
        limiter.wait(deadline, needed_after=0)


def test_calls_are_spaced_evenly_and_the_first_does_not_wait(limiter, time):
    wait(limiter, time, 5)
    assert time.slept == pytest.approx([0.1] * 4)


def test_turn_depends_on_the_share_that_is_allowed_now(time):
    limiter, deadline = RateLimiter(10, time), time.deadline(100)
    for share in (1 / 10, 1, 1 / 10):
        limiter.wait(deadline, 0, lambda share=share: share)
    assert time.slept == pytest.approx([0.1, 1.0])


def test_idle_time_is_not_saved_up_for_a_burst(limiter, time):
    wait(limiter, time)
    time.now += 5
    wait(limiter, time, 3)
    assert time.slept == pytest.approx([0.1, 0.1])


def test_late_request_does_not_delay_the_following_ones(limiter, time):
    time.late = 0.03
    wait(limiter, time, 11)
    assert time.now == pytest.approx(10 * 0.1 + 0.03)


def test_requests_are_never_closer_than_half_the_spacing(limiter, time):
    wait(limiter, time)
    time.late = 0.09
    wait(limiter, time)
    time.late, late = 0.0, time.now
    wait(limiter, time)
    assert time.now - late == pytest.approx(0.05)


def test_429_halves_the_rate_down_to_a_floor_and_success_raises_it(limiter):
    limiter.slow_down()
    assert limiter.rate == 5
    limiter.speed_up()
    assert limiter.rate == 5.25
    for _ in range(10):
        limiter.slow_down()
    assert limiter.rate == 10 / 16
    for _ in range(100):
        limiter.speed_up()
    assert limiter.rate == 10


def test_turn_that_comes_too_late_is_refused_and_not_taken(time):
    limiter, deadline = RateLimiter(1, time), time.deadline(3)
    limiter.wait(deadline, needed_after=3)  # leaves exactly the needed time
    limiter.wait(deadline, needed_after=2)
    with pytest.raises(OutOfTime, match=r"^no request to Stripe is possible before the invocation ends$"):
        limiter.wait(deadline, needed_after=2)
    assert time.now == 1
    limiter.wait(time.deadline(10), needed_after=2)
    assert time.now == 2


@pytest.mark.parametrize(("rate", "seconds"), [(10, 4), (0.5, 6)])
def test_turn_is_refused_if_the_calls_after_it_would_come_too_late(time, rate, seconds):
    """Two more turns take four seconds at the lower rate; at the higher one, the call itself may take two."""
    limiter = RateLimiter(rate, time)
    with pytest.raises(OutOfTime):
        limiter.wait(time.deadline(seconds - 0.01), needed_after=2, turns_after=2)
    limiter.wait(time.deadline(seconds), needed_after=2, turns_after=2)


def test_threads_share_one_rate():
    class StoppedTime(FakeTime):
        def sleep(self, seconds):
            self.slept.append(seconds)

    time = StoppedTime()
    limiter, deadline = RateLimiter(10, time), time.deadline(1000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: limiter.wait(deadline, needed_after=0), range(50)))
    assert sorted(time.slept) == pytest.approx([n / 10 for n in range(1, 50)])
