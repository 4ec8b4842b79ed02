"""The report in a sentence or two, for whoever reads nothing else."""

from ops.format.text import counted
from ops.report.markup import Content, Html, element
from ops.report.model import Report

# A sentence of more is read by nobody; the cards have them all.
MAX_CURRENCIES = 3


def headline(report: Report) -> Html:
    return element("p", *_recovered(report), *_failed_runs(report), *_open_errors(report), class_="lede")


def _recovered(report: Report) -> tuple[Content, ...]:
    span = _span(report)
    if not report.runs:
        return (f"{span} no run began. Once one has, this page says what it recovered.",)
    if report.recovered_count:
        were = "was" if report.recovered_count == 1 else "were"
        orders = element("strong", _unbroken(counted(report.recovered_count, "order")))
        return f"{span} ", orders, *_worth(report), f" {were} recovered that would have been lost."
    if report.missed.whole:
        there = "was there" if report.missed.whole == 1 else "were there"
        orders = element("strong", _unbroken(counted(report.missed.whole, "order")))
        return f"{span} no order had to be recovered: ", orders, f" {there} already."
    looked = len(report.runs) - report.failed_runs
    if not looked:
        return (f"{span} no run looked at all of its sessions.",)
    return f"{span} ", element("strong", counted(looked, "run")), " met no order to recover."


def _worth(report: Report) -> tuple[Content, ...]:
    """` worth A, B and C`, as far as amounts are known."""
    money, more = report.money[:MAX_CURRENCIES], len(report.money) - MAX_CURRENCIES
    if not money:
        return ()
    others = [counted(more, "more currency", "more currencies")] if more > 0 else []
    parts = [element("strong", _unbroken(part)) for part in (*map(str, money), *others)]
    joints = [", "] * (len(parts) - 2) + [" and "] * (len(parts) > 1) + [""]
    worth = " worth at least " if report.unknown_amounts else " worth "
    return worth, *zip(parts, joints, strict=True)


def _failed_runs(report: Report) -> tuple[Content, ...]:
    if not report.failed_runs:
        return ()
    return " ", element("em", f"{counted(report.failed_runs, 'run')} failed.")


def _open_errors(report: Report) -> tuple[Content, ...]:
    if not report.open_errors:
        return ()
    need = "needs" if report.open_errors == 1 else "need"
    return " ", element("em", f"{counted(report.open_errors, 'session')} {need} a look.")


def _span(report: Report) -> str:
    days = len(report.days)
    return "Today" if days == 1 else f"In the last {days} days"


def _unbroken(text: str) -> str:
    """A number stays on one line with what it counts."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")
