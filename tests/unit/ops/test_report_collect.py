"""What the table says of some days, taken together."""

import pytest

from ops.format.money import Money
from ops.report import collect
from ops.report.model import Gone, Share
from recon.dynamodb.table import Table
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN
from testkit.fake_stripe import SessionSpec
from testkit.reports import TODAY, ReportedShop

LOST, KEPT = "cs_live_lost0001", "cs_live_kept0001"


@pytest.fixture
def shop():
    return ReportedShop()


def day_of(report, nights_ago):
    return report.days[-1 - nights_ago]


# One session in several runs


def test_an_order_that_later_runs_find_is_one_recovered_order(shop):
    shop.recovers(shop.run(nights_ago=2), LOST, 4999)
    shop.finds(shop.run(nights_ago=1), LOST)
    shop.finds(shop.run(), LOST)
    report = shop.report()
    [order] = report.recovered
    assert (order.session_id, order.order_number, order.money) == (LOST, "BC-LOST0001", Money("usd", 4999))
    assert order.day == TODAY - 2 * DAY
    assert report.missed == Share(1, 1)


def test_a_session_is_missed_or_there_once_however_many_runs_saw_it(shop):
    first, second = shop.run(nights_ago=1), shop.run()
    shop.recovers(first, LOST, 100)
    for run in (first, second):
        shop.finds(run, KEPT)
    shop.finds(second, LOST)
    shop.finds(second, "cs_live_kept0002")
    report = shop.report()
    assert report.missed == Share(1, 3)
    assert report.fates == (("exists", 2), ("created", 1))
    assert [day_of(report, ago).missed for ago in (1, 0)] == [Share(1, 2), Share(0, 1)]


def test_what_is_neither_written_nor_found_is_no_part_of_the_missed_share(shop):
    run = shop.run()
    shop.recovers(run, LOST)
    shop.outcome(run, "cs_live_unpaid01", "skipped", reason="unpaid")
    shop.fails(run, "cs_live_broken01")
    assert shop.report().missed == Share(1, 1)


def test_an_error_is_over_when_another_run_has_the_order(shop):
    first, second = shop.run(nights_ago=1), shop.run()
    shop.fails(first, LOST)
    shop.fails(first, "cs_live_broken01")
    shop.recovers(second, LOST, 100)
    report = shop.report()
    assert {one.session_id: one.fate for one in report.failed} == {
        LOST: "created",
        "cs_live_broken01": "error",
    }
    assert report.open_errors == 1


def test_an_error_after_the_order_was_found_is_not_open(shop):
    shop.finds(shop.run(nights_ago=1), KEPT)
    shop.fails(shop.run(), KEPT)
    report = shop.report()
    assert (len(report.failed), report.open_errors) == (1, 0)
    assert report.missed == Share(0, 1)


def test_a_session_of_several_errors_is_one_with_the_latest(shop):
    shop.fails(shop.run(nights_ago=1), LOST, "first")
    shop.fails(shop.run(), LOST, "second", attempts=10)
    [failed] = shop.report().failed
    assert (failed.error_message, failed.attempts, failed.day) == ("second", 10, TODAY)


def test_the_latest_run_is_the_one_that_began_last_whatever_its_name(shop):
    shop.fails(shop.run("zz-by-hand", nights_ago=1), LOST, "first")
    shop.fails(shop.run("aa-by-hand"), LOST, "second")
    assert shop.report().failed[0].error_message == "second"


def test_an_order_that_two_runs_wrote_is_the_first_ones(shop):
    shop.recovers(shop.run(nights_ago=1), LOST, 100)
    shop.recovers(shop.run(), LOST, 100)
    report = shop.report()
    assert [order.day for order in report.recovered] == [TODAY - DAY]
    assert report.money == [Money("usd", 100)]


def test_drift_is_shown_once_with_what_the_latest_look_says(shop):
    shop.finds(shop.run(nights_ago=1), KEPT, drift=["amount: the order says 1, Stripe 2"])
    shop.finds(shop.run(), KEPT, drift=["currency: the order says eur, Stripe usd"])
    [drifted] = shop.report().drifted
    assert drifted.texts == ("currency: the order says eur, Stripe usd",)


def test_a_duplicate_is_told_without_the_users_key(shop):
    keys = "USER#jane, doe@example.com/ORDER#1#cs, USER#jane, doe@example.com/ORDER#2#cs"
    shop.finds(shop.run(), KEPT, drift=[f"duplicate: {keys}", f"another: {keys}"])
    shop.fails(shop.run(nights_ago=1), LOST, f"refused {keys}")
    report = shop.report()
    assert "example.com" not in repr(report)
    assert "jane" not in repr(report)
    assert report.drifted[0].texts[0] == "duplicate: there is more than one order of this session"


