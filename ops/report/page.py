"""The page: one HTML file without scripts that loads nothing, to be opened from a disk or an e-mail."""

from collections.abc import Callable, Sequence

from ops.report import text as words
from ops.report.headline import headline
from ops.report.markup import Content, Html, element
from ops.report.model import Report
from ops.report.notes import notes
from ops.report.overview import cards, charts
from ops.report.style import STYLE
from ops.report.tables import (
    days_table,
    drifted_table,
    failed_table,
    fates_table,
    recovered_table,
    runs_table,
)

# The browser holds the page to what it says of itself, whatever stands in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The same for the same report."""
    sections = _sections(report)
    body = element(
        "body",
        element("header", *_heading(report), headline(report), _contents(sections)),
        element("main", *(_section(*section) for section in sections)),
        element("footer", element("p", "Times are UTC. Amounts are never added up across currencies.")),
    )
    return f"<!doctype html>\n{element('html', _head(report), body, lang='en')}\n"


def _head(report: Report) -> Html:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        # Or the browser asks for one.
        element("link", rel="icon", href="data:,"),
        element("title", f"Recovered orders of {report.stack}, {words.date(report.generated_at)}"),
        element("style", Html(STYLE)),
    )


def _heading(report: Report) -> list[Content]:
    made = words.moment(report.generated_at)
    return [
        element("h1", f"Recovered orders of {report.stack}"),
        element(
            "p",
            [element("time", words.date(report.start), datetime=words.date(report.start)), " to "],
            element("time", words.date(report.generated_at), datetime=words.date(report.generated_at)),
            ", made at ",
            element("time", f"{made} UTC", datetime=f"{made}Z"),
            class_="period",
        ),
    ]


def _sections(report: Report) -> list[tuple[str, str, Content]]:
    """(id, heading, content); those that have nothing to say before the first run are left out."""
    unknown = ("unknown", "What this page does not know", notes(report))
    if not report.runs:
        return [unknown]
    return [
        ("glance", "At a glance", cards(report)),
        ("days", "Day by day", [charts(report), days_table(report.days)]),
        ("orders", "Recovered orders", _rows(report.recovered, recovered_table, "No order is listed.")),
        ("errors", "Errors", _rows(report.failed, failed_table, "No session was given up.")),
        ("drift", "Drift", _rows(report.drifted, drifted_table, "No order differs from Stripe.")),
        ("runs", "Runs and sessions", [runs_table(report.runs), fates_table(report) if report.fates else ""]),
        unknown,
    ]


def _rows[Row](rows: Sequence[Row], table: Callable[[Sequence[Row]], Html], none: str) -> Html:
    return table(rows) if rows else element("p", none, class_="quiet")


def _contents(sections: list[tuple[str, str, Content]]) -> Content:
    if len(sections) == 1:
        return ""
    links = [element("li", element("a", heading, href=f"#{name}")) for name, heading, _ in sections]
    return element("nav", element("ul", *links), aria_label="On this page")


def _section(name: str, heading: str, content: Content) -> Html:
    title = f"{name}-heading"
    return element("section", element("h2", heading, id=title), content, id=name, aria_labelledby=title)
