"""A pace for requests: so many a second, halved by a 429, raised back step by step by success."""

import threading
from collections.abc import Callable

from recon.errors import OutOfTime
from recon.retry import Deadline

# Never slower than this share of the allowed pace: a sync that crawls would never end.
SLOWEST_SHARE = 1 / 16
# A success gives this share of the allowed pace back: about twenty calls from half to full.
STEP_SHARE = 1 / 40
# Who is late, since the machine was busy, is followed on time and not later too; but never closer than by
# this share of the spacing.
LEAST_SHARE = 1 / 2


class RateLimiter:
    """Spaces the calls of all threads of one process evenly. Thread-safe.

    Even spacing and no burst: five consumers that burst together are what the limiter punishes.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._allowed = per_second
        self._rate = per_second
        self._clock = clock
        self._next = 0.0
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Requests a second right now."""
        return self._rate

    def wait(self, deadline: Deadline, needed_after: float) -> None:
        """Sleeps until this call's turn. Raises OutOfTime, without taking a turn, when the turn comes
        with less than `needed_after` seconds left to the deadline."""
        # One waits at a time: the next one's turn depends on when this one was really taken.
        with self._turn:
            now = self._clock()
            turn = max(self._next, now)
            if deadline.remaining() - (turn - now) < needed_after:
                raise OutOfTime("no turn at Stripe before the invocation ends")
            if turn > now:
                deadline.sleep(turn - now)
            self._next = max(turn + 1 / self._rate, self._clock() + LEAST_SHARE / self._rate)

    def slow_down(self) -> None:
        with self._lock:
            self._rate = max(self._rate / 2, self._allowed * SLOWEST_SHARE)

    def speed_up(self) -> None:
        with self._lock:
            self._rate = min(self._rate + self._allowed * STEP_SHARE, self._allowed)
