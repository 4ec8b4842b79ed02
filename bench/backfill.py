"""The section `backfill`: after an outage every order of a day is missing, and Stripe's limit binds.

Beside it are scattered losses, which are cheaper to fetch one by one.
"""

import time
from collections import Counter
from collections.abc import Iterator

from bench.harness.account import THROTTLED
from bench.harness.doubles import REACH
from bench.harness.runner import measure_pipeline
from bench.harness.transports import EXPANDED_SESSION
from bench.machine import find_slowdown, time_work
from bench.page import number, table
from bench.sections import SectionResult
from bench.shops import UniformShop
from testkit.fake_stripe import Endpoint, RateLimits

SESSIONS, CONSUMERS, PER_ENDPOINT = 3_000, 5, 25
MOST_REQUESTS, LEAST_SPEED, MOST_THROTTLED = 0.15, 150, 0.005
SCATTERED_SESSIONS, SCATTERED = 5_000, 200


def measure() -> SectionResult:
    shop = UniformShop(SESSIONS, missing=1, now=int(time.time()))
    limits = RateLimits(per_endpoint=PER_ENDPOINT)
    work = time_work()
    measurement = measure_pipeline(shop, limits, {"STRIPE_MAX_RPS": str(PER_ENDPOINT)}, CONSUMERS)
    slowdown = find_slowdown(work + time_work())
    requests, speed = measurement.stripe.total() / SESSIONS, SESSIONS / measurement.seconds
    refused = sum(count for (_, status), count in measurement.stripe.items() if status == THROTTLED)
    share = refused / measurement.stripe.total()
    rows = [
        ("the run, end to end", f"{measurement.seconds:.1f} s", ""),
        ("orders a second", f"{speed:.0f}", f"at least {LEAST_SPEED}"),
        ("requests to Stripe", number(measurement.stripe.total()), ""),
        ("requests an order", f"{requests:.3f}", f"at most {MOST_REQUESTS}"),
        ("answered 429", f"{refused}, {share:.2%}", f"under {MOST_THROTTLED:.1%}"),
        ("one request for each order, at this limit", f"{SESSIONS / PER_ENDPOINT:.0f} s", ""),
    ]
    busy = measurement.total("consumer", lambda report: report.busy) / CONSUMERS
    text = f"""{number(SESSIONS)} sessions, all without an order; Stripe takes {PER_ENDPOINT} requests a
second on an endpoint, and a list {EXPANDED_SESSION * 1000:.0f} ms more for each session with its line items.
`STRIPE_MAX_RPS` is {PER_ENDPOINT}, and {CONSUMERS} consumers have a share each. A receive takes any of
the {REACH} oldest messages. The table is checked as above. Each consumer was busy for {busy:.0f} s, and CPU
time alone takes {measurement.floor:.1f} s on all cores. Equal pieces of work took {slowdown:.2f} times as
long as the fastest of them, before and after the run; the demand on its speed is relaxed by this factor.

{table(("", "measured", "demanded"), rows)}"""
    scattered = count_scattered()
    missed = find_missed(requests, speed, share, slowdown)
    return SectionResult(f"{text}\n{scattered.markdown}", (*missed, *scattered.missed))


def find_missed(requests: float, speed: float, throttled: float, slowdown: float) -> Iterator[str]:
    """Yield the demands that were missed, that on the speed by the machine's measured slowdown.

    `requests` are those of an order, `speed` is in orders a second, and `throttled` is a share of 1.
    """
    if requests > MOST_REQUESTS:
        yield f"an order takes at most {MOST_REQUESTS} requests to Stripe; it took {requests:.3f}"
    if speed * slowdown < LEAST_SPEED:
        yield (
            f"at least {LEAST_SPEED} orders a second are written; it was {speed:.0f}, on a machine slowed "
            f"down {slowdown:.2f} times"
        )
    if throttled >= MOST_THROTTLED:
        yield f"under {MOST_THROTTLED:.1%} of the requests are answered 429; it was {throttled:.2%}"


def count_scattered() -> SectionResult:
    """Count the requests where one session in 25 is missing: one each, and at most one more a batch."""
    shop = UniformShop(SCATTERED_SESSIONS, missing=SCATTERED / SCATTERED_SESSIONS, now=int(time.time()))
    limits = RateLimits(per_second=None, per_endpoint=None)
    measurement = measure_pipeline(shop, limits, {"STRIPE_MAX_RPS": "100"}, CONSUMERS)
    batches = sum(report.invocations for report in measurement.reports if report.role == "consumer")
    requests = Counter[Endpoint]()
    for (endpoint, _), count in measurement.stripe.items():
        requests[endpoint] += count
    listing = SCATTERED_SESSIONS // 100 + 12
    single, lists = requests[Endpoint.RETRIEVE], requests[Endpoint.LIST] + requests[Endpoint.PRODUCTS]
    made, most = single + lists, SCATTERED + listing + batches
    text = f"""Of {number(SCATTERED_SESSIONS)} sessions in another run, {SCATTERED} scattered ones are
missing. It makes {single} requests for single sessions and {lists} for lists, of which listing the
window takes up to {listing}. That is {made}; demanded is at most one for each order
and one more in each of the {batches} batches, which is {most}.
"""
    missed = f"scattered orders take at most {most} requests to Stripe; they took {made}"
    return SectionResult(text, (missed,) if made > most else ())
