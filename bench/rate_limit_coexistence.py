"""The default pace beside a shop at work: does the shop ever hear 429 because of the sync?"""

import threading
import time
from collections import Counter
from itertools import cycle

from bench.page import table
from bench.sections import Measured
from bench.stage.account import OK, THROTTLED
from bench.stage.runner import Played, pipeline
from bench.stage.shop import Shop
from bench.stage.stage import Stage
from recon.config import Settings
from testkit.fake_stripe import RateLimits
from testkit.fake_stripe.faults import Endpoint

# Every order is missing, so that the sync asks for single sessions as fast as it may: the shop's endpoint.
SESSIONS, CONSUMERS = 600, 5
LIVE_RPS, PER_ENDPOINT = 10, 25
DEFAULT_RPS = Settings(table="", queue_url="").stripe_max_rps


class Live:
    """The shop's own requests for single sessions, evenly, until it is told to stop."""

    def __init__(self) -> None:
        self.heard: Counter[int] = Counter()

    def __call__(self, stage: Stage, stopped: threading.Event) -> None:
        ids = cycle([sale.id for sale in stage.shop.sales()])
        while not stopped.wait(1 / LIVE_RPS):
            status, _ = stage.cloud.stripe.answers(f"/v1/checkout/sessions/{next(ids)}")
            self.heard[status] += 1


def measured() -> Measured:
    live = Live()
    shop = Shop(SESSIONS, 1, int(time.time()))
    played = pipeline(shop, RateLimits(per_endpoint=PER_ENDPOINT), {}, CONSUMERS, beside=live)
    refused, asked = live.heard[THROTTLED], live.heard.total()
    missed = (f"the shop hears no 429; it heard {refused} among {asked}",) if refused else ()
    rows = [
        ("the shop", str(asked), f"{asked / played.seconds:.1f}", str(refused)),
        ("the sync", *_of_sync(played, live)),
    ]
    text = f"""The shop asks for single sessions {LIVE_RPS} times a second while a run with the default
`STRIPE_MAX_RPS` of {DEFAULT_RPS:g} writes {SESSIONS} orders on the same endpoint, which Stripe limits to
{PER_ENDPOINT} a second.

{table(("single sessions, asked for by", "requests", "a second", "answered 429"), rows)}"""
    return Measured(text, missed)


def _of_sync(played: Played, live: Live) -> tuple[str, str, str]:
    made, refused = (
        played.stripe[Endpoint.RETRIEVE, status] - live.heard[status] for status in (OK, THROTTLED)
    )
    return str(made + refused), f"{(made + refused) / played.seconds:.1f}", str(refused)
