"""The filter of sessions through whole nights: what it leaves out, counts and keeps on the watermark item."""

from dataclasses import replace

import pytest

from producer.run_lister import MATCHES_NOTHING
from recon.domain.session_filter import parse_filter
from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.table import Table
from recon.dynamodb.watermark import FilterPeriod, Watermark, parse_watermark
from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW
from tests.unit.producer.nights import GRACE, run_id, run_night, scheduled, session_spec

OURS, THEIRS = "cs_test_ours", "cs_test_theirs"


def use_filter(world, text):
    world.settings = replace(world.settings, session_filter=parse_filter(text))


def sell(world, session_id, shop, **changes):
    metadata = {"userId": session_id, "shop": shop}
    return world.sells(session_spec(session_id, **{"metadata": metadata} | changes))


def read_watermark(world):
    return parse_watermark(Table(world.dynamodb, world.table).get(WATERMARK_KEY) or {})


@pytest.fixture
def shop(make_world):
    world = make_world(SYNC_ONLY="metadata.shop=ours")
    sell(world, OURS, "ours")
    sell(world, THEIRS, "theirs")
    return world


def test_filtered_session_costs_no_message_and_is_counted(shop):
    run = run_night(shop)
    assert (run["enqueued"], run["filtered"], run["created"]) == (1, 1, 1)
    assert [order["orderId"] for order in shop.orders()] == [OURS]
    assert shop.outcome(THEIRS) is None
    assert run["sessionFilter"] == "metadata.shop=ours"
    assert read_watermark(shop).covered_through == NOW - GRACE


def test_preview_shows_how_many_are_filtered(shop):
    before = shop.items()
    body = shop.body(scheduled(dryRun=True))
    assert (body["processed"], body["created"], body["filtered"], body["warnings"]) == (1, 1, 1, [])
    assert shop.items() == before


def test_response_and_record_count_over_several_invocations(make_world):
    world = make_world(SYNC_ONLY="metadata.shop=ours", SYNC_MAX_SESSIONS="50")
    for number in range(400):
        shop = "ours" if number % 2 else "theirs"
        sell(world, f"cs_test_{number:04}", shop, created=NOW - 800 - number * 60, completed_at=NOW - 700)
    body = world.body()
    assert (body["enqueued"], body["filtered"]) == (200, 200)


@pytest.mark.parametrize("dry_run", [True, False])
def test_filter_that_lets_nothing_through_warns_and_leaves_the_watermark(world, dry_run):
    run_night(world)
    sell(world, THEIRS, "theirs", created=NOW + HOUR)
    use_filter(world, "metadata.shop=ours")
    if dry_run:
        world.clock.now = NOW + DAY
        body = world.body(scheduled(1, dryRun=True))
    else:
        body = run_night(world, 1)
        assert body["status"] == "done"
        assert read_watermark(world).covered_through == NOW - GRACE
    assert MATCHES_NOTHING in body["warnings"]
    assert body["filtered"] == 1


def test_window_without_sessions_does_not_warn_and_moves_the_watermark(world):
    use_filter(world, "metadata.shop=ours")
    run = run_night(world)
    assert run["warnings"] == []
    assert read_watermark(world).covered_through == NOW - GRACE


def test_session_within_the_grace_counts_as_let_through(world):
    use_filter(world, "metadata.shop=ours")
    sell(world, OURS, "ours", completed_at=NOW - 60)
    sell(world, THEIRS, "theirs")
    run = run_night(world)
    assert (run["enqueued"], run["filtered"], run["warnings"]) == (0, 1, [])


def test_session_that_waits_is_left_out_until_the_filter_lets_it_through(world):
    """The backfill after a change does not list it, since it was created long before."""
    sell(world, THEIRS, "theirs", payment_status="unpaid", created=NOW - 20 * HOUR)
    for night in range(5):
        sell(world, f"{OURS}{night}", "ours", created=NOW + night * DAY - HOUR)
        run_night(world, night)
    use_filter(world, "metadata.shop=ours")
    sell(world, THEIRS, "theirs", created=NOW - 20 * HOUR, async_paid_at=NOW + 4 * DAY + 2 * HOUR)
    for night in (5, 6):
        sell(world, f"{OURS}{night}", "ours", created=NOW + night * DAY - HOUR)
        run_night(world, night)
    assert world.outcome(THEIRS, run_id(6))["reason"] == "filtered"
    assert world.orders(THEIRS) == []
    use_filter(world, "")
    run_night(world, 7)
    assert [order["orderId"] for order in world.orders(THEIRS)] == [THEIRS]
    assert world.item("SYSTEM", f"PENDING#{THEIRS}") is None


def test_session_is_left_out_for_ever_once_its_wait_is_over(world):
    sell(world, THEIRS, "theirs", payment_status="unpaid")
    run_night(world)
    use_filter(world, "metadata.shop=ours")
    sell(world, OURS, "ours", created=NOW + 400 * DAY - HOUR)
    run_night(world, 400)
    assert world.outcome(THEIRS, run_id(400))["reason"] == "filtered"
    assert world.item("SYSTEM", f"PENDING#{THEIRS}") is None


def test_session_that_the_filter_left_out_on_its_way_is_checked_again(world):
    """Its run has listed it, so that no other run does."""
    sell(world, THEIRS, "theirs", created=NOW - 40 * HOUR)
    world.produce(scheduled())
    use_filter(world, "metadata.shop=ours")
    world.drain()
    assert world.outcome(THEIRS, run_id())["reason"] == "filtered"
    use_filter(world, "")
    run_night(world, 3)
    assert len(world.orders(THEIRS)) == 1


