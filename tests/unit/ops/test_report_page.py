"""The page of a report: one well-formed file that loads nothing and takes no stored text for markup."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from ops.format.ids import shorten_id
from ops.format.links import session_url
from ops.format.masking import mask_emails, mask_keys
from ops.format.money import Money, totals
from ops.format.text import duration
from ops.report import render_page
from ops.report.charts import Bar, Chart, render_chart
from ops.report.headline import find_missed_tone, render_headline
from ops.report.markup import Html, element
from ops.report.tables import MAX_ROWS
from ops.runs.finding import StatusFinding
from ops.runs.system_state import StateLevel, SystemState
from testkit.reports import ReportedShop, a_busy_month

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'
VOID = {"meta", "link"}
NIGHT = datetime(2024, 11, 27, 2, 0, tzinfo=UTC)
WAIT = StatusFinding("no_scheduled_run", "no scheduled run has ended yet", "nightly-sync run --dry-run")


class ParsedPage(HTMLParser):
    """The elements and texts of a page. Raises AssertionError if a tag is not closed in order."""

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


@pytest.fixture(scope="module", params=[ReportedShop, a_busy_month], ids=["empty", "busy"])
def html(request):
    return render_page(request.param().report())


# The headline


def read_headline(report):
    return "".join(ParsedPage(render_headline(report)).texts).replace("\xa0", " ")


def test_headline_names_orders_and_money(shop):
    run = shop.run()
    for n in range(41):
        shop.create(run, f"cs_live_{n}", *((1208, "jpy") if n < 3 else (3170, "usd")))
    assert read_headline(shop.report()) == (
        "Today 41 orders worth ¥3,624 and $1,204.60 were recovered that would have been lost. "
        "The cause: the webhook missed 100% of 41 orders."
    )


def test_headline_of_one_order_today_is_singular(shop):
    shop.create(shop.run(), "cs_live_1", 4999)
    expected = "Today 1 order worth $49.99 was recovered that would have been lost."
    assert read_headline(shop.report(days=1)).startswith(expected)


def test_headline_names_only_known_amounts(shop):
    run = shop.run()
    shop.create(run, "cs_live_1")
    assert "1 order was recovered that would have been lost." in read_headline(shop.report())
    shop.create(run, "cs_live_2", 4999)
    assert "2 orders worth at least $49.99 were" in read_headline(shop.report())


@pytest.mark.parametrize("currency", ["usd", None])
def test_free_orders_are_known_amounts(shop, currency):
    run = shop.run()
    shop.outcome(run, "cs_live_free", "created", amount=0, **{"currency": currency} if currency else {})
    assert "1 order (free) was recovered" in read_headline(shop.report())
    shop.create(run, "cs_live_2", 4999)
    html = render_page(shop.report())
    assert "2 orders worth $49.99 were" in read_headline(shop.report())
    assert (html.count(">free<"), html.count(">unknown<")) == (1, 0)
    shop.create(run, "cs_live_3")
    assert ">unknown<" in render_page(shop.report())
    assert "$49.99</div><div>1 unknown" in render_page(shop.report())


def test_headline_names_three_currencies(shop):
    run = shop.run()
    for n, currency in enumerate(("eur", "usd", "jpy", "gbp", "chf")):
        for order in range(9 - n):
            shop.create(run, f"cs_live_{currency}{order}", 100, currency)
    assert "worth €9.00, ¥700, $8.00 and 2 more currencies were" in read_headline(shop.report())


def test_headline_without_losses_counts_existing_orders(shop):
    run = shop.run()
    for n in range(1790):
        shop.find(run, f"cs_live_{n}")
    shop.run(nights_ago=29)
    expected = "In the last 30 days no order had to be recovered: 1,790 orders already existed."
    assert read_headline(shop.report()) == expected
    shop.fail(run, "cs_live_failed")
    assert read_headline(shop.report()) == f"{expected} 1 error is still open."


def test_headline_without_orders_says_whether_there_were_runs(shop):
    assert read_headline(shop.report()).startswith("In the last 30 days no run began.")
    shop.run()
    assert read_headline(shop.report()) == "Today 1 run found no order to recover."


@pytest.mark.parametrize(
    ("attributes", "trouble"),
    [
        ({"status": "failed", "failureType": "KeyRejected"}, "failed: KeyRejected"),
        ({"status": "held"}, "held"),
        ({"status": "running", "listed": False, "syncCompletedAt": ""}, "its producer was killed"),
    ],
)
def test_headline_and_charts_name_runs_that_did_not_succeed(shop, attributes, trouble):
    shop.run(**attributes)
    expected = "Today no run processed all of its sessions. 1 run did not succeed."
    assert read_headline(shop.report()) == expected
    shop.run(nights_ago=1)
    expected = "In the last 2 days 1 run found no order to recover. 1 run did not succeed."
    assert read_headline(shop.report()) == expected
    html = render_page(shop.report())
    assert f"Nights that did not succeed: 2024-11-27 ({trouble})." in html
    assert html.count('class="trouble"') == html.count("<figure") > 0


def test_share_of_missed_webhooks_is_coloured_by_its_size(shop):
    run = shop.run()
    for n in range(1000):
        shop.find(run, f"cs_live_{n}")
    tones = {}
    for lost in range(60):
        if lost in {0, 10, 11, 52, 53, 59}:
            tones[lost] = find_missed_tone(shop.report().missed)
        shop.create(run, f"cs_live_lost{lost}")
    assert tones == {0: "good", 10: "good", 11: "open", 52: "open", 53: "bad", 59: "bad"}
    html = render_page(shop.report())
    assert html.count('class="bad">5.7%') == 2
    assert "The cause: the webhook missed" in html


# The state


def test_page_begins_with_the_state_and_its_actions(shop):
    action = StatusFinding(
        "disputed", "disputed: 1 session", "nightly-sync explain cs_1", 1, (Money("eur", 5),)
    )
    state = SystemState(
        StateLevel.NEEDS_ACTION, "Action needed.", (action,), NIGHT, NIGHT + timedelta(days=1)
    )
    shop.run()
    html = render_page(shop.report(state=state))
    parts = ("Action needed.", ">€0.05<", 'href="#runs"', "<code>nightly-sync explain cs_1</code>")
    places = [html.index(part) for part in (*parts, 'id="period"', 'id="errors"', 'id="days"')]
    assert places[1:] == sorted(places[1:])
    assert 'class="status open"' in html
    assert "ended <time" in html
    assert "2024-11-27 02:00 UTC</time>; the next one is due" in html


def test_page_of_a_good_night_is_green_and_has_no_actions(shop):
    shop.run()
    html = render_page(shop.report())
    assert 'class="status good"' in html
    assert "All is well." in html
    assert "<ol" not in html


def test_page_before_the_first_run_is_not_green():
    state = SystemState(StateLevel.NO_RUN, "No scheduled run has ended yet.", (WAIT,))
    html = render_page(ReportedShop().report(state=state))
    assert 'class="status bad"' in html
    assert "The next run is not scheduled." in html
    assert 'href="#runs"' not in html


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sessions": 2, "unknown_amounts": 2}, "2 sessions, amount unknown"),
        (
            {"sessions": 2, "money": (Money("usd", 500),), "unknown_amounts": 1},
            "2 sessions, $5.00, 1 unknown",
        ),
        ({"sessions": 1, "money": (Money("usd", 0),)}, "1 session, free"),
        ({"sessions": 3}, "3 sessions"),
        ({}, None),
    ],
)
def test_action_tells_free_unknown_and_absent_amounts_apart(shop, changes, text):
    state = SystemState(StateLevel.NEEDS_ACTION, "Action needed.", (replace(WAIT, **changes),))
    html = render_page(shop.report(state=state))
    assert re.findall('<p class="amount">([^<]*)<', html) == ([text] if text else [])


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://dashboard.stripe.com/search?query=x", "Open in Stripe"), ("https://d/r.md#a", "Runbook")],
)
def test_action_links_to_its_address(shop, url, name):
    state = SystemState(StateLevel.NEEDS_ACTION, "Action needed.", (replace(WAIT, url=url),))
    assert f'<a href="{url}" rel="noopener noreferrer">{name}</a>' in render_page(shop.report(state=state))


def test_currencies_have_one_order_on_the_page_as_everywhere(shop):
    run = shop.run()
    for n, currency in enumerate(["aud", "usd", "usd", "jpy", "jpy", "jpy"]):
        shop.create(run, f"cs_live_{n}", 1000, currency)
    money = totals(Money(currency, 1) for currency in ("usd", "jpy", "aud"))
    action = replace(WAIT, sessions=2, money=tuple(money))
    html = render_page(shop.report(state=SystemState(StateLevel.NEEDS_ACTION, "Action needed.", (action,))))
    assert "A$0.01, ¥1, $0.01" in html
    assert "<div>A$10.00</div><div>¥3,000</div><div>$20.00</div>" in html
    assert re.findall("Recovered in ([A-Z]+)<", html) == ["AUD", "JPY", "USD"]
    assert "USD</" not in html.replace("Recovered in USD</", "")


# Markup


def test_stored_text_is_escaped(shop):
    run = shop.run(status=HOSTILE, trigger=HOSTILE)
    shop.outcome(run, HOSTILE, "created", orderNumber=HOSTILE, amount=1, currency=HOSTILE)
    shop.outcome(run, "cs_live_1", HOSTILE, reason=HOSTILE)
    shop.fail(run, f"cs_live_{HOSTILE}", HOSTILE, errorType=HOSTILE)
    shop.find(run, "cs_live_2", drift=[HOSTILE])
    parsed = ParsedPage(render_page(replace(shop.report(), stack=HOSTILE)))
    assert not parsed.all("script", "img")
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "".join(parsed.texts).count(HOSTILE) >= 8


def test_element_escapes_text_and_attributes_but_not_markup():
    made = element("a", "<b>", [Html("<i>x</i>"), "&"], href='"', class_="c", aria_label="l", id=None)
    assert made == '<a href="&quot;" class="c" aria-label="l">&lt;b&gt;<i>x</i>&amp;</a>'


def test_masking_does_not_change_the_page(html):
    assert mask_keys(mask_emails(html)) == html


def test_page_is_well_formed_and_loads_nothing(html):
    parsed = ParsedPage(html)
    assert not parsed.all("script", "img", "iframe", "object", "form", "base")
    assert [link["href"] for link in parsed.all("link")] == ["data:,"]
    [policy] = [meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert not re.search(r"url\(|@import", html)
    ids = Counter(attributes["id"] for _, attributes in parsed.elements if "id" in attributes)
    assert not [name for name, count in ids.items() if count > 1]
    labels = {attributes.get("aria-labelledby") for _, attributes in parsed.elements} - {None}
    assert labels <= set(ids)
    assert parsed.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_have_captions_and_scopes_and_pages_are_equal():
    html = render_page(a_busy_month().report())
    parsed = ParsedPage(html)
    assert len(parsed.all("caption")) == len(parsed.all("table")) == 6
    assert {head.get("scope") for head in parsed.all("th")} == {"col", "row"}
    assert render_page(a_busy_month().report()) == html


def test_listed_sessions_are_linked_to_stripe(shop):
    run = shop.run()
    sessions = ["cs_live_lost0001", "cs_test_gone0001", "cs_live_diff0001"]
    shop.create(run, sessions[0])
    shop.fail(run, sessions[1])
    shop.find(run, sessions[2], drift=["amount: the order says 1, Stripe 2"])
    links = {link["href"] for link in ParsedPage(render_page(shop.report())).all("a")}
    assert {link for link in links if link.startswith("https")} == set(map(session_url, sessions))


@pytest.mark.parametrize(
    ("session_id", "url"),
    [
        ("cs_live_a1B2", "https://dashboard.stripe.com/search?query=cs_live_a1B2"),
        ("cs_test_a1B2", "https://dashboard.stripe.com/test/search?query=cs_test_a1B2"),
        ('cs_&q="/?#', "https://dashboard.stripe.com/search?query=cs_%26q%3D%22%2F%3F%23"),
    ],
)
def test_session_url_is_a_search_in_its_mode(session_id, url):
    assert session_url(session_id) == url


# Limits


@pytest.mark.parametrize("hidden", [0, 1204])
def test_long_list_ends_with_the_number_of_hidden_rows(shop, hidden):
    run = shop.run()
    for n in range(MAX_ROWS + hidden):
        shop.create(run, f"cs_live_{n:06}", 100)
    html = render_page(shop.report())
    assert html.count("search?query=cs_live_") == MAX_ROWS
    assert f"{MAX_ROWS + hidden:,}" in html
    assert re.findall("([0-9,]+) more are not shown", html) == ([f"{hidden:,}"] if hidden else [])


def test_currencies_beyond_the_charts_are_counted(shop):
    run = shop.run()
    for n, currency in enumerate(["aud", "cad", "chf", "eur", "gbp", "jpy", "sek", "usd"]):
        shop.create(run, f"cs_live_{n}", 100, currency)
    html = render_page(shop.report())
    assert "2 more currencies in the table only." in html
    assert len(re.findall(r">Recovered in [A-Z]{3}<", html)) == 6


# Notes


def test_notes_name_what_is_not_in_the_report(shop):
    shop.run(nights_ago=40, processed=9, created=3, skipped=5, errors=1)
    shop.create(shop.run(status="running", syncCompletedAt=""), "cs_live_1")
    notes = render_page(shop.report(days=60)).partition('id="unknown-heading"')[2]
    for text in (
        "kept for 30 days, the record of a run for 90 days",
        "The outcomes of 1 run are not complete any more.",
        "3 recovered orders and 1 error are not listed",
        "The amount of 1 listed order is unknown",
        "1 run had not ended",
    ):
        assert text in notes


def test_notes_do_not_count_what_is_not_missing(shop):
    shop.run(nights_ago=40, processed=5, skipped=4, errors=1)
    notes = render_page(shop.report(days=60)).partition('id="unknown-heading"')[2]
    assert "According to the counters, 1 error is not listed." in notes
    assert "recovered order" not in notes


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({}, "all succeeded"),
        ({"errors": 1}, "1 ended with errors"),
        ({"status": "running", "syncCompletedAt": ""}, "1 not ended"),
        ({"status": "failed"}, "1 did not succeed"),
    ],
)
def test_card_of_the_runs_says_how_they_ended(shop, attributes, text):
    shop.run(**attributes)
    html = render_page(shop.report())
    assert re.search(rf'<dt>Runs</dt><dd class="figure">1</dd><dd class="note[ a-z]*">{text}</dd>', html)
    # A count that is zero in all runs has no column, so that the others fit.
    heads = re.findall(r">([A-Za-z]+)</th>", html.partition('id="nights-caption"')[2].partition("<tbody>")[0])
    assert heads == ["Run", "Trigger", "Status", "Took", "Enqueued", "Created", "Errors"]


# Charts


def draw(*values):
    bars = [Bar(f"day {n}", value, str(value)) for n, value in enumerate(values)]
    return ParsedPage(render_chart(Chart("orders", "Orders", "9", bars)))


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ((50, 100, 25), [("bar", 50), ("bar", 100), ("bar", 25)]),
        ((1, 10**9, 0, None), [("bar", 6), ("bar", 100), ("none", 2)]),
    ],
)
def test_bars_show_values_and_small_ones_stay_visible(values, marks):
    bars = [(bar["class"], int(bar["height"])) for bar in draw(*values).all("rect")]
    assert [bar for bar in bars if bar[0] != "slot"] == marks


def test_chart_has_a_description():
    text = "".join(draw(3, 7, 0, None).texts)
    assert "Most: 7 on day 1" in text
    assert "Days with a value: 2; with zero: 1; without a run: 1; on which a run did not succeed: 0." in text
    assert "None on any day" in "".join(draw(0, None).texts)


# Formats


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
def test_duration_has_at_most_two_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("session_id", "text"),
    [("cs_live_a1B2c3D4e5F6g7H8", "cs_live_…e5F6g7H8"), ("cs_test_a1B2c3D4", "cs_test_a1B2c3D4"), ("x", "x")],
)
def test_session_id_is_shortened_to_its_end(session_id, text):
    assert shorten_id(session_id) == text
