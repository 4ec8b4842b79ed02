"""The only retry numbers, each with its reason. Sleep, randomness and time are parameters.

One owner per layer: the SDKs repeat a lost connection or a throttled call a few times, tenacity repeats
inside the invocation what the SDKs do not know, and the queue repeats everything that takes longer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tenacity

from recon.errors import NotAllowed, OutOfTime, Retryable

# Stripe's library retries nothing by itself here: a plain 429 it never retries, and a second layer under
# tenacity would multiply the attempts.
STRIPE_NETWORK_RETRIES = 0
# Stripe answers in 0.1-0.5 s; the library's default of 80 s is longer than the consumer lives.
STRIPE_TIMEOUT_SECONDS = 10.0
# Three tries ride out a dropped connection or a short burst; an outage is the queue's business.
STRIPE_ATTEMPTS = 3
# A producer needs many pages in a row and has minutes for them, while Lambda repeats it only twice.
LISTING_ATTEMPTS = 6
# botocore's standard mode: lost connections, 5xx and throttling of single calls, with jitter. A call that
# hangs to the end takes some 7 s, less than the share of a minute that is kept for the commit.
AWS_ATTEMPTS = 2
AWS_CONNECT_TIMEOUT_SECONDS = 1.0
AWS_READ_TIMEOUT_SECONDS = 3.0
# Conflicts on the counters resolve within milliseconds; ten jittered tries outlast twenty rivals.
TRANSACTION_ATTEMPTS = 10
# A slice is sent anew as a whole where one of its batches is not taken.
SEND_ATTEMPTS = 10
# A producer makes some ten reads that nothing can do without: each rides out a burst of throttling by itself.
# A table that is missing or forbidden is still said within a second.
READ_ATTEMPTS = 5
# An hour at most: a Stripe outage is over within hours, and no retry should wait longer than that for it.
BACKOFF_CAP_SECONDS = 3600
# The last quarter is random. Full jitter could shrink the whole sequence below a two-hour outage.
BACKOFF_JITTER = 0.25
# SQS refuses more than twelve hours.
MAX_VISIBILITY_SECONDS = 43_200
# The share of an invocation that no call to Stripe may touch: it commits what was fetched and answers.
COMMIT_SHARE = 0.15
# Kept of a producer's life: enough to commit a cursor and to invoke the next one.
HAND_OVER_SECONDS = 30.0
# One request may take this share of an invocation, so that the rest of the batch still gets its turn.
REQUEST_SHARE = 0.25


def backoff_seconds(receive_count: int, base: int, rand: Callable[[], float]) -> int:
    """Seconds until the next receive: `base` doubled per receive up to an hour, the last quarter random.

    `rand` gives [0, 1). With base 30 and nine waits it lasts at least 2 h 17 min.
    """
    doublings = min(receive_count - 1, 20)
    longest = min(base << doublings, BACKOFF_CAP_SECONDS)
    return max(1, round(longest * (1 - BACKOFF_JITTER * rand())))


def stagger_seconds(function_timeout: float, rand: Callable[[], float]) -> int:
    """One to six times the function's timeout, so that a batch killed once does not meet again."""
    return min(MAX_VISIBILITY_SECONDS, max(1, round(function_timeout * (1 + 5 * rand()))))


def working_seconds(invocation_seconds: float) -> float:
    """What an invocation may spend before it has to commit and answer."""
    return invocation_seconds * (1 - COMMIT_SHARE)


def listing_seconds(invocation_seconds: float) -> float:
    """What a producer may spend before it hands over: half a minute is kept, or half of a short life."""
    return invocation_seconds - min(HAND_OVER_SECONDS, invocation_seconds / 2)


def stripe_timeout(invocation_seconds: float) -> float:
    """Seconds for one request to Stripe, never more than a share of the invocation."""
    return min(STRIPE_TIMEOUT_SECONDS, invocation_seconds * REQUEST_SHARE)


@dataclass(frozen=True)
class Deadline:
    """When this invocation has to be through. Seconds on a monotonic clock."""

    at: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def remaining(self) -> float:
        return self.at - self.clock()

    def check(self) -> None:
        """Raises OutOfTime when it is over."""
        if self.remaining() <= 0:
            raise OutOfTime("no time left in this invocation")


def attempts(
    count: int,
    deadline: Deadline,
    *,
    first: float,
    longest: float,
    on: tuple[type[Retryable], ...] = (Retryable,),
) -> tenacity.Retrying:
    """Runs a callable up to `count` times while the deadline allows, waiting with full jitter in between.

    The last error is raised as it is. OutOfTime is never repeated: waiting does not make more time. Nor is
    NotAllowed: it grants no permission.
    """

    def again(error: BaseException) -> bool:
        return isinstance(error, on) and not isinstance(error, OutOfTime | NotAllowed)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(again),
        stop=tenacity.stop_after_attempt(count) | _StopBeforeDeadline(deadline),
        wait=tenacity.wait_random_exponential(multiplier=first, max=longest),
        sleep=deadline.sleep,
        reraise=True,
    )


class _StopBeforeDeadline(tenacity.stop.stop_base):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return self._deadline.remaining() <= retry_state.upcoming_sleep


def aws_config() -> dict[str, Any]:
    """The keyword arguments of botocore's Config, the same for every client."""
    return {
        "connect_timeout": AWS_CONNECT_TIMEOUT_SECONDS,
        "read_timeout": AWS_READ_TIMEOUT_SECONDS,
        "retries": {"total_max_attempts": AWS_ATTEMPTS, "mode": "standard"},
        "max_pool_connections": 32,
    }
