"""Each rule of the product is switched off once, and the model finds it: so its silence means something."""

import itertools

import pytest

from tests.model.disabled_rules import DISABLED_RULES
from tests.model.driver import play
from tests.proofs import PROVE_ALL

MOST_HISTORIES = 150
RULES = DISABLED_RULES if PROVE_ALL else DISABLED_RULES[::3]


@pytest.mark.parametrize("disabled", RULES, ids=lambda disabled: disabled.rule)
def test_model_finds_a_disabled_rule(disabled):
    """The seed that finds it first is tried first; any of the first 150 histories will do."""
    with disabled.disable():
        for seed in itertools.chain([disabled.seed], range(MOST_HISTORIES)):
            if any(disabled.finds in wrong for wrong in play(seed, **disabled.env).violations):
                return
    pytest.fail(f"{MOST_HISTORIES} histories without {disabled.rule!r}, and nothing is wrong")
