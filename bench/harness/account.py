"""A Stripe account without sockets: takes a target, returns a status and a body, and limits the rate."""

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from testkit.fake_stripe import RateLimits, errors
from testkit.fake_stripe.api import answer, understand
from testkit.fake_stripe.errors import StripeFailureError
from testkit.fake_stripe.store import Store

if TYPE_CHECKING:
    from testkit.fake_stripe.faults import Endpoint

OK, THROTTLED = 200, 429


class StripeAccount:
    """A thread-safe account. `counts` are its responses by endpoint and status."""

    def __init__(self, limits: RateLimits) -> None:
        self.store = Store()
        self.counts: Counter[tuple[Endpoint, int]] = Counter()
        self._limits = limits
        self._counting = threading.Lock()

    def handle(self, target: str) -> tuple[int, bytes]:
        """Return the status and body of a GET; `target` is its path and query."""
        url = urlsplit(target)
        request = understand("GET", url.path, url.query)
        try:
            if reason := self._limits.refusal(request.endpoint):
                raise errors.rate_limited(reason)
            status, body = OK, answer(self.store, request)
        except StripeFailureError as failure:
            status, body = failure.status, failure.body("req_bench")
        with self._counting:
            self.counts[request.endpoint, status] += 1
        return status, json.dumps(body, separators=(",", ":")).encode()
