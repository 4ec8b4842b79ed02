"""Retries: the queue's backoff, the retries within an invocation, and the deadline."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import NotAllowed, OutOfTime, Permanent, StripeThrottled, StripeUnavailable
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


def test_backoff_doubles_from_the_base_to_an_hour():
    waits = [backoff_seconds(receive, 30, lambda: 0.0) for receive in range(1, 11)]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


@pytest.mark.parametrize(("base", "rand", "seconds"), [(100, 0.999999, 75), (100, 0.5, 88), (1, 0.5, 1)])
def test_last_quarter_of_the_backoff_is_random(base, rand, seconds):
    assert backoff_seconds(1, base, lambda: rand) == seconds


@given(st.randoms(use_true_random=False))
def test_nine_waits_outlast_an_outage_of_two_hours(rng: random.Random):
    assert sum(backoff_seconds(receive, 30, rng.random) for receive in range(1, 10)) > 2 * 3600


@given(st.integers(1, 10**6), st.integers(1, 3600), st.floats(0, 1, exclude_max=True))
def test_backoff_is_valid_for_sqs(receive, base, rand):
    assert 1 <= backoff_seconds(receive, base, lambda: rand) <= BACKOFF_CAP_SECONDS


@pytest.mark.parametrize(
    ("timeout", "rand", "seconds"),
    [
        (60, 0.0, 60),
        (60, 0.999999, 360),
        (0.1, 0.0, 1),
        (MAX_VISIBILITY_SECONDS, 0.5, MAX_VISIBILITY_SECONDS),
    ],
)
def test_redeliveries_are_staggered_over_one_to_six_timeouts(timeout, rand, seconds):
    assert stagger_seconds(timeout, lambda: rand) == seconds


@pytest.mark.parametrize(
    ("share", "invocation", "seconds"),
    [
        (working_seconds, 60, 51),
        (stripe_timeout, 60, 10),
        (stripe_timeout, 2, 0.5),
        (listing_seconds, 900, 870),
        (listing_seconds, 60, 30),
        (listing_seconds, 40, 20),
    ],
)
def test_share_of_an_invocation(share, invocation, seconds):
    assert share(invocation) == pytest.approx(seconds)


def failing(*errors):
    left = iter(errors)

    def call():
        if error := next(left, None):
            raise error
        return "done"

    return call


def test_retryable_error_is_retried_and_the_last_one_raised():
    retrying = attempts(3, FakeTime().deadline(60), first=0.2, longest=2.0)
    assert retrying(failing(StripeThrottled(), StripeUnavailable())) == "done"
    with pytest.raises(StripeUnavailable, match="third"):
        retrying(failing(StripeThrottled(), StripeThrottled(), StripeUnavailable("third")))


@pytest.mark.parametrize("error", [Permanent("no"), OutOfTime("no"), NotAllowed("no"), ValueError("no")])
def test_error_that_waiting_cannot_solve_is_not_retried(error):
    call = failing(error)
    with pytest.raises(type(error)):
        attempts(5, FakeTime().deadline(60), first=0.2, longest=2.0)(call)
    assert call() == "done"


@pytest.mark.parametrize(("seconds", "longest", "most"), [(10, 2.0, 3), (4, 0.0, 1)])
def test_no_attempt_starts_after_the_deadline(seconds, longest, most):
    time = FakeTime()
    calls = itertools.count()

    def slow():
        next(calls)
        time.sleep(4)
        raise StripeUnavailable

    with pytest.raises(StripeUnavailable):
        attempts(100, time.deadline(seconds), first=longest / 10, longest=longest)(slow)
    assert next(calls) <= most
    assert time.now <= seconds + 4


def test_wait_is_random_below_a_bound_that_doubles_to_the_longest():
    bounds = [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    longest = [0.0] * len(bounds)
    for _ in range(100):
        time = FakeTime()
        retrying = attempts(8, time.deadline(1000), first=0.2, longest=2.0)
        assert retrying(failing(*[StripeUnavailable()] * 7)) == "done"
        assert all(waited <= bound for waited, bound in zip(time.slept, bounds, strict=True))
        longest = [max(pair) for pair in zip(time.slept, longest, strict=True)]
    # The longest of a hundred waits is above half of its bound.
    assert all(waited > bound / 2 for waited, bound in zip(longest, bounds, strict=True))


def test_deadline_is_over_at_its_moment():
    time = FakeTime(9.9)
    deadline = Deadline(10, time, time.sleep)
    deadline.check()
    time.now = 10
    with pytest.raises(OutOfTime, match=r"^no time left in this invocation$"):
        deadline.check()
