"""The section `backfill`: after an outage every order of a day is missing, and Stripe's limit binds."""

import time

from bench.harness.account import THROTTLED
from bench.harness.runner import measure_pipeline
from bench.page import number, table
from bench.sections import SectionResult
from bench.shops import UniformShop
from testkit.fake_stripe import RateLimits

SESSIONS, CONSUMERS, PER_ENDPOINT = 3_000, 5, 25
MOST_OVER, MOST_THROTTLED = 0.10, 0.01


def measure() -> SectionResult:
    shop = UniformShop(SESSIONS, missing=1, now=int(time.time()))
    limits = RateLimits(per_endpoint=PER_ENDPOINT)
    measurement = measure_pipeline(shop, limits, {"STRIPE_MAX_RPS": str(PER_ENDPOINT)}, CONSUMERS)
    least = SESSIONS / PER_ENDPOINT
    over = measurement.seconds / least - 1
    refused = sum(count for (_, status), count in measurement.stripe.items() if status == THROTTLED)
    share = refused / measurement.stripe.total()
    missed = []
    if over > MOST_OVER:
        missed.append(
            f"a backfill takes at most {MOST_OVER:.0%} more than the limit's own time; it took {over:.1%}"
        )
    if share >= MOST_THROTTLED:
        missed.append(f"less than {MOST_THROTTLED:.0%} of the requests are answered 429; it was {share:.2%}")
    rows = [
        ("the limit's own time", f"{least:.0f} s", ""),
        ("the run, end to end", f"{measurement.seconds:.1f} s, {over:+.1%}", f"at most {MOST_OVER:+.0%}"),
        ("requests to Stripe", number(measurement.stripe.total()), ""),
        ("answered 429", f"{refused}, {share:.2%}", f"under {MOST_THROTTLED:.0%}"),
    ]
    busy = measurement.total("consumer", lambda report: report.busy) / CONSUMERS
    text = f"""{number(SESSIONS)} sessions, all without an order; Stripe takes {PER_ENDPOINT} requests a
second on an endpoint, `STRIPE_MAX_RPS` is {PER_ENDPOINT}, and {CONSUMERS} consumers have a share each.
The table is checked as above. Each consumer was busy for {busy:.0f} s, and no message waited in the queue
for more than {max(measurement.queue_seconds):.0f} s.

{table(("", "measured", "demanded"), rows)}"""
    return SectionResult(text, tuple(missed))
