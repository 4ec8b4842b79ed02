"""The page of a report: one file, nothing loaded, nothing of the table taken for markup."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from ops.format.masking import without_emails, without_keys
from ops.format.text import duration
from ops.report import page
from ops.report.charts import Bar, Chart, chart
from ops.report.headline import headline
from ops.report.markup import Html, element
from ops.report.tables import MAX_ROWS
from ops.report.text import short_id
from testkit.reports import ReportedShop, a_busy_month

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'
VOID = {"meta", "link"}


class Parsed(HTMLParser):
    """Elements and text of a page; fails where a tag is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture
def shop():
    return ReportedShop()


def sentence(report):
    return "".join(Parsed(headline(report)).texts).replace("\xa0", " ")


# In a sentence


def test_the_sentence_says_what_was_recovered(shop):
    run = shop.run()
    for n in range(41):
        shop.recovers(run, f"cs_live_{n}", *((1208, "jpy") if n < 3 else (3170, "usd")))
    assert sentence(shop.report()) == (
        "In the last 30 days 41 orders worth 1,204.60 USD and 3,624 JPY "
        "were recovered that would have been lost."
    )


def test_the_sentence_of_one_order_of_today_is_in_the_singular(shop):
    shop.recovers(shop.run(), "cs_live_1", 4999)
    assert sentence(shop.report(days=1)) == (
        "Today 1 order worth 49.99 USD was recovered that would have been lost."
    )


def test_the_sentence_says_so_where_amounts_are_not_known(shop):
    run = shop.run()
    shop.recovers(run, "cs_live_1", 4999)
    shop.recovers(run, "cs_live_2")
    assert "2 orders worth at least 49.99 USD were" in sentence(shop.report())


def test_the_sentence_names_no_amount_where_none_is_known(shop):
    shop.recovers(shop.run(), "cs_live_1")
    assert sentence(shop.report()).endswith("1 order was recovered that would have been lost.")


def test_the_sentence_names_three_currencies_and_counts_the_others(shop):
    run = shop.run()
    for n, currency in enumerate(("eur", "usd", "jpy", "gbp", "chf")):
        for order in range(9 - n):
            shop.recovers(run, f"cs_live_{currency}{order}", 100, currency)
    assert "worth 9.00 EUR, 8.00 USD, 700 JPY and 2 more currencies were" in sentence(shop.report())


def test_the_sentence_of_a_month_without_losses_says_that_all_were_there(shop):
    run = shop.run()
    for n in range(1790):
        shop.finds(run, f"cs_live_{n}")
    assert sentence(shop.report()) == (
        "In the last 30 days no order had to be recovered: 1,790 orders were there already."
    )


def test_the_sentence_without_losses_does_not_hide_what_is_open(shop):
    run = shop.run()
    shop.finds(run, "cs_live_1")
    shop.fails(run, "cs_live_2")
    assert sentence(shop.report()) == (
        "In the last 30 days no order had to be recovered: 1 order was there already. 1 session needs a look."
    )


def test_the_sentence_before_the_first_run_promises_nothing(shop):
    assert sentence(shop.report()).startswith("In the last 30 days no run began.")


def test_runs_that_met_nothing_say_so(shop):
    shop.run()
    assert sentence(shop.report()) == "In the last 30 days 1 run met no order to recover."


def test_a_run_that_failed_is_none_that_met_nothing(shop):
    shop.run(status="failed", failureType="KeyRejected")
    assert sentence(shop.report()) == (
        "In the last 30 days no run looked at all of its sessions. 1 run failed."
    )
    assert "failed: KeyRejected" in page(shop.report())
    shop.run(nights_ago=1)
    assert sentence(shop.report()) == "In the last 30 days 1 run met no order to recover. 1 run failed."


# Markup


def test_nothing_of_the_table_becomes_markup(shop):
    run = shop.run(status=HOSTILE, trigger=HOSTILE)
    shop.outcome(run, HOSTILE, "created", orderNumber=HOSTILE, amount=1, currency=HOSTILE)
    shop.outcome(run, "cs_live_1", HOSTILE, reason=HOSTILE)
    shop.fails(run, f"cs_live_{HOSTILE}", HOSTILE, errorType=HOSTILE)
    shop.finds(run, "cs_live_2", drift=[HOSTILE])
    parsed = Parsed(page(replace(shop.report(), stack=HOSTILE)))
    assert not parsed.all("script", "img")
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "".join(parsed.texts).count(HOSTILE) >= 8


@pytest.mark.parametrize("shop", [ReportedShop(), a_busy_month()], ids=["empty", "busy"])
def test_masking_a_page_takes_nothing_of_the_page_itself_away(shop):
    text = page(shop.report())
    assert without_keys(without_emails(text)) == text


def test_an_element_escapes_text_and_attributes_and_keeps_markup():
    made = element("a", "<b>", [Html("<i>x</i>"), "&"], href='"', class_="c", aria_label="l", id=None)
    assert made == '<a href="&quot;" class="c" aria-label="l">&lt;b&gt;<i>x</i>&amp;</a>'