# Money


def test_money_is_summed_for_each_currency_and_day_and_never_across(shop):
    first, second = shop.run(nights_ago=1), shop.run()
    shop.recovers(first, "cs_live_1", 4999, "usd")
    shop.recovers(first, "cs_live_2", 1980, "JPY")
    shop.recovers(second, "cs_live_3", 1, "usd")
    report = shop.report()
    assert report.money == [Money("usd", 5000), Money("jpy", 1980)]
    assert day_of(report, 1).money == (Money("jpy", 1980), Money("usd", 4999))
    assert day_of(report, 0).money == (Money("usd", 1),)


def test_an_order_of_an_earlier_version_counts_and_its_amount_is_unknown(shop):
    run = shop.run()
    shop.recovers(run, "cs_live_1")
    shop.recovers(run, "cs_live_2", 100)
    report = shop.report()
    assert (report.recovered_count, report.without_amount, report.money) == (2, 1, [Money("usd", 100)])


@pytest.mark.parametrize(
    "money", [{"amount": True, "currency": "usd"}, {"amount": "1", "currency": "usd"}, {"amount": 5}]
)
def test_an_amount_that_cannot_be_read_is_unknown(shop, money):
    shop.outcome(shop.run(), LOST, "created", **money)
    assert shop.report().recovered[0].money is None


# The period


def test_the_period_is_whole_days_of_which_today_is_one(shop):
    shop.recovers(shop.run(at=TODAY - 2 * DAY), "cs_live_first")
    shop.recovers(shop.run(at=TODAY - 2 * DAY - 1), "cs_live_before")
    report = shop.report(days=3)
    assert [order.session_id for order in report.recovered] == ["cs_live_first"]
    assert [day.day for day in report.days] == [TODAY - 2 * DAY, TODAY - DAY, TODAY]
    assert (report.start, report.generated_at) == (TODAY - 2 * DAY, NOW + 3600)


def test_a_run_that_begins_after_the_report_is_not_in_it(shop):
    shop.run(at=NOW + 1)
    assert shop.report(now=NOW).runs == ()


def test_a_run_whose_clocks_disagree_took_no_time(shop):
    shop.run(syncCompletedAt=to_iso(NOW - 5))
    assert shop.report().runs[0].seconds == 0


def test_a_run_belongs_to_the_day_it_began_on(shop):
    shop.recovers(shop.run(at=TODAY - 1, syncCompletedAt=to_iso(TODAY + 3000)), LOST, 100)
    report = shop.report(days=2)
    assert [(day.runs, day.recovered, day.longest) for day in report.days] == [(1, 1, 3001), (0, 0, None)]


def test_a_day_shows_its_longest_run_that_has_ended(shop):
    shop.run(at=TODAY + 60, syncCompletedAt=to_iso(TODAY + 100))
    shop.run(at=TODAY + 120, syncCompletedAt=to_iso(TODAY + 130))
    shop.run(at=TODAY + 180, status="running", syncCompletedAt="")
    report = shop.report()
    assert day_of(report, 0).longest == 40
    assert [run.seconds for run in report.runs] == [None, 10, 40]
    assert report.unfinished_runs == 1


def test_the_days_add_up_to_the_whole(shop):
    for night in range(5, -1, -1):
        run = shop.run(nights_ago=night, created=3)
        shop.recovers(run, f"cs_live_lost{night}", 100 + night)
        shop.fails(run, f"cs_live_gone{night % 2}")
        for session in range(4):
            shop.finds(run, f"cs_live_kept{session + night}")
    report = shop.report()
    assert sum(day.recovered for day in report.days) == report.recovered_count == 6 + 12
    assert sum(day.missed.whole for day in report.days) == report.missed.whole
    assert sum(day.errors for day in report.days) == len(report.failed) == 2
    assert sum(money.amount for day in report.days for money in day.money) == report.money[0].amount


def test_nothing_has_no_report_to_speak_of(shop):
    report = shop.report()
    assert (report.runs, report.recovered, report.money, str(report.missed)) == ((), (), [], "-")
    assert len(report.days) == 30


# What is kept no more, and other versions


