"""The page: one HTML file without scripts that loads nothing, for a disk or an e-mail."""

from collections.abc import Callable, Sequence

from ops.report import text
from ops.report.headline import render_headline
from ops.report.markup import Content, Html, element
from ops.report.model import SyncReport
from ops.report.notes import render_notes
from ops.report.overview import render_cards, render_charts
from ops.report.state import render_state
from ops.report.style import STYLE
from ops.report.tables import (
    attention_table,
    days_table,
    drifted_table,
    failed_table,
    fates_table,
    recovered_table,
    runs_table,
)

# How every page begins, and hardly another file does.
PAGE_BEGINNING = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
    '<meta http-equiv="Content-Security-Policy" content="'
)
_TITLE = "Recovered orders of"
# The browser enforces that the page loads and runs nothing, whatever it contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def render_page(report: SyncReport) -> str:
    """Return the page; equal reports give equal pages."""
    sections = _build_sections(report)
    body = element(
        "body",
        element("header", *_render_heading(report), render_state(report), _render_contents(sections)),
        element("main", *(_render_section(*section) for section in sections)),
        element("footer", element("p", "Times are UTC. Amounts are never added up across currencies.")),
    )
    return f"<!doctype html>\n{element('html', _render_head(report), body, lang='en')}\n"


def _render_head(report: SyncReport) -> Html:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        # Without it the browser requests one.
        element("link", rel="icon", href="data:,"),
        element("title", f"{report.state.headline} {_TITLE} {report.stack}, {_format_day(report)}"),
        element("style", Html(STYLE)),
    )


def _render_heading(report: SyncReport) -> list[Content]:
    generated = text.format_time(report.generated_at)
    return [
        element("h1", f"{_TITLE} {report.stack}"),
        element(
            "p",
            [
                element("time", text.format_date(report.start), datetime=text.format_date(report.start)),
                " to ",
            ],
            element("time", _format_day(report), datetime=_format_day(report)),
            ", generated at ",
            element("time", f"{generated} UTC", datetime=f"{generated}Z"),
            class_="period",
        ),
    ]


def _format_day(report: SyncReport) -> str:
    return text.format_date(report.generated_at)


def _build_sections(report: SyncReport) -> list[tuple[str, str, Content]]:
    """Return id, heading and content of each section; before the first run most are left out.

    Problems come before the charts, which fill the screen of a phone.
    """
    unknown = ("unknown", "What this page cannot show", render_notes(report))
    attention = []
    if report.attention:
        attention = [("attention", "Needs a person", attention_table(report.attention))]
    headline = render_headline(report)
    if not report.runs:
        return [*attention, ("period", "The period", headline), unknown]
    return [
        *attention,
        ("period", "The period", [headline, render_cards(report)]),
        ("errors", "Errors", _render_rows(report.failed, failed_table, "No session was given up.")),
        ("days", "Day by day", [render_charts(report), days_table(report)]),
        (
            "orders",
            "Recovered orders",
            _render_rows(report.recovered, recovered_table, "No order is listed."),
        ),
        ("drift", "Drift", _render_rows(report.drifted, drifted_table, "No order differs from Stripe.")),
        ("runs", "Runs and sessions", [runs_table(report.runs), fates_table(report) if report.fates else ""]),
        unknown,
    ]


def _render_rows[Row](rows: Sequence[Row], table: Callable[[Sequence[Row]], Html], none: str) -> Html:
    return table(rows) if rows else element("p", none, class_="quiet")


def _render_contents(sections: list[tuple[str, str, Content]]) -> Content:
    if len(sections) == 1:
        return ""
    links = [element("li", element("a", heading, href=f"#{name}")) for name, heading, _ in sections]
    return element("nav", element("ul", *links), aria_label="On this page")


def _render_section(name: str, heading: str, content: Content) -> Html:
    title = f"{name}-heading"
    return element("section", element("h2", heading, id=title), content, id=name, aria_labelledby=title)
