"""Any number of sessions through the real producer and the fake Stripe: calls, hops, and every session once.

`make prove VOLUME=1000000` for more, on demand.
"""

import json
import os
import random

import pytest

from recon.timestamps import DAY
from testkit.builders import NOW
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import SCHEDULED

END = NOW - 600
SIZES = [int(os.environ["VOLUME"])] if "VOLUME" in os.environ else [10_000]


def evenly(count):
    return [END - n * DAY // count for n in range(count)]


def in_one_hour(count):
    """Every second of one hour full, and a quiet day around it."""
    return [END - 40_000 - n * 3600 // count for n in range(count - 300)] + [
        END - n * 280 for n in range(300)
    ]


def in_bursts(count):
    """Half of them in flash sales of single seconds, at random."""
    rng = random.Random(count)
    seconds = [END - rng.randrange(DAY) for _ in range(20)]
    return [rng.choice(seconds) for _ in range(count // 2)] + evenly(count - count // 2)


def sells(world, times):
    # Each completed before the grace began, whenever it was created.
    world.stripe.store.add_all(
        SessionSpec(f"cs_test_{n:07}", created, completed_at=END, lines=()) for n, created in enumerate(times)
    )


def produced(world):
    """The run's record after all its invocations, and how many there were."""
    world.produce(SCHEDULED)
    invocations = 1
    while world.hops:
        world.produce(world.hops.pop(0))
        invocations += 1
    return world.run(), invocations


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("shape", [evenly, in_bursts])
def test_any_volume_is_enqueued_once_in_few_calls_without_an_operator(world, shape, count):
    sells(world, shape(count))
    run, invocations = produced(world)
    assert (run["enqueued"], run["listed"], run["truncated"]) == (count, True, False)
    sent = [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]
    assert len(sent) == len(set(sent)) == count
    assert world.stripe.calls.count(Endpoint.LIST) <= 1.3 * count / 100 + 3
    assert invocations <= count / world.settings.max_sessions + 2


def test_twenty_thousand_sessions_in_one_hour_of_full_seconds(world):
    sells(world, in_one_hour(20_000))
    run, _ = produced(world)
    assert run["enqueued"] == 20_000
    sent = {json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)}
    assert len(sent) == 20_000
    assert world.stripe.calls.count(Endpoint.LIST) <= 1.3 * 200 + 3


@pytest.mark.parametrize("maximum", [1, 100, 801, 5000])
def test_a_hard_maximum_is_exact_at_any_size(world, maximum):
    sells(world, evenly(6000))
    world.produce({**SCHEDULED, "maxSessions": maximum})
    assert not world.hops
    assert (world.run()["enqueued"], world.run()["truncated"]) == (maximum, True)
    assert len(world.memory_sqs.bodies(world.queue)) == maximum