def test_orders_whose_outcomes_have_expired_count_by_the_runs_counter(shop):
    shop.run(nights_ago=40, processed=9, created=3, skipped=5, errors=1)
    kept = shop.run(processed=1, created=1)
    shop.recovers(kept, LOST, 100)
    report = shop.report(days=60)
    assert report.gone == Gone(runs=1, created=3, errors=1)
    assert (report.recovered_count, day_of(report, 40).recovered) == (4, 3)
    assert report.missed == Share(1, 1)


def test_a_run_that_has_all_its_outcomes_has_lost_nothing(shop):
    run = shop.run(processed=2, created=1, errors=1)
    shop.recovers(run, LOST)
    shop.fails(run, KEPT)
    assert shop.report().gone == Gone()


def test_a_record_without_counters_takes_nothing_from_the_others(shop):
    shop.run(nights_ago=40, processed=4, created=2, errors=2)
    uncounted = shop.run()
    shop.recovers(uncounted, LOST)
    shop.fails(uncounted, KEPT)
    assert shop.report(days=60).gone == Gone(runs=1, created=2, errors=2)


def test_words_of_another_version_stay_as_they_are(shop):
    run = shop.run(status="paused", trigger="phone")
    shop.outcome(run, "cs_live_1", "postponed")
    shop.outcome(run, "cs_live_2", "skipped", reason="dismissed")
    report = shop.report()
    assert report.fates == (("dismissed", 1), ("postponed", 1))
    assert (report.runs[0].status, report.runs[0].trigger) == ("paused", "phone")


def test_records_that_lack_or_twist_attributes_are_read_as_far_as_they_go(shop):
    pk = {"PK": "SYSTEM"}
    shop.put(pk | {"SK": "STRIPE_ORDER_SYNC"})
    shop.put(pk | {"SK": "STRIPE_ORDER_SYNC#counted-only", "created": 4})
    shop.put(pk | {"SK": "STRIPE_ORDER_SYNC#no-time", "syncStartedAt": "yesterday"})
    shop.put(pk | {"SK": "STRIPE_ORDER_SYNC#number", "syncStartedAt": NOW})
    shop.put(pk | {"SK": "STRIPE_ORDER_SYNC#bare", "syncStartedAt": to_iso(NOW), "created": "many"})
    shop.put({"PK": "SYNC_RUN#bare", "SK": "SESSION#cs_live_1"})
    shop.outcome("bare", "cs_live_2", "error", drift="text", attempts="two", errorMessage=7)
    report = shop.report()
    assert [(run.run_id, run.created, run.seconds) for run in report.runs] == [("bare", 0, None)]
    [failed] = report.failed
    assert (failed.error_type, failed.error_message, failed.attempts) == ("-", "", None)
    assert (report.fates, report.drifted) == ((("error", 1), ("unknown", 1)), ())


def test_pages_of_a_table_are_all_read(shop):
    shop.memory.page_items = 2
    run = shop.run()
    for n in range(7):
        shop.recovers(run, f"cs_live_{n}", 1)
    for night in range(1, 6):
        shop.run(nights_ago=night)
    report = shop.report()
    assert (len(report.runs), report.money) == (6, [Money("usd", 7)])


def test_lists_come_newest_first_and_by_session(shop):
    older, newer = shop.run(nights_ago=1), shop.run()
    for run, session in ((newer, "cs_live_b"), (older, "cs_live_c"), (newer, "cs_live_a")):
        shop.recovers(run, session)
    report = shop.report()
    assert [order.session_id for order in report.recovered] == ["cs_live_a", "cs_live_b", "cs_live_c"]
    assert [run.run_id for run in report.runs] == [newer, older]


def test_the_report_of_a_real_night_says_what_the_consumer_did(world):
    for session, user in ((LOST, "u1"), (KEPT, "u2"), ("cs_live_nobody01", None)):
        metadata = {"metadata": {"userId": user} if user else {}}
        world.sells(SessionSpec(session, NOW - 3600, **metadata))
    world.webhook_writes(KEPT, "u2", NOW - 3500)
    world.night()
    report = collect(Table(world.dynamodb, world.table), now=int(world.clock.now), days=1, stack="shop")
    assert [order.session_id for order in report.recovered] == [LOST]
    assert (report.missed, report.gone) == (Share(1, 2), Gone())
    assert dict(report.fates) == {"created": 1, "exists": 1, "no_user": 1}
    assert [run.run_id for run in report.runs] == [RUN]


# Shares


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
def test_a_share_is_never_rounded_to_none_or_to_all(share, text):
    assert str(share) == text
