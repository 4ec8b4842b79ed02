"""The retry numbers: how long the queue waits, what is tried again, and when there is no time left."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import OutOfTime, Permanent, StripeThrottled, StripeUnavailable
from recon.retry import (
    BACKOFF_CAP_SECONDS,
    MAX_VISIBILITY_SECONDS,
    Deadline,
    attempts,
    backoff_seconds,
    listing_seconds,
    stagger_seconds,
    stripe_timeout,
    working_seconds,
)
from testkit.builders import FakeTime


def test_the_wait_doubles_from_thirty_seconds_to_an_hour():
    waits = [backoff_seconds(receive, 30, lambda: 0.0) for receive in range(1, 11)]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_only_the_last_quarter_of_a_wait_is_random():
    assert backoff_seconds(1, 100, lambda: 0.999999) == 75
    assert backoff_seconds(1, 100, lambda: 0.5) == 88
    assert backoff_seconds(1, 1, lambda: 0.5) == 1


@given(st.randoms(use_true_random=False))
def test_nine_waits_outlast_a_stripe_outage_of_two_hours(rng: random.Random):
    assert sum(backoff_seconds(receive, 30, rng.random) for receive in range(1, 10)) > 2 * 3600


@given(st.integers(1, 10**6), st.integers(1, 3600), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_always_one_that_sqs_takes(receive, base, rand):
    assert 1 <= backoff_seconds(receive, base, lambda: rand) <= BACKOFF_CAP_SECONDS


def test_a_batch_that_was_killed_is_scattered_over_one_to_six_timeouts():
    assert stagger_seconds(60, lambda: 0.0) == 60
    assert stagger_seconds(60, lambda: 0.999999) == 360
    assert stagger_seconds(0.1, lambda: 0.0) == 1
    assert stagger_seconds(MAX_VISIBILITY_SECONDS, lambda: 0.5) == MAX_VISIBILITY_SECONDS


def test_part_of_an_invocation_is_kept_for_the_commit_and_no_request_takes_it_all():
    assert working_seconds(60) == pytest.approx(51)
    assert stripe_timeout(60) == 10
    assert stripe_timeout(2) == 0.5


def test_a_producer_keeps_half_a_minute_to_hand_over_and_half_of_a_short_life():
    assert [listing_seconds(life) for life in (900, 60, 40)] == [870, 30, 20]


def failing(*errors):
    left = iter(errors)

    def call():
        if error := next(left, None):
            raise error
        return "done"

    return call


def test_a_transient_error_is_tried_again_and_the_last_one_is_raised_as_it_is():
    time = FakeTime()
    again = attempts(3, time.deadline(60), first=0.2, longest=2.0)
    assert again(failing(StripeThrottled(), StripeUnavailable())) == "done"
    with pytest.raises(StripeUnavailable, match="third"):
        attempts(3, time.deadline(60), first=0.2, longest=2.0)(
            failing(StripeThrottled(), StripeThrottled(), StripeUnavailable("third"))
        )


@pytest.mark.parametrize("error", [Permanent("no"), OutOfTime("no"), ValueError("no")])
def test_what_waiting_does_not_mend_is_not_tried_again(error):
    calls = failing(error)
    with pytest.raises(type(error)):
        attempts(5, FakeTime().deadline(60), first=0.2, longest=2.0)(calls)
    assert calls() == "done"


def test_no_attempt_begins_after_the_deadline():
    time = FakeTime()
    tried = itertools.count()

    def slow():
        next(tried)
        time.sleep(4)
        raise StripeUnavailable

    with pytest.raises(StripeUnavailable):
        attempts(100, time.deadline(10), first=0.2, longest=2.0)(slow)
    assert next(tried) <= 3
    assert time.now <= 14


def test_the_wait_is_jittered_in_full_below_a_bound_that_doubles_up_to_the_longest():
    most = [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    longest = [0.0] * len(most)
    for _ in range(100):
        time = FakeTime()
        again = attempts(8, time.deadline(1000), first=0.2, longest=2.0)
        assert again(failing(*[StripeUnavailable()] * 7)) == "done"
        assert all(waited <= bound for waited, bound in zip(time.slept, most, strict=True))
        longest = [max(pair) for pair in zip(time.slept, longest, strict=True)]
    # Of a hundred the longest is above half of its bound.
    assert all(waited > bound / 2 for waited, bound in zip(longest, most, strict=True))


def test_an_attempt_that_took_all_the_time_there_was_is_the_last():
    time = FakeTime()
    tried = itertools.count()

    def slow():
        next(tried)
        time.sleep(4)
        raise StripeUnavailable

    with pytest.raises(StripeUnavailable):
        attempts(100, time.deadline(4), first=0.0, longest=0.0)(slow)
    assert next(tried) == 1


def test_a_deadline_that_is_over_says_so():
    time = FakeTime()
    deadline = Deadline(10, lambda: time.now, time.sleep)
    time.now = 9.9
    deadline.check()
    time.now = 10
    with pytest.raises(OutOfTime, match=r"^no time left in this invocation$"):
        deadline.check()
