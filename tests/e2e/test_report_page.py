"""The report in a real browser: its numbers, layout and accessibility.

The tests need Chromium (Debian and Ubuntu: `apt-get install chromium`).
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Error, sync_playwright

from ops.format.money import Money
from ops.report import render_page
from ops.runs.finding import StatusFinding
from ops.runs.system_state import StateLevel, SystemState
from testkit.reports import FINE, ReportedShop, a_busy_month
from tests.proofs import PROVE_ALL

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE, DESK = (360, 740), (1280, 900)
SCREENS = [(size, scheme) for size in (PHONE, DESK) for scheme in ("light", "dark")]
# Each size and each scheme once.
FEW_SCREENS = SCREENS[::3]
LEAST_CONTRAST = 4.5
LONG = "x" * 400

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def one_run():
    shop = ReportedShop()
    run = shop.run(processed=1, created=1)
    shop.create(run, "cs_test_a1B2c3D4", 4999)
    return shop


def a_flood():
    """Return 5,010 recovered orders in eight currencies, and texts without line breaks."""
    shop = ReportedShop()
    currencies = ["usd", "jpy", "eur", "gbp", "kwd", "chf", "krw", "sek"]
    for night in range(30):
        run = shop.run(nights_ago=night)
        for n in range(167):
            shop.create(run, f"cs_live_{night:04}{n:04}", 10**11 + n, currencies[n % 8])
        shop.fail(run, f"cs_live_{LONG}{night}", LONG)
        shop.find(run, f"cs_live_diff{night}", drift=[LONG])
    return shop


def a_quiet_month():
    shop = ReportedShop()
    for night in range(30):
        shop.find(shop.run(nights_ago=night), f"cs_live_{night}")
    return shop


SHOPS = {
    "empty": ReportedShop,
    "one": one_run,
    "quiet": a_quiet_month,
    "busy": a_busy_month,
    "flood": a_flood,
}
# A bad week: every kind of action, with texts without line breaks.
ACTIONS = (
    StatusFinding("no_scheduled_run", "no scheduled run has ended since Friday", "nightly-sync runs"),
    StatusFinding(
        "disputed", LONG, f"nightly-sync explain {LONG}", 2, (Money("usd", 10**14),), 1, "https://s"
    ),
)
STATES = {
    "empty": SystemState(StateLevel.NO_RUN, "No scheduled run has ended yet.", ACTIONS[:1]),
    "busy": SystemState(StateLevel.NEEDS_ACTION, "Action needed.", ACTIONS[1:]),
    "flood": SystemState(StateLevel.NO_RUN, "No scheduled run has ended since Friday.", ACTIONS),
}


@dataclass
class Opened:
    """A report in a browser tab, with the tab's requests and errors."""

    tab: Any
    report: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def text(self, selector):
        return [" ".join(one.split()) for one in self.tab.locator(selector).all_inner_texts()]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Containers have no namespaces for the sandbox; only our own pages are opened.
            args=["--no-sandbox"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports():
    stacks = {"flood": LONG}
    return {
        name: make().report(stack=stacks.get(name, "shop-sync"), state=STATES.get(name, FINE))
        for name, make in SHOPS.items()
    }


@pytest.fixture
def open_report(browser, reports, tmp_path):
    contexts = []

    def open_one(name, size=DESK, scheme="light"):
        file = tmp_path / "report.html"
        file.write_text(render_page(reports[name]), encoding="utf-8")
        width, height = size
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        contexts.append(context)
        opened = Opened(context.new_page(), reports[name])
        opened.tab.on("request", lambda request: opened.requests.append(request.url))
        opened.tab.on("console", lambda message: opened.errors.append(message.text))
        opened.tab.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.tab.goto(file.as_uri())
        return opened

    yield open_one
    for context in contexts:
        with suppress(Error):
            context.close()


@pytest.mark.parametrize(("size", "scheme"), SCREENS if PROVE_ALL else FEW_SCREENS)
@pytest.mark.parametrize("name", SHOPS)
def test_page_fits_and_is_readable_without_requests(open_report, name, size, scheme):
    opened = open_report(name, size, scheme)
    assert opened.tab.evaluate("document.documentElement.scrollWidth") == size[0]
    assert opened.tab.evaluate(OUTSIDE) == []
    assert opened.requests == [opened.tab.url]
    assert opened.errors == []
    faint = [text for text in opened.tab.evaluate(CONTRASTS) if text["contrast"] < LEAST_CONTRAST]
    assert faint == []


def test_light_and_dark_have_different_backbackgrounds(open_report):
    backgrounds = {
        open_report("busy", DESK, scheme).tab.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert len(backgrounds) == 2


@pytest.mark.parametrize("name", ["one", "busy", "flood"])
def test_page_shows_the_numbers_of_the_report(open_report, name):
    opened = open_report(name)
    report = opened.report
    figures = opened.text(".cards .figure")
    assert figures == [
        f"{report.recovered_count:,}",
        *(money.with_symbol.replace("\xa0", " ") for money in report.money),
        str(report.missed),
        f"{len(report.failed):,}",
        f"{len(report.drifted):,}",
        f"{len(report.runs):,}",
    ]
    assert opened.text(".verdict") == [report.state.headline]
    days = opened.tab.locator("table").filter(has_text="Day by day").locator("tbody tr")
    shown = [int(cell.replace(",", "")) for cell in opened.text("#days tbody td:nth-child(3)") if cell != "-"]
    assert days.count() == len(report.days)
    assert sum(shown) == report.recovered_count


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("name", ["one", "busy", "flood"])
def test_chart_has_a_bar_per_day_with_a_value(open_report, name, size):
    opened = open_report(name, size)
    days = [day for day in opened.report.days if day.recovered]
    boxes = opened.tab.evaluate(BARS)
    assert len(boxes) == len(days)
    assert all(box["width"] > 1 and box["height"] > 2 for box in boxes)
    assert max(box["height"] for box in boxes) > 90


def test_actions_and_errors_come_before_the_charts_on_a_phone(open_report):
    tab = open_report("flood", PHONE).tab
    tops = [
        tab.locator(one).first.bounding_box()["y"] for one in (".verdict", ".actions", "#errors", "figure")
    ]
    assert tops == sorted(tops)
    assert tops[1] < PHONE[1]


def test_charts_and_scrolling_regions_have_names(open_report):
    tab = open_report("busy").tab
    for name in ("Orders recovered: 32", "Missed webhooks: 1.8%", "Longest run: 3 min 9 s"):
        assert tab.get_by_role("img", name=name, exact=True).count() == 1
    for name in ("Day by day", "Orders that runs wrote", "Runs by their own records"):
        assert tab.get_by_role("region", name=name).and_(tab.locator(".scroll")).count() == 1
    for role in ("banner", "main", "contentinfo", "navigation"):
        assert tab.get_by_role(role).count() == 1
    unnamed = tab.get_by_role("link").evaluate_all(
        "links => links.filter(one => !one.innerText.trim()).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_keyboard_reaches_every_region_and_link_visibly(open_report, size):
    opened = open_report("busy", size)
    wanted = opened.tab.locator("a, .scroll").count()
    stops = []
    for _ in range(wanted):
        opened.tab.keyboard.press("Tab")
        stops.append(opened.tab.evaluate(FOCUS))
    assert [stop["place"] for stop in stops] == list(range(wanted))
    assert all(stop["outline"] for stop in stops)


def test_table_scrolls_sideways_with_the_keyboard_on_a_phone(open_report):
    tab = open_report("busy", PHONE).tab
    region = tab.locator(".scroll").first
    region.focus()
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    tab.wait_for_function("() => document.querySelector('.scroll').scrollLeft > 0")


def test_hostile_message_is_shown_as_text(open_report, reports):
    shop = ReportedShop()
    message = "<script>document.title = 'taken'</script><img src=http://127.0.0.1:9/ onerror=alert(1)>"
    shop.fail(shop.run(), "cs_live_1", message)
    reports["hostile"] = shop.report()
    opened = open_report("hostile")
    assert message in opened.text("#errors td.words")[0]
    assert "taken" not in opened.tab.title()
    assert opened.requests == [opened.tab.url]


# Elements that exceed the screen outside of scrolling regions.
OUTSIDE = """() => [...document.querySelectorAll('body *')]
  .filter(one => !one.closest('.scroll *') && one.getBoundingClientRect().right > innerWidth + 0.5)
  .map(one => one.outerHTML.slice(0, 120))"""

# Contrast by https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio of every text to its background.
CONTRASTS = """() => {
  const parse = text => text.match(/[0-9.]+/g).map(Number);
  const channel = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = one => {
    for (; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    throw new Error('no ground');
  };
  const seen = new Map();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || one.closest('svg')) continue;
    const [ink, under] = [parse(getComputedStyle(one).color), ground(one)];
    const [dark, bright] = [light(ink), light(under)].sort((a, b) => a - b);
    seen.set(`${ink} on ${under}`, {
      colors: `${ink} on ${under}`, text: walk.currentNode.data.slice(0, 40),
      contrast: (bright + 0.05) / (dark + 0.05),
    });
  }
  return [...seen.values()];
}"""

BARS = """() => [...document.querySelectorAll('.chart')[0].querySelectorAll('.bar')]
  .map(bar => bar.getBoundingClientRect()).map(({width, height}) => ({width, height}))"""

FOCUS = """() => ({
  place: [...document.querySelectorAll('a, .scroll')].indexOf(document.activeElement),
  outline: getComputedStyle(document.activeElement).outlineStyle !== 'none',
})"""
