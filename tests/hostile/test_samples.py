"""Stripe's own sample objects, where they are at hand: as they are, and with every field mutated."""

import json
from itertools import batched
from pathlib import Path

import pytest

from tests.hostile.mutations import mutations_of
from tests.hostile.paths import paths_of_a_session
from tests.hostile.test_stripe_objects import BATCH, NEIGHBOURS, played

SAMPLES = Path(__file__).parents[3] / "shared" / "stripe" / "fixtures.json"
STRIDE = 41


@pytest.fixture(scope="module")
def sample():
    """A sold session made of Stripe's samples: what they leave empty is what a sale fills."""
    if not SAMPLES.exists():
        pytest.skip(f"Stripe's sample objects are not at {SAMPLES}")
    resources = json.loads(SAMPLES.read_text())["resources"]
    price = resources["price"] | {"product": resources["product"]}
    line = resources["item"] | {"price": price}
    sold = {"status": "complete", "payment_status": "paid", "mode": "payment", "amount_total": 4999}
    lines = {"object": "list", "data": [line], "has_more": False, "url": "/v1/line_items"}
    who = {"metadata": {"userId": "sample"}, "payment_intent": resources["payment_intent"]}
    return resources["checkout.session"] | sold | who | {"line_items": lines, "created": 1_732_660_000}


def test_the_samples_become_a_whole_order(account, sample):
    assert played(account, sample, []) == []


def test_the_types_know_every_field_of_the_samples(sample):
    """So that no field of theirs goes unmutated."""
    known = {path[:1] for path in paths_of_a_session()}
    assert {(name,) for name in sample} - known <= {("shipping_details",)}


def test_a_mutated_sample_is_an_order_a_named_skip_or_a_named_error(account, sample):
    chosen = mutations_of(sample, paths_of_a_session())[::STRIDE]
    wrong = [said for some in batched(chosen, BATCH - NEIGHBOURS) for said in played(account, sample, some)]
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:40])
