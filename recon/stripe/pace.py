"""The pace of requests to Stripe: the shares of the allowed rate while a run lists sessions.

The run that lists takes four fifths and the consumers one fifth, or all of it when no run lists. Another run
that lists at the same time, and a dry run beside a run, takes a twentieth. So over any minute the pipeline
makes at most 1.05 times the allowed requests.
"""

from collections.abc import Callable

LISTING_SHARE = 4 / 5
SHARE_BESIDE_LISTING = 1 / 5
SPARE_SHARE = 1 / 20
# How long a consumer believes that no run lists, and that one does, which ends at any moment.
FRESH_SECONDS, LISTED_FRESH_SECONDS = 15, 1
# A run that begins to list waits so long for the consumers to read that.
ANNOUNCED_SECONDS = 20
# Until then it may make this share of a minute's requests: a small shop's whole listing.
EARLY_SHARE = 1 / 20


class ConsumerPace:
    """The share of a consumer's rate that it may use now; thread-safe under the lock of its rate limiter.

    `read` returns until when sessions are listed, or None if that is unknown. `now` returns epoch seconds.
    """

    def __init__(self, read: Callable[[], int | None], now: Callable[[], float]) -> None:
        self._read = read
        self._now = now
        self._listed_until: int | None = None
        self._read_at = float("-inf")

    def learn(self, listed_until: int, read_at: float) -> None:
        """Take over what was read with a batch, at `read_at` (epoch seconds)."""
        self._listed_until, self._read_at = listed_until, read_at

    def share(self) -> float:
        """Return the share, and read the listing again if the last reading is old. It is low if unknown."""
        now = self._now()
        fresh = LISTED_FRESH_SECONDS if self._is_listing(self._read_at) else FRESH_SECONDS
        if now >= self._read_at + fresh:
            self._listed_until, self._read_at = self._read(), now
        return SHARE_BESIDE_LISTING if self._is_listing(now) else 1.0

    def _is_listing(self, now: float) -> bool:
        return self._listed_until is None or now < self._listed_until
