"""Shops over three weeks of bad luck: whatever the seed, every paid session ends with exactly one order.

SIMULATION_SEEDS=300 pytest tests/simulation    as many shops as that
SIMULATION_SEED=17 pytest tests/simulation      one shop once more
"""

import os

import pytest

from tests.simulation.history import history_of
from tests.simulation.plans import plan_of
from tests.simulation.verdict import report, wrong_of

DEFAULT_SEEDS = 10
# Shops that once lost or doubled an order, or miscounted a run:
FOUND = (
    34,  # paid between the listing and the fetch: no event of it to fence off
    39,  # left to the next run for a young payment, and older than the next run looks
    85,  # as 34
    122,  # as 39
    247,  # settled by a message of a producer that died: its successor did not count it
)


def seeds():
    if one := os.environ.get("SIMULATION_SEED"):
        return [int(one)]
    return sorted({*range(int(os.environ.get("SIMULATION_SEEDS", DEFAULT_SEEDS))), *FOUND})


@pytest.mark.parametrize("seed", seeds())
def test_every_paid_session_has_exactly_one_order(account, seed):
    with history_of(plan_of(seed), account) as history:
        found = wrong_of(history)
        assert not found, report(history, found)


def test_the_same_seed_is_the_same_history(account):
    stories = []
    for _ in range(2):
        with history_of(plan_of(3), account) as history:
            stories.append((history.lines, history.world.memory.dump()))
    assert stories[0] == stories[1]


@pytest.mark.parametrize(
    "words",
    [
        "producer dies: Killed",
        "producer dies: KeyRejected",
        "no_events",
        "comes back at receive 10",
        "is known to the webhook, which does nothing",
        "is acknowledged by a proxy",
        "and Stripe makes no event of it",
        "settles, paid",
        "expires",
    ],
)
def test_the_bad_luck_is_there(stories, words):
    assert any(words in line for line in stories)


@pytest.fixture(scope="module")
def stories(account):
    found = []
    for seed in range(4):
        with history_of(plan_of(seed), account) as history:
            found += [line for _, _, line in history.lines]
    return found
