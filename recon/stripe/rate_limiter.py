"""A rate limiter for requests to Stripe: a 429 halves the rate, and successes raise it again in steps."""

import threading
from collections.abc import Callable

from recon.errors import OutOfTime
from recon.retry import Deadline

# The lowest rate as a share of the allowed one: a slower sync would never end.
SLOWEST_SHARE = 1 / 16
# Each success adds this share of the allowed rate: about twenty calls from half to full.
STEP_SHARE = 1 / 40
# A late request does not delay the ones after it, but two requests are never closer than this share of the
# normal spacing.
LEAST_SHARE = 1 / 2


class RateLimiter:
    """Spaces the calls of all threads of one process evenly; thread-safe.

    It allows no bursts: five consumers that burst together exceed Stripe's limit.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._allowed = per_second
        self._rate = per_second
        self._clock = clock
        # When the last call had its turn, and when it really began.
        self._last = self._began = float("-inf")
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Return the current rate in requests per second."""
        return self._rate

    def wait(
        self,
        deadline: Deadline,
        needed_after: float,
        find_share: Callable[[], float] = lambda: 1.0,
        turns_after: int = 0,
    ) -> None:
        """Sleep until this call's turn. `find_share` returns the share of the rate that is allowed now.

        `needed_after` are the seconds that this call may last. `turns_after` further calls must be possible
        when it has ended. If too little time would remain at its turn, raise OutOfTime and take no turn.
        """
        # One thread waits at a time: its turn depends on when the last one really began, and on the rate now.
        with self._turn:
            rate = self._rate * find_share()
            now = self._clock()
            turn = max(self._last + 1 / rate, self._began + LEAST_SHARE / rate, now)
            reserved = max(needed_after, turns_after / rate) if turns_after else 0.0
            if deadline.remaining() - (turn - now) < needed_after + reserved:
                raise OutOfTime("no request to Stripe is possible before the invocation ends")
            if turn > now:
                deadline.sleep(turn - now)
            self._last, self._began = turn, self._clock()

    def slow_down(self) -> None:
        with self._lock:
            self._rate = max(self._rate / 2, self._allowed * SLOWEST_SHARE)

    def speed_up(self) -> None:
        with self._lock:
            self._rate = min(self._rate + self._allowed * STEP_SHARE, self._allowed)
