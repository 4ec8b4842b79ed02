"""All retry numbers, each with its reason.

Each layer has one owner: the SDKs retry a lost connection or a throttled call a few times, tenacity retries
within the invocation what the SDKs do not handle, and the queue retries everything that takes longer. Sleep,
randomness and time are parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tenacity

from recon.errors import NotAllowed, OutOfTime, Retryable

# Stripe's library retries nothing here: it never retries a plain 429, and a second layer below tenacity
# would multiply the attempts.
STRIPE_NETWORK_RETRIES = 0
# Stripe answers in 0.1-0.5 s; the library's default of 80 s is longer than the consumer lives.
STRIPE_TIMEOUT_SECONDS = 10.0
# Three attempts outlast a dropped connection or a short burst; the queue handles outages.
STRIPE_ATTEMPTS = 3
# A producer needs many pages in a row and has minutes for them, but Lambda retries it only twice.
LISTING_ATTEMPTS = 6
# botocore's standard mode retries lost connections, 5xx and throttled calls with jitter. A call that times
# out twice takes about 7 s, less than the share of a minute that is reserved for the commit. A
# transaction has one attempt: `Table.transact` owns its retry, since it checks for new orders before each.
AWS_ATTEMPTS = 2
AWS_CONNECT_TIMEOUT_SECONDS = 1.0
AWS_READ_TIMEOUT_SECONDS = 3.0
# Conflicts on the counters resolve within milliseconds; ten jittered attempts outlast twenty rivals.
TRANSACTION_ATTEMPTS = 10
# If one batch of a few pages fails, all of them are sent again.
SEND_ATTEMPTS = 10
# A producer needs about ten reads to succeed, and each has to outlast a burst of throttling. A missing table
# or permission is still reported within a second.
READ_ATTEMPTS = 5
# Stripe's outages last hours, and no session should wait much longer than the outage.
BACKOFF_CAP_SECONDS = 3600
# The last quarter is random. Full jitter could shrink the whole sequence below a two-hour outage.
BACKOFF_JITTER = 0.25
# SQS allows at most twelve hours.
MAX_VISIBILITY_SECONDS = 43_200
# The share of an invocation that is reserved for committing the fetched sessions and responding.
COMMIT_SHARE = 0.15
# The lookups of a batch may take this share of the time that is left, so that one user whose lookup hangs, or
# who has very many orders, leaves the others of the batch their turn.
LOOKUP_SHARE = 0.5
# Reserved at the end of a producer's invocation: enough to commit the progress and to invoke the next one.
HAND_OVER_SECONDS = 30.0
# One request may take this share of an invocation, so that the rest of the batch still gets its turn.
REQUEST_SHARE = 0.25


def backoff_seconds(receive_count: int, base: int, rand: Callable[[], float]) -> int:
    """Return the seconds until the next receive: `base` doubled per receive up to an hour.

    The last quarter is random; `rand` returns [0, 1). With base 30, nine waits last at least 2 h 17 min.
    """
    doublings = min(receive_count - 1, 20)
    longest = min(base << doublings, BACKOFF_CAP_SECONDS)
    return max(1, round(longest * (1 - BACKOFF_JITTER * rand())))


def stagger_seconds(function_timeout: float, rand: Callable[[], float]) -> int:
    """Return one to six times the function's timeout, so that the messages of a killed batch separate."""
    return min(MAX_VISIBILITY_SECONDS, max(1, round(function_timeout * (1 + 5 * rand()))))


def working_seconds(invocation_seconds: float) -> float:
    """Return the seconds that an invocation may use before it has to commit and respond."""
    return invocation_seconds * (1 - COMMIT_SHARE)


def listing_seconds(invocation_seconds: float) -> float:
    """Return the seconds that a producer may list before it invokes the next one.

    Half a minute is reserved, or half of a short invocation.
    """
    return invocation_seconds - min(HAND_OVER_SECONDS, invocation_seconds / 2)


def stripe_timeout(invocation_seconds: float) -> float:
    """Return the timeout of one request to Stripe in seconds, at most a share of the invocation."""
    return min(STRIPE_TIMEOUT_SECONDS, invocation_seconds * REQUEST_SHARE)


@dataclass(frozen=True)
class Deadline:
    """The end of this invocation's working time, in seconds on a monotonic clock."""

    at: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def remaining(self) -> float:
        return self.at - self.clock()

    def share(self, part: float) -> "Deadline":
        """Return an earlier deadline, after this part of the remaining time."""
        return replace(self, at=self.clock() + max(0.0, self.remaining()) * part)

    def check(self) -> None:
        """Raise OutOfTime if the deadline has passed."""
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
    """Return a caller that retries a function up to `count` attempts within the deadline, with full jitter.

    The last error is raised unchanged. OutOfTime and NotAllowed are never retried: waiting adds neither time
    nor permissions.
    """

    def is_retryable(error: BaseException) -> bool:
        return isinstance(error, on) and not isinstance(error, OutOfTime | NotAllowed)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_retryable),
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


def aws_config(attempts: int = AWS_ATTEMPTS) -> dict[str, Any]:
    """Return the keyword arguments of botocore's Config; `attempts` is the number of tries of one call."""
    return {
        "connect_timeout": AWS_CONNECT_TIMEOUT_SECONDS,
        "read_timeout": AWS_READ_TIMEOUT_SECONDS,
        "retries": {"total_max_attempts": attempts, "mode": "standard"},
        "max_pool_connections": 32,
    }
