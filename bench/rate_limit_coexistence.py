"""The section `polite`: whether a shop gets a 429 from Stripe because of a sync at the default rate."""

import threading
import time
from collections import Counter
from itertools import cycle

from bench.harness.account import OK, THROTTLED
from bench.harness.harness import Harness
from bench.harness.runner import RunMeasurement, measure_pipeline
from bench.page import table
from bench.sections import SectionResult
from bench.shops import UniformShop
from recon.config import Settings
from testkit.fake_stripe import RateLimits
from testkit.fake_stripe.faults import Endpoint

# Every order is missing, so the sync requests single sessions, as the shop does, at its highest rate.
SESSIONS, CONSUMERS = 600, 5
LIVE_RPS, PER_ENDPOINT = 10, 25
DEFAULT_RPS = Settings(table="", queue_url="").stripe_max_rps


class LiveShop:
    """The shop's own requests for single sessions, evenly spaced; `statuses` counts the responses."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()

    def run(self, harness: Harness, stopped: threading.Event) -> None:
        ids = cycle([sale.id for sale in harness.shop.sales()])
        while not stopped.wait(1 / LIVE_RPS):
            status, _ = harness.cloud.stripe.handle(f"/v1/checkout/sessions/{next(ids)}")
            self.statuses[status] += 1


def measure() -> SectionResult:
    live = LiveShop()
    shop = UniformShop(SESSIONS, missing=1, now=int(time.time()))
    limits = RateLimits(per_endpoint=PER_ENDPOINT)
    measurement = measure_pipeline(shop, limits, {}, CONSUMERS, background=live.run)
    refused, total = live.statuses[THROTTLED], live.statuses.total()
    missed = (f"the shop gets no 429; it got {refused} in {total} requests",) if refused else ()
    rows = [
        ("the shop", str(total), f"{total / measurement.seconds:.1f}", str(refused)),
        ("the sync", *_sync_row(measurement, live)),
    ]
    text = f"""The shop requests single sessions {LIVE_RPS} times a second while a run with the default
`STRIPE_MAX_RPS` of {DEFAULT_RPS:g} writes {SESSIONS} orders on the same endpoint, which Stripe limits to
{PER_ENDPOINT} a second.

{table(("single sessions, requested by", "requests", "a second", "answered 429"), rows)}"""
    return SectionResult(text, missed)


def _sync_row(measurement: RunMeasurement, live: LiveShop) -> tuple[str, str, str]:
    made, refused = (
        measurement.stripe[Endpoint.RETRIEVE, status] - live.statuses[status] for status in (OK, THROTTLED)
    )
    return str(made + refused), f"{(made + refused) / measurement.seconds:.1f}", str(refused)
