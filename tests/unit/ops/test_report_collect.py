"""The content of the report: what the table holds of some days, combined by session."""

from dataclasses import replace

import pytest

from ops.format.money import Money
from ops.report import collect_report
from ops.report.model import ExpiredOutcomes, Share
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN
from testkit.fake_stripe import SessionSpec
from testkit.fake_stripe.specs import LineSpec
from testkit.reports import FINE, TODAY, ReportedShop

LOST, KEPT, BROKEN = "cs_live_lost0001", "cs_live_kept0001", "cs_live_broken01"


@pytest.fixture
def shop():
    return ReportedShop()


# One session in several runs


def test_order_found_by_later_runs_is_one_recovered_order(shop):
    shop.create(shop.run(nights_ago=2), LOST, 4999)
    shop.find(shop.run(nights_ago=1), LOST)
    shop.find(shop.run(), LOST)
    report = shop.report()
    [order] = report.recovered
    assert (order.session_id, order.order_number, order.money) == (LOST, "BC-LOST0001", Money("usd", 4999))
    assert order.day == TODAY - 2 * DAY
    assert report.missed == Share(1, 1)


def test_missed_share_counts_each_order_once_and_only_orders(shop):
    first, second = shop.run(nights_ago=1), shop.run()
    shop.create(first, LOST, 100)
    shop.find(second, LOST)
    for run in (first, second):
        shop.find(run, KEPT)
    shop.find(second, "cs_live_kept0002")
    shop.outcome(first, "cs_live_unpaid01", "skipped", reason="unpaid")
    shop.fail(first, BROKEN)
    report = shop.report()
    assert report.missed == Share(1, 3)
    assert report.fates == (("exists", 2), ("created", 1), ("error", 1), ("unpaid", 1))
    assert [day.missed for day in report.days[-2:]] == [Share(1, 2), Share(0, 1)]


def test_error_is_closed_by_an_order_of_any_run(shop):
    first, second = shop.run(nights_ago=1), shop.run()
    shop.fail(first, LOST)
    shop.fail(first, BROKEN)
    shop.create(second, LOST, 100)
    shop.find(first, KEPT)
    shop.fail(second, KEPT)
    report = shop.report()
    fates = {one.session_id: one.fate for one in report.failed}
    assert fates == {LOST: "created", BROKEN: "error", KEPT: "exists"}
    assert (report.open_errors, report.missed) == (1, Share(1, 2))


def test_latest_error_and_drift_are_shown_whatever_the_run_ids(shop):
    first, second = shop.run("zz-manual", nights_ago=1), shop.run("aa-manual")
    shop.fail(first, LOST, "first")
    shop.fail(second, LOST, "second", attempts=10)
    shop.find(first, KEPT, drift=["amount: the order says 1, Stripe 2"])
    shop.find(second, KEPT, drift=["currency: the order says eur, Stripe usd"])
    report = shop.report()
    [failed], [drifted] = report.failed, report.drifted
    assert (failed.error_message, failed.attempts, failed.day) == ("second", 10, TODAY)
    assert drifted.texts == ("currency: the order says eur, Stripe usd",)


def test_order_created_in_two_runs_belongs_to_the_first(shop):
    shop.create(shop.run(nights_ago=1), LOST, 100)
    shop.create(shop.run(), LOST, 100)
    report = shop.report()
    assert [order.day for order in report.recovered] == [TODAY - DAY]
    assert report.money == [Money("usd", 100)]


def test_user_keys_are_removed(shop):
    keys = "USER#jane, doe@example.com/ORDER#1#cs, USER#jane, doe@example.com/ORDER#2#cs"
    shop.find(shop.run(), KEPT, drift=[f"duplicate: {keys}", f"another: {keys}"])
    shop.fail(shop.run(nights_ago=1), LOST, f"refused {keys}")
    report = shop.report()
    assert "example.com" not in repr(report)
    assert "jane" not in repr(report)
    assert report.drifted[0].texts[0] == "duplicate: there is more than one order of this session"


# Money


