"""Orders keep what each version wrote: a reader that knows only these attributes sees no difference."""

import json
from pathlib import Path

import pytest

from recon.domain.order import SnapshotContext, build_order
from testkit.builders import NOW, RUN

ORDERS = Path(__file__).parent / "orders"


@pytest.fixture(params=sorted(ORDERS.glob("*.json")), ids=lambda path: path.stem)
def sold(request):
    """Return the sessions of an ordinary shop as Stripe answers them, each with the order of a version."""
    return json.loads(request.param.read_text())


def test_attributes_of_earlier_versions_stay(sold):
    assert len(sold) > 20
    for one in sold:
        lines = one["session"]["line_items"]["data"]
        order = build_order(one["session"], lines, one["userId"], SnapshotContext(RUN, NOW, ttl_days=30))
        assert keep_known(order, one["order"]) == one["order"]


def keep_known(order, known):
    """Return the order without the attributes that the known one does not have."""
    items = [
        {name: item[name] for name in item.keys() & before.keys()}
        for item, before in zip(order["items"], known["items"], strict=True)
    ]
    return {name: order[name] for name in order.keys() & known.keys()} | {"items": items}
