"""The report at a glance: its numbers, and how they went day by day."""

from collections.abc import Callable, Sequence

from ops.format.money import Money
from ops.format.text import duration, quantity
from ops.report import text as words
from ops.report.charts import Bar, Chart, chart
from ops.report.markup import Content, Html, element
from ops.report.model import Day, Report

# Of more currencies than this, the rest is in the table only.
MAX_MONEY_CHARTS = 6
_LARGE_FIGURES = 2  # more than so many in one card are set smaller


def cards(report: Report) -> Html:
    missed, runs = report.missed, report.runs
    open_errors = f"{report.open_errors:,} still open" if report.failed else "no session was given up"
    failed_runs = f"{report.failed_runs:,} failed" if report.failed_runs else "none failed"
    return element(
        "dl",
        _card("Orders recovered", [f"{report.recovered_count:,}"], "that would have been lost"),
        _card("Money recovered", [_amount(one) for one in report.money] or ["-"], _of_amounts(report)),
        _card("Missed webhooks", [str(missed)], f"{missed.part:,} of {quantity(missed.whole, 'order')}"),
        _card("Errors", [f"{len(report.failed):,}"], open_errors, bad=report.open_errors > 0),
        _card("Drift", [f"{len(report.drifted):,}"], "orders that differ from Stripe"),
        _card("Runs", [f"{len(runs):,}"], failed_runs, bad=report.failed_runs > 0),
        class_="cards",
    )


def _of_amounts(report: Report) -> str:
    known = quantity(report.recovered_count - report.unknown_amounts, "order")
    return (
        f"of {known}; {report.unknown_amounts:,} of unknown amount"
        if report.unknown_amounts
        else f"of {known}"
    )


def _card(name: str, figures: Sequence[Content], note: str, *, bad: bool = False) -> Html:
    size = "figure many" if len(figures) > _LARGE_FIGURES else "figure"
    return element(
        "div",
        element("dt", name),
        *(element("dd", figure, class_=size) for figure in figures),
        element("dd", note, class_="note bad" if bad else "note"),
        class_="card",
    )


def _amount(money: Money) -> list[Content]:
    number, _, currency = str(money).partition(" ")
    return [f"{number} ", element("small", currency)]


def charts(report: Report) -> Html:
    """All over the same days."""
    days, missed = report.days, report.missed
    recovered = f"{report.recovered_count:,}"
    drawn = [
        Chart("recovered", "Orders recovered", recovered, _bars(days, lambda day: _count(day.recovered))),
        *_money_charts(report),
        Chart("missed", "Missed webhooks", str(missed), _bars(days, _missed), "open"),
        Chart(
            "failed", "Errors", f"{len(report.failed):,}", _bars(days, lambda day: _count(day.errors)), "bad"
        ),
        Chart("took", "Longest run", _longest(days), _bars(days, _took), "plain"),
    ]
    legend = "A low grey mark is a day with runs and nothing to show; no mark is a day without a run."
    note = element("p", legend, _more(report), class_="note")
    return element("div", element("div", *map(chart, drawn), class_="charts"), note)


def _bars(days: Sequence[Day], read: Callable[[Day], tuple[int | None, str]]) -> list[Bar]:
    return [Bar(words.date(day.day), *(read(day) if day.runs else (None, "no run"))) for day in days]


def _count(count: int) -> tuple[int, str]:
    return count, f"{count:,}"


def _missed(day: Day) -> tuple[int, str]:
    orders = quantity(day.missed.whole, "order")
    return day.missed.basis_points, f"{day.missed} of {orders}" if day.missed.whole else "no order known"


def _took(day: Day) -> tuple[int | None, str]:
    return day.longest, "has not ended" if day.longest is None else duration(day.longest)


def _longest(days: Sequence[Day]) -> str:
    return duration(max((day.longest for day in days if day.longest is not None), default=None))


def _money_charts(report: Report) -> list[Chart]:
    return [
        Chart(
            f"money-{n}",
            f"Recovered in {total.currency.upper()}",
            str(total).partition(" ")[0],
            _bars(report.days, _amount_in(total.currency)),
        )
        for n, total in enumerate(report.money[:MAX_MONEY_CHARTS])
    ]


def _amount_in(currency: str) -> Callable[[Day], tuple[int, str]]:
    def read(day: Day) -> tuple[int, str]:
        money = next((one for one in day.money if one.currency == currency), Money(currency, 0))
        return money.amount, str(money)

    return read


def _more(report: Report) -> str:
    more = len(report.money) - MAX_MONEY_CHARTS
    return f" {quantity(more, 'more currency', 'more currencies')} in the table only." if more > 0 else ""
