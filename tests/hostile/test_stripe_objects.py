"""Sessions as Stripe might answer them one day: every field that the pinned library knows, replaced by
everything that a field can be. Each becomes a whole order, a named skip or a named error, and never its
neighbours' trouble.

HOSTILE=all pytest tests/hostile    every field in every way, instead of a slice
"""

import os
from itertools import batched

import pytest

from recon.domain.message import build_message
from testkit.builders import RUN
from tests.hostile.judge import kept_of, secrets_told, wrongs_of
from tests.hostile.mutations import mutations_of
from tests.hostile.paths import paths_of_a_session
from tests.hostile.stage import Stage, a_rich_session, as_fetched

NEIGHBOURS = 3
BATCH = 25
CHUNKS = 8


@pytest.fixture(scope="module")
def base(account):
    return as_fetched(account, a_rich_session("base"))


@pytest.fixture(scope="module")
def chosen(base):
    every = mutations_of(base, paths_of_a_session())
    if os.environ.get("HOSTILE") == "all":
        return every
    return [m for m in every if _is_read(m.path)][::23] + [m for m in every if not _is_read(m.path)][::151]


def _is_read(path):
    """Of the session itself, its lines, prices and products: most of what an order is made of."""
    parts = ("line_items", "customer_details", "collected_information", "metadata")
    return len(path) == 1 or path[0] in parts


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_mutated_session_is_an_order_a_named_skip_or_a_named_error(account, base, chosen, chunk):
    wrong = []
    for some in batched(chosen[chunk::CHUNKS], BATCH - NEIGHBOURS):
        wrong += played(account, base, some)
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:40])


def played(account, base, some):
    """One batch of mutants with some neighbours in good health."""
    stage = Stage(account)
    stage.clock.now += 60
    healthy = [base | {"id": f"cs_test_healthy{n}"} for n in range(NEIGHBOURS)]
    mutants = {
        f"cs_test_mutant{n}": mutation.of(base | {"id": f"cs_test_mutant{n}"})
        for n, mutation in enumerate(some)
    }
    for session_id, session in [*((s["id"], s) for s in healthy), *mutants.items()]:
        stage.sends(build_message(base | {"id": session_id}, RUN))
        stage.stripe_says(session_id, session)
    delivery = stage.deliver(BATCH)
    kept = kept_of(stage)
    wrong = [repr(delivery.error)] if delivery.error else []
    for session in healthy:
        named = session["id"]
        created = kept.outcomes.get(named, {}).get("outcome") == "created"
        if not created or wrongs_of(stage, kept, named, session, ()):
            wrong.append(f"a neighbour is {kept.outcomes.get(named)} beside {list(map(str, some))}")
    for (session_id, session), mutation in zip(mutants.items(), some, strict=True):
        said = wrongs_of(stage, kept, session_id, session, mutation.path)
        wrong += [f"{mutation}: {one}" for one in said]
    wrong += [line for line in stage.told.lines if "ERROR Unexpected " in line]
    return wrong + secrets_told(stage)
