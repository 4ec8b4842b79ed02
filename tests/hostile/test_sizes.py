"""Orders as large as they come: whole up to what DynamoDB holds, and beyond that an error that says so."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.domain.message import build_message
from recon.domain.order import SnapshotContext, build_order
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from testkit.builders import NOW, RUN, a_line, a_session
from testkit.doubles.values import item_size
from testkit.fake_stripe import LineSpec
from testkit.world import wire
from tests.hostile.stage import Stage, a_rich_session, as_fetched

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
amounts = st.integers(-(10**17), 10**17) | st.just(0)


@settings(derandomize=True, max_examples=100)
@given(
    metadata=st.dictionaries(texts, texts, max_size=20), name=texts, amount=amounts, lines=st.integers(1, 30)
)
def test_the_size_of_an_order_is_never_underrated(metadata, name, amount, lines):
    session = a_session(metadata=metadata, amount_total=amount)
    line = a_line(description=name, unit_amount=amount, amount_total=amount)
    order = build_order(session, [line] * lines, "user-1", SnapshotContext(RUN, NOW))
    ours, theirs = item_bytes(order), item_size(wire(order))
    # Trailing zeros of a number cost nothing there: an order is refused no sooner than so close to the limit.
    assert theirs <= ours <= theirs + 10 * (4 * lines + 5)


@pytest.fixture(scope="module")
def base(account):
    return as_fetched(account, a_rich_session("base"))


def sold(stage, base, session_id, session):
    session = session | {"id": session_id}
    stage.sends(build_message(base | {"id": session_id}, RUN))
    stage.stripe_says(session_id, session)


def with_note(base, length):
    return base | {"metadata": base["metadata"] | {"note": "x" * length}}


def largest(base):
    """As much of a note as still fits."""
    line_items = base["line_items"]["data"]
    order = build_order(base | {"id": "cs_test_whole"}, line_items, "base", SnapshotContext(RUN, NOW))
    return MAX_ITEM_BYTES - item_bytes(order | {"metadata": order["metadata"] | {"note": ""}})


def test_the_largest_order_is_whole_and_one_byte_more_is_an_error_that_says_so(account, base):
    stage = Stage(account)
    length = largest(base)
    sold(stage, base, "cs_test_whole", with_note(base, length))
    sold(stage, base, "cs_test_large", with_note(base, length + 1))
    sold(stage, base, "cs_test_small", base)
    stage.deliver()
    (order,) = stage.orders("cs_test_whole")
    assert order["metadata"]["note"] == "x" * length
    assert stage.outcome("cs_test_small")["outcome"] == "created"
    outcome = stage.outcome("cs_test_large")
    assert outcome["errorType"] == "OrderTooLarge"
    size, limit = MAX_ITEM_BYTES + 1, MAX_ITEM_BYTES
    assert outcome["errorMessage"] == f"the order takes {size} bytes; a DynamoDB item holds {limit}"
    assert stage.orders("cs_test_large") == []


def test_a_batch_of_the_largest_orders_is_written_whole(account, base):
    """More than the 4 MB of a transaction."""
    stage = Stage(account)
    ids = [f"cs_test_whol{n}" for n in range(10)] + [f"cs_test_who{n}" for n in range(10, 12)]
    for session_id in ids:
        sold(stage, base, session_id, with_note(base, largest(base)))
    stage.drain()
    assert [len(stage.orders(session_id)) for session_id in ids] == [1] * len(ids)
    assert stage.counters()[1:3] == (len(ids), len(ids))
    stage.check_books()


def test_an_order_of_a_thousand_lines_has_them_all(account):
    lines = tuple(LineSpec(f"line {n}", quantity=n + 1, unit_amount=n) for n in range(1000))
    spec = a_rich_session("long", lines=lines)
    stage = Stage(account)
    stage.sends(build_message(as_fetched(account, spec), RUN))
    stage.deliver()
    (order,) = stage.orders(spec.id)
    assert order["itemCount"] == 1000
    assert [(item["name"], item["amountTotal"]) for item in order["items"]] == [
        (line.description, line.amount_total) for line in lines
    ]


def test_more_lines_than_an_order_can_hold_are_an_error_and_no_truncated_order(account):
    spec = a_rich_session("endless", lines=tuple(LineSpec(f"{n} " + "x" * 240) for n in range(1500)))
    stage = Stage(account)
    stage.sends(build_message(as_fetched(account, spec), RUN))
    stage.deliver()
    assert stage.outcome(spec.id)["errorType"] == "OrderTooLarge"
    assert stage.orders(spec.id) == []
