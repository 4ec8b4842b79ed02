"""Sessions as Stripe might answer them one day: each field of the pinned library's types has every odd value.

Each becomes a complete order, a named skip or a named error, and its neighbours in the batch are right.
Stripe's own sample objects are tested in the same way where they are available.

PROVE=all pytest tests/hostile    every field with every value, instead of a slice
"""

import json
from itertools import batched
from pathlib import Path

import pytest

from recon.domain.message import build_message
from recon.domain.user_ids import UserIdRules
from testkit.builders import RUN
from testkit.invariants import find_unexpected_errors
from tests.hostile.field_mutations import list_mutations
from tests.hostile.field_paths import list_session_paths
from tests.hostile.hostile_shop import HostileShop
from tests.hostile.verdict import check_secrets, check_session
from tests.proofs import PROVE_ALL

NEIGHBOURS = 3
BATCH = 25
CHUNKS = 8
SAMPLES = Path(__file__).parents[3] / "shared" / "stripe" / "fixtures.json"
SAMPLE_STRIDE = 41


@pytest.fixture(scope="module")
def mutations(fetched):
    every = list_mutations(fetched, list_session_paths())
    if PROVE_ALL:
        return every
    return [one for one in every if _is_read(one)][::23] + [one for one in every if not _is_read(one)][::151]


def _is_read(mutation):
    """Return whether the field is one of those that most of an order is made of."""
    parts = (
        "collected_information",
        "custom_fields",
        "customer_details",
        "discounts",
        "line_items",
        "metadata",
        "presentment_details",
        "shipping_cost",
        "total_details",
    )
    return len(mutation.path) == 1 or mutation.path[0] in parts


@pytest.fixture(scope="module")
def sample():
    """Return a sold session made of Stripe's samples, with the fields that a sale fills."""
    if not SAMPLES.exists():
        pytest.skip(f"Stripe's sample objects are not at {SAMPLES}")
    resources = json.loads(SAMPLES.read_text())["resources"]
    price = resources["price"] | {"product": resources["product"]}
    line = resources["item"] | {"price": price}
    sold = {"status": "complete", "payment_status": "paid", "mode": "payment", "amount_total": 4999}
    lines = {"object": "list", "data": [line], "has_more": False, "url": "/v1/line_items"}
    who = {"metadata": {"userId": "sample"}, "payment_intent": resources["payment_intent"]}
    return resources["checkout.session"] | sold | who | {"line_items": lines, "created": 1_732_660_000}


def check_mutations(account, base, mutations):
    """Play batches of mutants with some unchanged neighbours, and return what is wrong."""
    parts = batched(mutations, BATCH - NEIGHBOURS) if mutations else [()]
    wrong = [one for part in parts for one in _check_batch(account, base, part)]
    return f"{len(wrong)} wrong\n" + "\n".join(wrong[:40]) if wrong else ""


def _check_batch(account, base, mutations):
    shop = HostileShop(account)
    shop.clock.now += 60
    healthy = [base | {"id": f"cs_test_healthy{n}"} for n in range(NEIGHBOURS)]
    mutants = {
        f"cs_test_mutant{n}": mutation.apply(base | {"id": f"cs_test_mutant{n}"})
        for n, mutation in enumerate(mutations)
    }
    for session_id, session in [*((one["id"], one) for one in healthy), *mutants.items()]:
        shop.sends(build_message(base | {"id": session_id}, RUN, UserIdRules()))
        shop.set_session(session_id, session)
    delivery = shop.deliver(BATCH)
    records = shop.records()
    wrong = [repr(delivery.error)] if delivery.error else []
    for session in healthy:
        outcome = records.outcomes[RUN].get(session["id"], {})
        if outcome.get("outcome") != "created" or check_session(shop, records, session["id"], session, ()):
            wrong.append(f"a neighbour is {outcome} beside {list(map(str, mutations))}")
    for (session_id, session), mutation in zip(mutants.items(), mutations, strict=True):
        found = check_session(shop, records, session_id, session, mutation.path)
        wrong += [f"{mutation}: {one}" for one in found]
    return [*wrong, *find_unexpected_errors(shop.log.lines), *check_secrets(shop)]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mutated_session_becomes_an_order_a_skip_or_an_error(account, fetched, mutations, chunk):
    assert not check_mutations(account, fetched, mutations[chunk::CHUNKS])


def test_sample_becomes_a_complete_order(account, sample):
    assert not check_mutations(account, sample, [])


def test_library_types_have_every_field_of_the_samples(sample):
    known = {path[0] for path in list_session_paths()}
    assert set(sample) - known <= {"shipping_details"}


def test_mutated_sample_becomes_an_order_a_skip_or_an_error(account, sample):
    mutations = list_mutations(sample, list_session_paths())[::SAMPLE_STRIDE]
    assert not check_mutations(account, sample, mutations)