def test_events_of_a_filtered_session_are_not_fenced(make_world):
    world = make_world(SYNC_ONLY="metadata.shop=ours")
    for session_id, shop in ((OURS, "ours"), (THEIRS, "theirs")):
        sell(world, session_id, shop, completed_at=NOW - HOUR, event_delivered=False)
    run_night(world)
    markers = [item for item in world.items() if item["PK"].startswith("EVENT#")]
    assert [marker["sessionId"] for marker in markers] == [OURS]


# The time of an earlier filter


def test_watermark_keeps_an_earlier_filters_time_until_listed_again(world):
    use_filter(world, "metadata.shop=ours")
    sell(world, OURS, "ours")
    sell(world, THEIRS, "theirs", created=NOW - 20 * HOUR)
    first = run_night(world)["lookbackStart"]
    for night in (1, 2, 3):
        sell(world, f"cs_test_night{night}", "ours", created=NOW + night * DAY - HOUR)
        run_night(world, night)
    covered = read_watermark(world).covered_through
    use_filter(world, "metadata.shop=ours,theirs")
    former = FilterPeriod("metadata.shop=ours", first, covered)
    assert read_watermark(world).with_filter("metadata.shop=ours,theirs").former_filter == former
    run_night(world, 4)
    assert read_watermark(world).session_filter == "metadata.shop=ours,theirs"
    assert read_watermark(world).former_filter == former
    assert world.orders(THEIRS) == []
    # A backfill of less than that time leaves it.
    world.night({"from": to_iso(first + 1), "to": to_iso(covered), "requestedAt": to_iso(NOW)})
    assert read_watermark(world).former_filter == former
    later = to_iso(NOW + 60)
    world.night({"from": to_iso(first), "to": to_iso(covered), "requestedAt": later})
    assert read_watermark(world).former_filter is None
    assert len(world.orders(THEIRS)) == 1
    assert former.backfill_command == f"nightly-sync run --from {to_iso(first)} --to {to_iso(covered)}"


def test_backfill_right_after_a_change_ends_the_time_of_the_earlier_filter(world):
    use_filter(world, "metadata.shop=ours")
    sell(world, OURS, "ours")
    first = run_night(world)["lookbackStart"]
    covered = read_watermark(world).covered_through
    use_filter(world, "")
    world.night({"from": to_iso(first), "to": to_iso(covered)})
    assert read_watermark(world).session_filter == ""
    assert read_watermark(world).former_filter is None


def test_truncated_backfill_leaves_the_time_of_the_earlier_filter(world):
    use_filter(world, "metadata.shop=ours")
    sell(world, OURS, "ours")
    sell(world, THEIRS, "theirs", created=NOW - 2 * HOUR)
    first = run_night(world)["lookbackStart"]
    covered = read_watermark(world).covered_through
    use_filter(world, "metadata.shop")
    world.night({"from": to_iso(first), "to": to_iso(covered), "maxSessions": 1})
    assert read_watermark(world).former_filter == FilterPeriod("metadata.shop=ours", first, covered)


def test_one_session_that_passes_in_any_invocation_is_no_wrong_filter(make_world):
    """The run lists the newest sessions first, so that those of the second invocation are all left out."""
    world = make_world(SYNC_ONLY="metadata.shop=ours", SYNC_MAX_SESSIONS="1")
    for number in range(300):
        shop = "theirs" if number else "ours"
        sell(world, f"cs_test_{number:04}", shop, created=NOW - 800 - number * 60, completed_at=NOW - 700)
    world.produce(scheduled())
    assert world.hops
    world.hop_all()
    world.drain()
    run = world.run()
    assert (run["enqueued"], run["filtered"], run["warnings"]) == (1, 299, [])
    assert read_watermark(world).covered_through == NOW - GRACE


def test_filter_that_lets_nothing_through_leaves_the_time_of_the_earlier_one(world):
    use_filter(world, "metadata.shop=ours")
    sell(world, OURS, "ours")
    first = run_night(world)["lookbackStart"]
    covered = read_watermark(world).covered_through
    use_filter(world, "metadata.shop=wrong")
    world.night({"from": to_iso(first), "to": to_iso(covered)})
    assert read_watermark(world).former_filter == FilterPeriod("metadata.shop=ours", first, covered)


@pytest.mark.parametrize(
    ("before", "text", "former"),
    [
        (Watermark(covered_through=NOW), "a", None),  # nothing was left out
        (Watermark(session_filter="a", first_lookback_start=5), "b", None),  # all is listed again
        (Watermark(session_filter="a", covered_through=NOW, filter_start=9), "a", None),
        (
            Watermark(session_filter="a", covered_through=NOW, filter_start=9),
            "b",
            FilterPeriod("a", 9, NOW),
        ),
        (
            Watermark(session_filter="a", covered_through=NOW, first_lookback_start=5),
            "",
            FilterPeriod("a", 5, NOW),
        ),
        (
            Watermark(
                session_filter="b",
                covered_through=NOW,
                filter_start=NOW - DAY,
                former_filter=FilterPeriod("a", 5, NOW - DAY),
            ),
            "a",
            FilterPeriod("b", 5, NOW),
        ),
        (
            Watermark(covered_through=NOW, former_filter=FilterPeriod("a", 5, 9)),
            "b",
            FilterPeriod("a", 5, 9),
        ),
    ],
)
def test_change_of_the_filter_says_what_was_listed_with_the_earlier_one(before, text, former):
    after = before.with_filter(text)
    assert (after.former_filter, after.session_filter) == (former, text)


@pytest.mark.parametrize("wrong", [None, "x", {}, {"from": "x", "to": 5}, {"from": 5}])
def test_unreadable_time_of_an_earlier_filter_counts_as_none(wrong):
    assert parse_watermark({"formerFilter": wrong, "sessionFilter": 5}).former_filter is None
