"""The fake Stripe with a share of its answers gone wrong, as a process that ends with its standard input.

It prints one JSON line with its address, and then answers each line that it is told with another:
`{"rate": 0.3}` sets the share, `{"shop": recipe}` adds a shop, `{"forget": recipe}` removes it, `{"heal": 1}`
brings dead sessions back, `{"count": 1}` tells what was injected and how many requests there were.
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
from testkit.shop import Shop

# Longer than a request of a consumer may take, and short enough for a producer to wait for.
HANG_SECONDS = 4.0
KINDS = {FaultKind.RATE_LIMIT: 35, FaultKind.SERVER_ERROR: 35, FaultKind.DROP: 25, FaultKind.HANG: 5}


class Chance(Faults):
    """Beside the faults that are switched on, any request meets one with a probability of `rate`."""

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
        (kind,) = random.choices(list(KINDS), list(KINDS.values()))
        with self._drawing:
            self._drawn[endpoint.value, kind.value] += 1
        return [StripeFault(kind, seconds=HANG_SECONDS if kind is FaultKind.HANG else 0.0)]

    def drawn(self) -> list[list[Any]]:
        """[endpoint, kind, times]."""
        with self._drawing:
            return [[*what, times] for what, times in self._drawn.items()]


def _does(stripe: FakeStripe, faults: Chance, told: dict[str, Any]) -> Any:
    match told:
        case {"rate": rate}:
            faults.rate = rate
        case {"shop": recipe}:
            shop = Shop.from_json(json.dumps(recipe))
            stripe.store.add_all(shop.sessions)
            for session in shop.dead_sessions:
                faults.add(StripeFault(FaultKind.MISSING, session=session))
        case {"forget": recipe}:
            for spec in Shop.from_json(json.dumps(recipe)).sessions:
                stripe.store.remove(spec.id)
            stripe.calls.clear()
        case {"heal": _}:
            faults.clear()
        case {"count": _}:
            return {"faults": faults.drawn(), "requests": stripe.calls.summary()["total"]}
    return {}


def main() -> None:
    faults = Chance()
    key = os.environ["SANDBOX_STRIPE_KEY"]
    with FakeStripe(key, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        stripe.faults = faults
        print(json.dumps({"url": stripe.url}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_does(stripe, faults, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
