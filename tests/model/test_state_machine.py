"""The same actions in any order that Hypothesis chooses; it shrinks what it finds.

HYPOTHESIS_EXAMPLES=2000 pytest tests/model/test_state_machine.py    searches longer, at random
"""

import os
import random
from contextlib import ExitStack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recon.timestamps import HOUR, MINUTE
from tests.model.driver import ACTIONS
from tests.model.model_world import ShopConfig
from tests.model.night_shop import open_night_shop
from tests.model.verdict import check_at_rest

EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")
# An action's draws shrink to small numbers: no accident, the first of a list, no wait.
DRAWS = st.randoms(note_method_calls=False, use_true_random=False)
MOST_NIGHTS = 4


class NightShopMachine(RuleBasedStateMachine):
    """Checks the invariants after every step, and at rest that every paid session has one order."""

    def __init__(self):
        super().__init__()
        self._open = ExitStack()
        self.shop = None

    @initialize(seed=st.integers(0, 2**16), small=st.booleans(), receives=st.integers(1, 3))
    def open_shop(self, seed, small, receives):
        self.shop = self._open.enter_context(open_night_shop(seed, ShopConfig(small, receives)))

    @rule(rng=DRAWS, wait=st.integers(0, 3 * HOUR))
    def sell(self, rng, wait):
        self.shop.open_sessions(rng)
        self.shop.wait(wait)
        self.shop.complete_session(rng)

    @rule(rng=DRAWS, name=st.sampled_from(ACTIONS))
    def act(self, rng, name):
        getattr(self.shop, name)(rng)

    @precondition(lambda self: self.shop.nights < MOST_NIGHTS)
    @rule(rng=DRAWS, fires=st.booleans())
    def begin_night(self, rng, fires):
        (self.shop.start_night if fires else self.shop.skip_night)(rng)

    @rule(seconds=st.integers(1, 10 * MINUTE))
    def wait(self, seconds):
        self.shop.wait(seconds)

    @invariant()
    @precondition(lambda self: self.shop)
    def nothing_is_wrong(self):
        assert self.shop.checks.violations == []

    def teardown(self):
        try:
            if self.shop:
                self.shop.come_to_rest(random.Random(0))
                assert check_at_rest(self.shop) == []
        finally:
            self._open.close()


NightShopMachine.TestCase.settings = settings(
    max_examples=int(EXAMPLES or 50),
    stateful_step_count=40,
    derandomize=not EXAMPLES,  # the same examples each time, except for a search
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestNightShop = NightShopMachine.TestCase
