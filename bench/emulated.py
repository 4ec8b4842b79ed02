"""The ordinary night through the deployed stack on the emulator: all is real except AWS and Stripe.

The emulator's own CPU dominates, so the figure says nothing about AWS. It shows that the measured code is
the deployed code.
"""

import time

from bench.harness.table_checks import find_miscounts, find_wrong_orders
from bench.page import number
from bench.shops import UniformShop
from recon.domain.run import RunStatus
from recon.dynamodb.keys import run_key
from recon.dynamodb.table import Table
from recon.timestamps import to_iso, to_run_id
from sandbox.stack import STRIPE_KEY, Parameters, SandboxStack, deployed, wait_until
from testkit.emulator import Emulator
from testkit.emulator.process import EmulatorError
from testkit.fake_stripe import FakeStripe, RateLimits

SESSIONS, CONSUMERS = 1_000, 5
LONGEST_SECONDS = 300.0


def describe_emulated_run() -> str:
    """Return a sentence with the figure, or with the reason why there is none."""
    try:
        seconds = measure_seconds(UniformShop(SESSIONS, now=int(time.time())))
    except EmulatorError as error:
        return f"Through the emulator: not measured, it cannot start here ({str(error).splitlines()[0]}).\n"
    return (
        f"Through the deployed stack on the emulator, cold: {number(SESSIONS)} sessions in {seconds:.1f} s, "
        f"{number(SESSIONS / seconds)} a second, most of it the emulator's own CPU.\n"
    )


def measure_seconds(shop: UniformShop) -> float:
    """Return the seconds from the schedule's event to the run's end.

    Raise AssertionError if the table is wrong afterwards.
    """
    limits = RateLimits(per_second=None, per_endpoint=None)
    with FakeStripe(STRIPE_KEY, limits=limits) as stripe, Emulator() as emulator:
        stripe.store.add_all(shop.sales())
        given: Parameters = {
            "StripeApiBase": stripe.url,
            "StripeMaxRps": 100,
            "ConsumerConcurrency": CONSUMERS,
        }
        with deployed(emulator.client, given) as stack:
            dynamodb = stack.client("dynamodb")
            for order in shop.webhook_orders():
                dynamodb.put_item(TableName=stack.table, Item=order)
            began = time.monotonic()
            stack.start_producer({"trigger": "scheduled", "scheduledTime": to_iso(shop.now)})
            wait_until(lambda: is_done(stack, to_run_id(shop.now)), "the run is done", LONGEST_SECONDS)
            seconds = time.monotonic() - began
            pages = dynamodb.get_paginator("scan").paginate(TableName=stack.table, ConsistentRead=True)
            items = [item for page in pages for item in page["Items"]]
    wrong = find_wrong_orders(shop, items) + find_miscounts(shop, items, to_run_id(shop.now))
    if wrong:
        raise AssertionError(f"{len(wrong)} problems: {'; '.join(wrong[:5])}")
    return seconds


def is_done(stack: SandboxStack, run_id: str) -> bool:
    run = Table(stack.client("dynamodb"), stack.table).get(run_key(run_id))
    return run is not None and run["status"] == RunStatus.DONE
