"""Orders of any size: complete up to the largest DynamoDB item, and an OrderTooLarge error beyond that."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.domain.message import build_message
from recon.domain.order import SnapshotContext, build_order, without_item_metadata
from recon.domain.user_ids import UserIdRules
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from testkit.builders import NOW, RUN, a_line, a_session
from testkit.doubles.values import item_size
from testkit.fake_stripe import LineSpec
from testkit.invariants import compare_counters, to_wire
from tests.hostile.hostile_shop import HostileShop, fetch_session, rich_session

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
amounts = st.integers(-(10**17), 10**17) | st.just(0)


@pytest.fixture
def shop(account):
    return HostileShop(account)


@settings(derandomize=True, max_examples=100)
@given(
    metadata=st.dictionaries(texts, texts, max_size=20), name=texts, amount=amounts, lines=st.integers(1, 30)
)
def test_size_of_an_order_is_never_underestimated(metadata, name, amount, lines):
    session = a_session(metadata=metadata, amount_total=amount)
    line = a_line(description=name, unit_amount=amount, amount_total=amount)
    order = build_order(session, [line] * lines, "user-1", SnapshotContext(RUN, NOW))
    ours, theirs = item_bytes(order), item_size(to_wire(order))
    # DynamoDB stores no trailing zeros of a number, so an order may be refused this close to the limit.
    assert theirs <= ours <= theirs + 10 * (4 * lines + 5)


def sell(shop, fetched, session_id, note_length=None):
    """Queue a session whose metadata has a note of that length."""
    session = fetched | {"id": session_id}
    shop.sends(build_message(session, RUN, UserIdRules()))
    note = {} if note_length is None else {"note": "x" * note_length}
    shop.set_session(session_id, session | {"metadata": session["metadata"] | note})


def largest_note(fetched):
    """Return the length of the longest note that still fits."""
    line_items = fetched["line_items"]["data"]
    order = build_order(fetched | {"id": "cs_test_whole"}, line_items, "base", SnapshotContext(RUN, NOW))
    order = without_item_metadata(order)
    return MAX_ITEM_BYTES - item_bytes(order | {"metadata": order["metadata"] | {"note": ""}})


def test_largest_order_is_complete_and_one_byte_more_is_an_error(shop, fetched):
    length = largest_note(fetched)
    sell(shop, fetched, "cs_test_whole", length)
    sell(shop, fetched, "cs_test_large", length + 1)
    sell(shop, fetched, "cs_test_small")
    shop.deliver()
    (order,) = shop.orders("cs_test_whole")
    assert order["metadata"]["note"] == "x" * length
    assert shop.outcome("cs_test_small")["outcome"] == "created"
    outcome = shop.outcome("cs_test_large")
    assert outcome["errorType"] == "OrderTooLarge"
    size, limit = MAX_ITEM_BYTES + 1, MAX_ITEM_BYTES
    assert outcome["errorMessage"] == f"the order takes {size} bytes; a DynamoDB item holds {limit}"
    assert shop.orders("cs_test_large") == []


def test_batch_of_largest_orders_is_written_completely(shop, fetched):
    """The orders need more than the 4 MB of one transaction."""
    ids = [f"cs_test_whol{n}" for n in range(10)] + [f"cs_test_who{n}" for n in range(10, 12)]
    for session_id in ids:
        sell(shop, fetched, session_id, largest_note(fetched))
    shop.drain()
    assert [len(shop.orders(session_id)) for session_id in ids] == [1] * len(ids)
    assert shop.counters()[1:3] == (len(ids), len(ids))
    assert list(compare_counters(shop.records(), RUN)) == []


def test_order_of_a_thousand_lines_has_all_lines(account, shop):
    lines = tuple(LineSpec(f"line {n}", quantity=n + 1, unit_amount=n) for n in range(1000))
    spec = rich_session("long", lines=lines)
    shop.sends(build_message(fetch_session(account, spec), RUN, UserIdRules()))
    shop.deliver()
    (order,) = shop.orders(spec.id)
    assert order["itemCount"] == 1000
    assert [(item["name"], item["amountTotal"]) for item in order["items"]] == [
        (line.description, line.amount_total) for line in lines
    ]


def test_too_many_lines_are_an_error_and_no_truncated_order(account, shop):
    spec = rich_session("endless", lines=tuple(LineSpec(f"{n} " + "x" * 240) for n in range(1500)))
    shop.sends(build_message(fetch_session(account, spec), RUN, UserIdRules()))
    shop.deliver()
    assert shop.outcome(spec.id)["errorType"] == "OrderTooLarge"
    assert shop.orders(spec.id) == []