def test_money_has_a_total_per_currency_and_day(shop):
    first, second = shop.run(nights_ago=1), shop.run()
    shop.create(first, "cs_live_1", 4999, "usd")
    shop.create(first, "cs_live_2", 1980, "JPY")
    shop.create(second, "cs_live_3", 1, "usd")
    shop.create(second, "cs_live_4")
    report = shop.report()
    assert report.money == [Money("jpy", 1980), Money("usd", 5000)]
    assert [day.money for day in report.days[-2:]] == [
        (Money("jpy", 1980), Money("usd", 4999)),
        (Money("usd", 1),),
    ]
    assert (report.recovered_count, report.without_amount) == (4, 1)


@pytest.mark.parametrize(
    "money", [{"amount": True, "currency": "usd"}, {"amount": "1", "currency": "usd"}, {"amount": 5}]
)
def test_unreadable_amount_is_unknown(shop, money):
    shop.outcome(shop.run(), LOST, "created", **money)
    assert shop.report().recovered[0].money is None


# The period


def test_period_is_whole_days_up_to_now(shop):
    shop.create(shop.run(at=TODAY - 2 * DAY), "cs_live_first")
    shop.create(shop.run(at=TODAY - 2 * DAY - 1), "cs_live_before")
    shop.run(at=NOW + 3601)
    report = shop.report(days=3)
    assert [order.session_id for order in report.recovered] == ["cs_live_first"]
    assert [day.day for day in report.days] == [TODAY - 2 * DAY, TODAY - DAY, TODAY]
    assert (report.start, report.generated_at, len(report.runs)) == (TODAY - 2 * DAY, NOW + 3600, 1)


def test_days_begin_with_the_first_run_ever(shop):
    shop.run(nights_ago=3)
    shop.run(nights_ago=1)
    report = shop.report()
    assert [(day.day, day.runs) for day in report.days] == [
        (TODAY - n * DAY, runs) for n, runs in ((3, 1), (2, 0), (1, 1), (0, 0))
    ]
    assert report.start == TODAY - 3 * DAY
    shop.run(nights_ago=45)
    assert len(shop.report().days) == 30


def test_run_belongs_to_the_day_on_which_it_began(shop):
    shop.create(shop.run(at=TODAY - 1, syncCompletedAt=to_iso(TODAY + 3000)), LOST, 100)
    report = shop.report(days=2)
    assert [(day.runs, day.recovered, day.longest) for day in report.days] == [(1, 1, 3001), (0, 0, None)]


def test_longest_run_of_a_day_has_ended(shop):
    for start, end in ((60, 100), (120, 130), (150, 145)):
        shop.run(at=TODAY + start, syncCompletedAt=to_iso(TODAY + end))
    shop.run(at=TODAY + 180, status="running", syncCompletedAt="")
    report = shop.report()
    assert report.days[-1].longest == 40
    assert [run.seconds for run in report.runs] == [None, 0, 10, 40]
    assert report.unfinished_runs == 1


def test_days_add_up_to_the_totals(shop):
    for night in range(5, -1, -1):
        run = shop.run(nights_ago=night, created=3)
        shop.create(run, f"cs_live_lost{night}", 100 + night)
        shop.fail(run, f"cs_live_gone{night % 2}")
        for session in range(4):
            shop.find(run, f"cs_live_kept{session + night}")
    report = shop.report()
    assert sum(day.recovered for day in report.days) == report.recovered_count == 6 + 12
    assert sum(day.missed.whole for day in report.days) == report.missed.whole
    assert sum(day.errors for day in report.days) == len(report.failed) == 2
    assert sum(money.amount for day in report.days for money in day.money) == report.money[0].amount


def test_report_of_empty_table_is_empty(shop):
    report = shop.report()
    assert (report.runs, report.recovered, report.money, str(report.missed)) == ((), (), [], "-")
    assert len(report.days) == 30


# Expired outcomes and other versions


def test_expired_outcomes_are_counted_by_the_run(shop):
    shop.run(nights_ago=40, processed=9, created=3, skipped=5, errors=1)
    complete = shop.run(processed=2, created=1, errors=1)
    without_counters = shop.run(nights_ago=1)
    shop.create(complete, LOST, 100)
    shop.fail(complete, KEPT)
    shop.create(without_counters, "cs_live_lost0002")
    shop.fail(without_counters, BROKEN)
    report = shop.report(days=60)
    assert report.gone == ExpiredOutcomes(runs=1, created=3, errors=1)
    assert (report.recovered_count, report.days[-41].recovered) == (5, 3)
    assert report.missed == Share(2, 2)


