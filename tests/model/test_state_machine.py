"""The same actions in any order that Hypothesis thinks of, which makes what it finds as short as it can be.

HYPOTHESIS_EXAMPLES=2000 pytest tests/model/test_state_machine.py    searches for longer, at random
"""

import os
import random
from contextlib import ExitStack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recon.timestamps import HOUR, MINUTE
from tests.model.model_world import Shape
from tests.model.night_shop import night_shop
from tests.model.verdict import wrong_at_rest

EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")
# Every draw of an action: shrunk to small numbers, which mean no accident, the first of a list, no wait.
DRAWS = st.randoms(note_method_calls=False, use_true_random=False)
MOST_NIGHTS = 4


def _action(name):
    def act(self, rng):
        getattr(self.shop, name)(rng)

    act.__name__ = name
    return rule(rng=DRAWS)(act)


class NightShopMachine(RuleBasedStateMachine):
    """After every step what must never be wrong is not; at rest every paid session has one order."""

    def __init__(self):
        super().__init__()
        self._open = ExitStack()
        self.shop = None

    @initialize(seed=st.integers(0, 2**16), small=st.booleans(), receives=st.integers(1, 3))
    def opens_the_shop(self, seed, small, receives):
        self.shop = self._open.enter_context(night_shop(seed, Shape(small, receives)))

    @rule(rng=DRAWS, wait=st.integers(0, 3 * HOUR))
    def sells(self, rng, wait):
        self.shop.opens(rng)
        self.shop.waits(wait)
        self.shop.completes(rng)

    settles = _action("settles")
    hears = _action("hears")
    hears_twice = _action("hears_twice")
    night_falls = precondition(lambda self: self.shop.nights < MOST_NIGHTS)(_action("night_falls"))
    asks_by_hand = _action("asks_by_hand")
    produces = _action("produces")
    consumes = _action("consumes")
    goes_on = precondition(lambda self: self.shop.paused)(_action("goes_on"))
    duplicates = _action("duplicates")
    redrives = _action("redrives")
    rotates_the_key = _action("rotates_the_key")
    mends_the_key = _action("mends_the_key")
    waits_for_a_message = _action("waits_for_a_message")

    @rule(seconds=st.integers(1, 10 * MINUTE))
    def waits(self, seconds):
        self.shop.waits(seconds)

    @invariant()
    @precondition(lambda self: self.shop)
    def nothing_is_wrong(self):
        assert self.shop.books.wrong == []

    def teardown(self):
        try:
            if self.shop:
                self.shop.comes_to_rest(random.Random(0))
                assert wrong_at_rest(self.shop) == []
        finally:
            self._open.close()


NightShopMachine.TestCase.settings = settings(
    max_examples=int(EXAMPLES or 50),
    stateful_step_count=40,
    # The same examples each time, unless somebody searches.
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestNightShop = NightShopMachine.TestCase
