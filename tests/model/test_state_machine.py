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
from tests.model.function_actions import night
from tests.model.model_world import ShopConfig
from tests.model.night_shop import open_night_shop
from tests.model.verdict import check_at_rest
from tests.proofs import PROVE_ALL

EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")
# An action's draws shrink to small numbers: no accident, the first of a list, no wait.
DRAWS = st.randoms(note_method_calls=False, use_true_random=False)
MOST_NIGHTS = 4


def _build_rule(name):
    def act(self, rng):
        getattr(self.shop, name)(rng)

    act.__name__ = name
    return rule(rng=DRAWS)(act)


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
        self.wait_in_scope(wait)
        self.shop.complete_session(rng)

    vars().update({name: _build_rule(name) for name in ACTIONS})

    @precondition(lambda self: self.shop.nights < MOST_NIGHTS)
    @rule(rng=DRAWS)
    def start_night(self, rng):
        self.shop.start_night(rng)

    @precondition(lambda self: 0 < self.shop.nights < MOST_NIGHTS)
    @rule(rng=DRAWS, blind=st.booleans())
    def pass_bad_night(self, rng, blind):
        (self.shop.pass_blind_night if blind else self.shop.skip_night)(rng)

    @rule(seconds=st.integers(1, 10 * MINUTE))
    def wait(self, seconds):
        self.wait_in_scope(seconds)

    def wait_in_scope(self, seconds):
        """Wait, but not past the first night: sessions from before the window of its run are out of scope."""
        until_first = max(0, night(0) - self.shop.now - 1)
        self.shop.wait(seconds if self.shop.nights else min(seconds, until_first))

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
    max_examples=int(EXAMPLES or (50 if PROVE_ALL else 20)),
    stateful_step_count=40,
    derandomize=not EXAMPLES,  # the same examples each time, except for a search
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestNightShop = NightShopMachine.TestCase
