"""The result of the period, in a sentence or two."""

from ops.format.money import FREE
from ops.format.text import quantity
from ops.report.markup import Content, Html, element
from ops.report.model import Share, SyncReport

# More would make the sentence too long; the cards show all of them.
MAX_CURRENCIES = 3
# Stripe repeats a delivery for three days, so a webhook that works misses next to none.
FEW_MISSED, MANY_MISSED = 100, 500  # hundredths of a percent


def render_headline(report: SyncReport) -> Html:
    """Return what was recovered and why it was missing, and how much did not succeed."""
    sentences = (
        _describe_recovered(report),
        _describe_cause(report.missed),
        _describe_stopped_runs(report),
        _describe_open_errors(report),
    )
    return element("p", *sentences, class_="lede")


def find_missed_tone(missed: Share) -> str:
    """Return the class of the style sheet for a share of missed webhooks."""
    if missed.basis_points >= MANY_MISSED:
        return "bad"
    return "open" if missed.basis_points >= FEW_MISSED else "good"


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
    complete = len(report.runs) - report.stopped_runs
    if not complete:
        return (f"{span} no run processed all of its sessions.",)
    return f"{span} ", element("strong", quantity(complete, "run")), " found no order to recover."


def _describe_worth(report: SyncReport) -> tuple[Content, ...]:
    """Return ` worth A, B and C`, or nothing if no amount is known."""
    money, more = report.list_leading(MAX_CURRENCIES), len(report.money) - MAX_CURRENCIES
    if not money:
        return ()
    if not any(one.amount for one in money):
        return (f" ({FREE})",) if not report.unknown_amounts else ()
    others = [quantity(more, "more currency", "more currencies")] if more > 0 else []
    sums = (*(one.with_symbol for one in money), *others)
    parts = [element("strong", _keep_together(part)) for part in sums]
    joints = [", "] * (len(parts) - 2) + [" and "] * (len(parts) > 1) + [""]
    worth = " worth at least " if report.unknown_amounts else " worth "
    return worth, *zip(parts, joints, strict=True)


def _describe_cause(missed: Share) -> tuple[Content, ...]:
    """Return the share of the orders that the webhook did not write, as the cause."""
    if not missed.part:
        return ()
    share = element(
        "strong", f"{missed} of {quantity(missed.whole, 'order')}", class_=find_missed_tone(missed)
    )
    return " The cause: the webhook missed ", share, "."


def _describe_stopped_runs(report: SyncReport) -> tuple[Content, ...]:
    if not report.stopped_runs:
        return ()
    return " ", element("em", f"{quantity(report.stopped_runs, 'run')} did not succeed.")


def _describe_open_errors(report: SyncReport) -> tuple[Content, ...]:
    if not report.open_errors:
        return ()
    are = "is" if report.open_errors == 1 else "are"
    return " ", element("em", f"{quantity(report.open_errors, 'error')} {are} still open.")


def _describe_period(report: SyncReport) -> str:
    days = len(report.days)
    return "Today" if days == 1 else f"In the last {days} days"


def _keep_together(text: str) -> str:
    """Return the text with no-break spaces, to keep a number on one line with its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")
