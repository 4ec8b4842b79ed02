"""The main numbers, and charts of them by day."""

from collections.abc import Callable, Sequence

from ops.format.money import FREE, UNKNOWN, Money
from ops.format.text import duration, quantity
from ops.report import text
from ops.report.charts import Bar, Chart, render_chart
from ops.report.headline import find_missed_tone
from ops.report.markup import Content, Html, element
from ops.report.model import DayTotals, SyncReport

# The other currencies are in the table only.
MAX_MONEY_CHARTS = 6
_WITH_ERRORS = "completed_with_errors"
_LARGE_FIGURES = 2  # more figures in one card are smaller


def render_cards(report: SyncReport) -> Html:
    """Return one card per number."""
    missed, runs = report.missed, report.runs
    open_errors = f"{report.open_errors:,} still open" if report.failed else "no session was given up"
    return element(
        "dl",
        _render_card("Orders recovered", [f"{report.recovered_count:,}"], "that would have been lost"),
        _render_card(
            "Money recovered",
            _format_sums(report),
            _describe_amounts(report),
        ),
        _render_card(
            "Missed webhooks",
            [element("span", str(missed), class_=find_missed_tone(missed) if missed.whole else None)],
            f"{missed.part:,} of {quantity(missed.whole, 'order')}" + ": the cause" * bool(missed.part),
        ),
        _render_card("Errors", [f"{len(report.failed):,}"], open_errors, bad=report.open_errors > 0),
        _render_card("Drift", [f"{len(report.drifted):,}"], "orders that differ from Stripe"),
        _render_card("Runs", [f"{len(runs):,}"], _describe_runs(report), bad=report.stopped_runs > 0),
        class_="cards",
    )


def _describe_runs(report: SyncReport) -> str:
    """Return how many runs did not succeed, ended with errors or have not ended; the rest succeeded."""
    with_errors = sum(run.status == _WITH_ERRORS for run in report.runs)
    counts = {
        "did not succeed": report.stopped_runs,
        "ended with errors": with_errors,
        "not ended": report.unfinished_runs,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "all succeeded"


def _format_sums(report: SyncReport) -> list[Content]:
    sums = [one.with_symbol for one in report.money if one.amount]
    if sums:
        return [*sums]
    return [UNKNOWN if report.unknown_amounts else FREE if report.money else "-"]


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


def render_charts(report: SyncReport) -> Html:
    """Return the charts that have a value, for the same days, and the nights that did not succeed."""
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
        Chart(
            "missed",
            "Missed webhooks",
            str(missed),
            _build_bars(days, _read_missed),
            find_missed_tone(missed),
        ),
        Chart(
            "failed",
            "Errors",
            f"{len(report.failed):,}",
            _build_bars(days, lambda day: _read_count(day.errors)),
            "bad",
        ),
        Chart("took", "Longest run", _describe_longest(days), _build_bars(days, _read_duration), "plain"),
    ]
    legend = (
        "A low grey mark is a day with runs and the value zero; no mark is a day without a run; a red column "
        "is a day on which a run did not succeed."
    )
    return element(
        "div",
        _list_troubles(days),
        element("div", *(render_chart(chart) for chart in drawn if chart.has_value), class_="charts"),
        element("p", legend, _describe_others(report), class_="note"),
    )


def _list_troubles(days: Sequence[DayTotals]) -> Content:
    """Return which nights did not succeed and why, newest first."""
    nights = [
        f"{text.format_date(day.day)} ({', '.join(day.troubles)})" for day in reversed(days) if day.troubles
    ]
    if not nights:
        return ""
    return element("p", "Nights that did not succeed: ", ", ".join(nights), ".", class_="note bad troubles")


def _build_bars(days: Sequence[DayTotals], read: Callable[[DayTotals], tuple[int | None, str]]) -> list[Bar]:
    return [_build_bar(day, *(read(day) if day.runs else (None, "no run"))) for day in days]


def _build_bar(day: DayTotals, value: int | None, shown: str) -> Bar:
    troubles = "; ".join((shown, *day.troubles))
    return Bar(text.format_date(day.day), value, troubles, has_trouble=bool(day.troubles))


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
    sums = [total for total in report.list_leading(MAX_MONEY_CHARTS) if total.currency]
    return [
        Chart(
            f"money-{n}",
            f"Recovered in {total.currency.upper()}",
            total.with_symbol,
            _build_bars(report.days, _read_money_in(total.currency)),
        )
        for n, total in enumerate(sums)
    ]


def _read_money_in(currency: str) -> Callable[[DayTotals], tuple[int, str]]:
    def read(day: DayTotals) -> tuple[int, str]:
        money = next((one for one in day.money if one.currency == currency), Money(currency, 0))
        return money.amount, money.with_symbol

    return read


def _describe_others(report: SyncReport) -> str:
    more = len(report.money) - MAX_MONEY_CHARTS
    return f" {quantity(more, 'more currency', 'more currencies')} in the table only." if more > 0 else ""
