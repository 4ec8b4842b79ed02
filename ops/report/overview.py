"""The main numbers, and charts of them by day."""

from collections.abc import Callable, Sequence

from ops.format.money import Money
from ops.format.text import duration, quantity
from ops.report import text
from ops.report.charts import Bar, Chart, render_chart
from ops.report.markup import Content, Html, element
from ops.report.model import DayTotals, SyncReport

# The other currencies are in the table only.
MAX_MONEY_CHARTS = 6
_LARGE_FIGURES = 2  # more figures in one card are smaller


def render_cards(report: SyncReport) -> Html:
    """Return one card per number."""
    missed, runs = report.missed, report.runs
    open_errors = f"{report.open_errors:,} still open" if report.failed else "no session was given up"
    failed_runs = f"{report.failed_runs:,} failed" if report.failed_runs else "none failed"
    return element(
        "dl",
        _render_card("Orders recovered", [f"{report.recovered_count:,}"], "that would have been lost"),
        _render_card(
            "Money recovered",
            [_render_amount(one) for one in report.money] or ["-"],
            _describe_amounts(report),
        ),
        _render_card(
            "Missed webhooks", [str(missed)], f"{missed.part:,} of {quantity(missed.whole, 'order')}"
        ),
        _render_card("Errors", [f"{len(report.failed):,}"], open_errors, bad=report.open_errors > 0),
        _render_card("Drift", [f"{len(report.drifted):,}"], "orders that differ from Stripe"),
        _render_card("Runs", [f"{len(runs):,}"], failed_runs, bad=report.failed_runs > 0),
        class_="cards",
    )


def _describe_amounts(report: SyncReport) -> str:
    known = quantity(report.recovered_count - report.unknown_amounts, "order")
    return (
        f"of {known}; {report.unknown_amounts:,} of unknown amount"
        if report.unknown_amounts
        else f"of {known}"
    )


def _render_card(name: str, figures: Sequence[Content], note: str, *, bad: bool = False) -> Html:
    size = "figure many" if len(figures) > _LARGE_FIGURES else "figure"
    return element(
        "div",
        element("dt", name),
        *(element("dd", figure, class_=size) for figure in figures),
        element("dd", note, class_="note bad" if bad else "note"),
        class_="card",
    )


def _render_amount(money: Money) -> list[Content]:
    number, _, currency = str(money).partition(" ")
    return [f"{number} ", element("small", currency)]


def render_charts(report: SyncReport) -> Html:
    """Return all charts, for the same days."""
    days, missed = report.days, report.missed
    recovered = f"{report.recovered_count:,}"
    drawn = [
        Chart(
            "recovered",
            "Orders recovered",
            recovered,
            _build_bars(days, lambda day: _read_count(day.recovered)),
        ),
        *_build_money_charts(report),
        Chart("missed", "Missed webhooks", str(missed), _build_bars(days, _read_missed), "open"),
        Chart(
            "failed",
            "Errors",
            f"{len(report.failed):,}",
            _build_bars(days, lambda day: _read_count(day.errors)),
            "bad",
        ),
        Chart("took", "Longest run", _describe_longest(days), _build_bars(days, _read_duration), "plain"),
    ]
    legend = "A low grey mark is a day with runs and the value zero; no mark is a day without a run."
    note = element("p", legend, _describe_others(report), class_="note")
    return element("div", element("div", *map(render_chart, drawn), class_="charts"), note)


def _build_bars(days: Sequence[DayTotals], read: Callable[[DayTotals], tuple[int | None, str]]) -> list[Bar]:
    return [Bar(text.format_date(day.day), *(read(day) if day.runs else (None, "no run"))) for day in days]


def _read_count(count: int) -> tuple[int, str]:
    return count, f"{count:,}"


def _read_missed(day: DayTotals) -> tuple[int, str]:
    orders = quantity(day.missed.whole, "order")
    return day.missed.basis_points, f"{day.missed} of {orders}" if day.missed.whole else "no order known"


def _read_duration(day: DayTotals) -> tuple[int | None, str]:
    return day.longest, "has not ended" if day.longest is None else duration(day.longest)


def _describe_longest(days: Sequence[DayTotals]) -> str:
    return duration(max((day.longest for day in days if day.longest is not None), default=None))


def _build_money_charts(report: SyncReport) -> list[Chart]:
    return [
        Chart(
            f"money-{n}",
            f"Recovered in {total.currency.upper()}",
            str(total).partition(" ")[0],
            _build_bars(report.days, _read_money_in(total.currency)),
        )
        for n, total in enumerate(report.money[:MAX_MONEY_CHARTS])
    ]


def _read_money_in(currency: str) -> Callable[[DayTotals], tuple[int, str]]:
    def read(day: DayTotals) -> tuple[int, str]:
        money = next((one for one in day.money if one.currency == currency), Money(currency, 0))
        return money.amount, str(money)

    return read


def _describe_others(report: SyncReport) -> str:
    more = len(report.money) - MAX_MONEY_CHARTS
    return f" {quantity(more, 'more currency', 'more currencies')} in the table only." if more > 0 else ""
