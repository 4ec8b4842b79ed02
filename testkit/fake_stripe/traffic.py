"""The log of requests, and the rate limits."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testkit.fake_stripe.faults import Endpoint

# Stripe's published limits for a live account, in requests per second.
GLOBAL_LIMIT = 100
ENDPOINT_LIMIT = 25

# The status of a request whose connection ended without an answer.
NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One request and the status of its answer. `at` is in monotonic seconds."""

    endpoint: Endpoint
    session: str | None
    status: int
    at: float


class Calls:
    """The log of every request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log: list[LoggedCall] = []

    def __len__(self) -> int:
        return len(self._log)

    def record(self, call: LoggedCall) -> None:
        with self._lock:
            self._log.append(call)

    def log(self) -> list[LoggedCall]:
        with self._lock:
            return list(self._log)

    def clear(self) -> None:
        with self._lock:
            self._log.clear()

    def count(
        self, endpoint: Endpoint | None = None, *, status: int | None = None, session: str | None = None
    ) -> int:
        """Count the requests that match all given arguments."""
        return sum(
            endpoint in (None, call.endpoint)
            and status in (None, call.status)
            and session in (None, call.session)
            for call in self.log()
        )

    def summary(self) -> dict[str, Any]:
        """Return counts by endpoint and status: `{"total": 3, "endpoints": {"list": {"200": 3}}}`."""
        counted = Counter((call.endpoint.value, str(call.status)) for call in self.log())
        endpoints: dict[str, dict[str, int]] = {}
        for (endpoint, status), number in sorted(counted.items()):
            endpoints.setdefault(endpoint, {})[status] = number
        return {"total": sum(counted.values()), "endpoints": endpoints}


class RateLimits:
    """Limits per sliding second, for all requests and for each endpoint. None is no limit."""

    def __init__(
        self,
        per_second: int | None = GLOBAL_LIMIT,
        per_endpoint: int | None = ENDPOINT_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_second = per_second
        self.per_endpoint = per_endpoint
        self._clock = clock
        self._lock = threading.Lock()
        self._all: deque[float] = deque()
        self._by_endpoint: defaultdict[Endpoint, deque[float]] = defaultdict(deque)

    def refusal(self, endpoint: Endpoint) -> str | None:
        """Return Stripe's reason for refusing a request, or None. Refused requests do not count."""
        with self._lock:
            now = self._clock()
            if _is_full(self._all, self.per_second, now):
                return "global-rate"
            if _is_full(self._by_endpoint[endpoint], self.per_endpoint, now):
                return "endpoint-rate"
            self._all.append(now)
            self._by_endpoint[endpoint].append(now)
            return None


def _is_full(recent: deque[float], limit: int | None, now: float) -> bool:
    while recent and recent[0] <= now - 1:
        recent.popleft()
    return limit is not None and len(recent) >= limit
