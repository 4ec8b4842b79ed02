"""The fake Stripe with a share of faulty answers, as a process that ends when its standard input is closed.

It prints one JSON line with its URL, and answers each line with another one: `{"rate": 0.3}` sets the share
of faults, `{"shop": recipe}` adds a shop, `{"forget": recipe}` removes it, `{"heal": 1}` brings dead sessions
back, and `{"count": 1}` returns the injected faults and the number of requests.
"""

import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Collection
from typing import Any

from testkit.fake_stripe import FakeStripe, RateLimits
from testkit.fake_stripe.faults import Endpoint, FaultKind, Faults, StripeFault
from testkit.shop import shop_from_json

# Longer than a consumer waits for an answer, and short enough for a producer.
HANG_SECONDS = 4.0
FAULT_WEIGHTS = {FaultKind.RATE_LIMIT: 35, FaultKind.SERVER_ERROR: 35, FaultKind.DROP: 25, FaultKind.HANG: 5}


class RandomFaults(Faults):
    """Faults that any request meets with a probability of `rate`, in addition to those that are switched
    on."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0
        self._drawn: Counter[tuple[str, str]] = Counter()
        self._drawing = threading.Lock()

    def take(
        self, endpoint: Endpoint, session: str | None = None, expanded: Collection[str] = ()
    ) -> list[StripeFault]:
        if random.random() >= self.rate:
            return super().take(endpoint, session, expanded)
        (kind,) = random.choices(list(FAULT_WEIGHTS), list(FAULT_WEIGHTS.values()))
        with self._drawing:
            self._drawn[endpoint.value, kind.value] += 1
        return [StripeFault(kind, seconds=HANG_SECONDS if kind is FaultKind.HANG else 0.0)]

    def count_drawn(self) -> list[list[Any]]:
        """Return [endpoint, kind, times] of each kind of fault."""
        with self._drawing:
            return [[*what, times] for what, times in self._drawn.items()]


def _execute(stripe: FakeStripe, faults: RandomFaults, command: dict[str, Any]) -> Any:
    match command:
        case {"rate": rate}:
            faults.rate = rate
        case {"shop": recipe}:
            shop = shop_from_json(json.dumps(recipe))
            stripe.store.add_all(shop.sessions)
            for session in shop.dead_sessions:
                faults.add(StripeFault(FaultKind.MISSING, session=session))
        case {"forget": recipe}:
            for spec in shop_from_json(json.dumps(recipe)).sessions:
                stripe.store.remove(spec.id)
            stripe.calls.clear()
        case {"heal": _}:
            faults.clear()
        case {"count": _}:
            return {"faults": faults.count_drawn(), "requests": stripe.calls.summary()["total"]}
    return {}


def main() -> None:
    faults = RandomFaults()
    key = os.environ["SANDBOX_STRIPE_KEY"]
    with FakeStripe(key, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        stripe.faults = faults
        print(json.dumps({"url": stripe.url}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_execute(stripe, faults, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
