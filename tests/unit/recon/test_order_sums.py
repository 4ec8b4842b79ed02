"""Sums that hold for the order of any session with exclusive tax."""

from hypothesis import given, settings
from hypothesis import strategies as st

from recon.domain.order import SnapshotContext, build_order
from testkit.builders import NOW, RUN
from testkit.fake_stripe import DetailSpec, LineSpec, PriceSpec, SessionSpec
from testkit.fake_stripe.expansion import parse_expansion
from testkit.fake_stripe.objects import session_object

EXPANSION = parse_expansion(["line_items.data.price.product", "total_details.breakdown"], "checkout.session")
small = st.integers(0, 100_000)
prices = st.builds(
    PriceSpec,
    currency=st.sampled_from([None, "usd", "eur", "jpy"]),
    unit_amount=st.none() | small,
    decimal=st.none() | st.sampled_from(["0.25", "33.3", "1.5"]),
)
lines = st.builds(
    LineSpec, quantity=st.integers(1, 50), unit_amount=small, discount=small, tax=small, price=prices
)
sessions = st.builds(
    SessionSpec,
    id=st.just("cs_test_1"),
    created=st.just(NOW),
    currency=st.sampled_from(["eur", "usd", "jpy"]),
    lines=st.lists(lines, min_size=1, max_size=5).map(tuple),
    shipping_amount=small,
    details=st.builds(DetailSpec, shipping_tax=small),
)


@settings(derandomize=True)
@given(spec=sessions)
def test_parts_of_an_order_add_up(spec):
    session = session_object(spec, EXPANSION)
    order = build_order(session, session["line_items"]["data"], "u", SnapshotContext(RUN, NOW))
    added = order.get("amountShipping", 0) + order.get("amountTax", 0) - order.get("amountDiscount", 0)
    assert order["amountSubtotal"] + added == order["amount"]
    for item in order["items"]:
        taxed = item.get("amountTax", 0) - item.get("amountDiscount", 0)
        assert item["amountSubtotal"] + taxed == item["amountTotal"]
        if "unitPrice" in item:
            assert item["unitPrice"] * item["quantity"] == item["amountSubtotal"]
        else:
            assert item["amountSubtotal"] % item["quantity"]