@pytest.mark.parametrize("shop", [ReportedShop(), a_busy_month()], ids=["empty", "busy"])
def test_the_page_is_well_formed_and_loads_nothing(shop):
    parsed = Parsed(page(shop.report()))
    assert not parsed.all("script", "img", "iframe", "object", "form", "base")
    assert [link["href"] for link in parsed.all("link")] == ["data:,"]
    [policy] = [meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert not re.search(r"url\(|@import", page(shop.report()))
    ids = Counter(attributes["id"] for _, attributes in parsed.elements if "id" in attributes)
    assert not [name for name, count in ids.items() if count > 1]
    named = [attributes.get("aria-labelledby") for _, attributes in parsed.elements]
    assert {name for name in named if name} <= set(ids)
    assert parsed.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize("shop", [ReportedShop(), a_busy_month()], ids=["empty", "busy"])
def test_headings_go_down_one_step_at_a_time(shop):
    levels = [int(tag[1]) for tag, _ in Parsed(page(shop.report())).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_every_head_a_scope():
    parsed = Parsed(page(a_busy_month().report()))
    assert len(parsed.all("caption")) == len(parsed.all("table")) == 6
    assert {head.get("scope") for head in parsed.all("th")} == {"col", "row"}


def test_a_page_is_the_same_for_the_same_report():
    assert page(a_busy_month().report()) == page(a_busy_month().report())


def test_what_is_in_the_lists_is_linked_to_stripe(shop):
    run = shop.run()
    shop.recovers(run, "cs_live_lost0001")
    shop.fails(run, "cs_test_gone0001")
    shop.finds(run, "cs_live_diff0001", drift=["amount: the order says 1, Stripe 2"])
    links = {
        link["href"] for link in Parsed(page(shop.report())).all("a") if link["href"].startswith("https")
    }
    assert links == {
        "https://dashboard.stripe.com/search?query=cs_live_lost0001",
        "https://dashboard.stripe.com/test/search?query=cs_test_gone0001",
        "https://dashboard.stripe.com/search?query=cs_live_diff0001",
    }


# How much


def test_a_long_list_ends_with_how_many_more_there_are(shop):
    run = shop.run()
    for n in range(MAX_ROWS + 1204):
        shop.recovers(run, f"cs_live_{n:06}", 100)
    text = page(shop.report())
    assert "1,204 more are not shown." in text
    assert text.count("search?query=cs_live_") == MAX_ROWS
    assert "1,704" in text


def test_a_list_that_is_just_full_has_no_more(shop):
    run = shop.run()
    for n in range(MAX_ROWS):
        shop.recovers(run, f"cs_live_{n:06}")
    assert "more are not shown" not in page(shop.report())


def test_more_currencies_than_charts_are_named_as_being_in_the_table(shop):
    run = shop.run()
    for n, currency in enumerate(["aud", "cad", "chf", "eur", "gbp", "jpy", "sek", "usd"]):
        shop.recovers(run, f"cs_live_{n}", 100, currency)
    text = page(shop.report())
    assert "2 more currencies in the table only." in text
    assert len(re.findall(r">Recovered in [A-Z]{3}<", text)) == 6


# What is not known


def notes_of(report):
    return page(report).partition('id="unknown-heading"')[2]


def test_the_page_says_how_long_things_are_kept(shop):
    assert "kept for 30 days, the record of a run for 90" in notes_of(shop.report())


def test_the_page_says_what_only_counters_still_know(shop):
    shop.run(nights_ago=40, processed=9, created=3, skipped=5, errors=1)
    notes = notes_of(shop.report(days=60))
    assert "Of 1 run not all details are kept any more." in notes
    assert "3 recovered orders and 1 error more than are listed" in notes


def test_the_page_says_of_how_many_orders_it_knows_no_amount(shop):
    shop.recovers(shop.run(), "cs_live_1")
    assert "For 1 listed order no amount is recorded" in notes_of(shop.report())


def test_the_page_says_that_a_run_is_going_on(shop):
    shop.run(status="running", syncCompletedAt="")
    assert "1 run had not ended" in notes_of(shop.report())


# Charts


def drawn(*values):
    bars = [Bar(f"day {n}", value, str(value)) for n, value in enumerate(values)]
    return Parsed(chart(Chart("orders", "Orders", "9", bars)))


def test_a_bar_is_as_high_as_its_value():
    heights = [int(bar["height"]) for bar in drawn(50, 100, 25).all("rect") if bar["class"] == "bar"]
    assert heights == [50, 100, 25]


def test_a_small_value_is_seen_and_none_is_another_mark():
    marks = [(bar["class"], int(bar["height"])) for bar in drawn(1, 10**9, 0, None).all("rect")]
    assert [mark for mark in marks if mark[0] != "slot"] == [("bar", 6), ("bar", 100), ("none", 2)]


def test_a_chart_says_in_words_what_it_shows():
    text = "".join(drawn(3, 7, 0, None).texts)
    assert "Most: 7 on day 1" in text
    assert "Days with any: 2; with none: 1; without a run: 1." in text


def test_a_chart_of_nothing_says_so():
    assert "None on any day" in "".join(drawn(0, None).texts)


# Words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("session_id", "text"),
    [("cs_live_a1B2c3D4e5F6g7H8", "cs_live_…e5F6g7H8"), ("cs_test_a1B2c3D4", "cs_test_a1B2c3D4"), ("x", "x")],
)
def test_a_session_is_named_by_its_end(session_id, text):
    assert short_id(session_id) == text
