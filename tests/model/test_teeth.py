"""The product broken by hand, one rule at a time: the model finds each, so its silence means something."""

import itertools

import pytest

from tests.model.driver import BAD_NIGHTS, play
from tests.model.mutations import MUTATIONS

MOST_HISTORIES = 150


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_the_model_finds_what_a_missing_rule_breaks(mutation):
    """Begins with the seed that found it first; any of the first 450 nights will do."""
    with mutation.applied():
        for seed in itertools.chain([mutation.seed], range(MOST_HISTORIES)):
            if any(mutation.finds in wrong for wrong in play(seed, **mutation.env).wrong):
                return
    pytest.fail(f"{MOST_HISTORIES * BAD_NIGHTS} nights without {mutation.rule!r}, and nothing is wrong")