def test_values_of_another_version_are_kept(shop):
    run = shop.run(status="paused", trigger="phone")
    shop.outcome(run, "cs_live_1", "postponed")
    shop.outcome(run, "cs_live_2", "skipped", reason="dismissed")
    report = shop.report()
    assert report.fates == (("dismissed", 1), ("postponed", 1))
    assert (report.runs[0].status, report.runs[0].trigger) == ("paused", "phone")


def test_incomplete_records_are_read_as_far_as_possible(shop):
    for name, attributes in {
        "": {},
        "#counted-only": {"created": 4},
        "#no-time": {"syncStartedAt": "yesterday"},
        "#number": {"syncStartedAt": NOW},
        "#bare": {"syncStartedAt": to_iso(NOW), "created": "many"},
    }.items():
        shop.put({"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC{name}"} | attributes)
    shop.put({"PK": "SYNC_RUN#bare", "SK": "SESSION#cs_live_1"})
    shop.outcome("bare", "cs_live_2", "error", drift="text", attempts="two", errorMessage=7)
    report = shop.report()
    assert [(run.run_id, run.created, run.seconds) for run in report.runs] == [("bare", 0, None)]
    [failed] = report.failed
    assert (failed.error_type, failed.error_message, failed.attempts) == ("-", "", None)
    assert (report.fates, report.drifted) == ((("error", 1), ("unknown", 1)), ())


def test_all_pages_are_read_and_lists_are_newest_first(shop):
    shop.memory.page_items = 2
    older, newer = shop.run(nights_ago=1), shop.run()
    for run, session in ((newer, "b"), (older, "c"), (newer, "a"), (newer, "d"), (newer, "e")):
        shop.create(run, f"cs_live_{session}")
    others = [shop.run(nights_ago=night) for night in range(2, 6)]
    report = shop.report()
    assert [order.session_id[-1] for order in report.recovered] == ["a", "b", "d", "e", "c"]
    assert [run.run_id for run in report.runs] == [newer, older, *others]


def test_report_of_a_real_night_matches_the_consumer(world):
    for session, user in ((LOST, "u1"), (KEPT, "u2"), ("cs_live_nobody01", None)):
        world.sells(SessionSpec(session, NOW - 3600, metadata={"userId": user} if user else {}))
    world.webhook_writes(KEPT, "u2", NOW - 3500)
    world.night()
    table = world.open_table()
    report = collect_report(table, now=int(world.clock.now), days=1, stack="shop", state=FINE)
    assert [order.session_id for order in report.recovered] == [LOST]
    assert (report.missed, report.gone) == (Share(1, 2), ExpiredOutcomes())
    assert dict(report.fates) == {"created": 1, "exists": 1, "no_user": 1}
    assert [run.run_id for run in report.runs] == [RUN]


def test_free_order_without_a_currency_is_free_in_the_report(world):
    spec = SessionSpec(LOST, NOW - 3600, metadata={"userId": "u1"}, payment_status="no_payment_required")
    world.sells(replace(spec, lines=(LineSpec("Sticker", 1, 0),), currency=None))
    world.night()
    report = collect_report(world.open_table(), now=int(world.clock.now), days=1, stack="shop", state=FINE)
    assert [order.money for order in report.recovered] == [Money("", 0)]
    assert report.unknown_amounts == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (Share(0, 0), "-"),
        (Share(0, 9), "0%"),
        (Share(9, 9), "100%"),
        (Share(1, 3), "33.3%"),
        (Share(2, 3), "66.7%"),
        (Share(1, 100_000), "under 0.1%"),
        (Share(99_999, 100_000), "over 99.9%"),
        (Share(41, 1790), "2.3%"),
    ],
)
def test_share_is_rounded_to_none_or_all_only_if_exact(share, text):
    assert str(share) == text
