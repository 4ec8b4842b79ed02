"""The report in a sentence or two."""

from ops.format.text import quantity
from ops.report.markup import Content, Html, element
from ops.report.model import SyncReport

# More would make the sentence too long; the cards show all of them.
MAX_CURRENCIES = 3


def render_headline(report: SyncReport) -> Html:
    """Return what was recovered and how many sessions need attention."""
    sentences = (
        _describe_attention(report),
        _describe_recovered(report),
        _describe_failed_runs(report),
        _describe_open_errors(report),
    )
    return element("p", *sentences, class_="lede")


def _describe_attention(report: SyncReport) -> tuple[Content, ...]:
    if not report.waiting_sessions:
        return ()
    wait = "waits" if report.waiting_sessions == 1 else "wait"
    return element("em", f"{quantity(report.waiting_sessions, 'session')} {wait} for a person."), " "


def _describe_recovered(report: SyncReport) -> tuple[Content, ...]:
    span = _describe_period(report)
    if not report.runs:
        return (f"{span} no run began. This page shows what runs recover.",)
    if report.recovered_count:
        were = "was" if report.recovered_count == 1 else "were"
        orders = element("strong", _keep_together(quantity(report.recovered_count, "order")))
        return f"{span} ", orders, *_describe_worth(report), f" {were} recovered that would have been lost."
    if report.missed.whole:
        orders = element("strong", _keep_together(quantity(report.missed.whole, "order")))
        return f"{span} no order had to be recovered: ", orders, " already existed."
    complete = len(report.runs) - report.failed_runs
    if not complete:
        return (f"{span} no run processed all of its sessions.",)
    return f"{span} ", element("strong", quantity(complete, "run")), " found no order to recover."


def _describe_worth(report: SyncReport) -> tuple[Content, ...]:
    """Return ` worth A, B and C`, or nothing if no amount is known."""
    money, more = report.money[:MAX_CURRENCIES], len(report.money) - MAX_CURRENCIES
    if not money:
        return ()
    others = [quantity(more, "more currency", "more currencies")] if more > 0 else []
    parts = [element("strong", _keep_together(part)) for part in (*map(str, money), *others)]
    joints = [", "] * (len(parts) - 2) + [" and "] * (len(parts) > 1) + [""]
    worth = " worth at least " if report.unknown_amounts else " worth "
    return worth, *zip(parts, joints, strict=True)


def _describe_failed_runs(report: SyncReport) -> tuple[Content, ...]:
    if not report.failed_runs:
        return ()
    return " ", element("em", f"{quantity(report.failed_runs, 'run')} failed.")


def _describe_open_errors(report: SyncReport) -> tuple[Content, ...]:
    if not report.open_errors:
        return ()
    need = "needs" if report.open_errors == 1 else "need"
    return " ", element("em", f"{quantity(report.open_errors, 'session')} {need} attention.")


def _describe_period(report: SyncReport) -> str:
    days = len(report.days)
    return "Today" if days == 1 else f"In the last {days} days"


def _keep_together(text: str) -> str:
    """Return the text with no-break spaces, to keep a number on one line with its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")
