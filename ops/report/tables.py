"""Tables that scroll on their own if they are larger than the screen, with the keyboard, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ops.format.attention import describe_stored_attention
from ops.format.ids import shorten_id
from ops.format.links import session_url
from ops.format.money import format_price, format_worth
from ops.format.text import duration, format_time
from ops.report import text
from ops.report.headline import find_missed_tone
from ops.report.markup import Content, Html, element
from ops.report.model import DayTotals, DriftedOrder, FailedSession, ReportedOrder, RunLine, Share, SyncReport
from ops.runs.attention import AttentionGroup

# With this limit the page opens quickly on a phone and is small enough for an e-mail.
MAX_ROWS = 500
_NOTHING = "-"
_SUCCESS = "success"
# The counts of a run by column, and those that are shown even if they are zero in all runs.
_COUNTS = MappingProxyType(
    {
        "Enqueued": "enqueued",
        "Filtered": "filtered",
        "Created": "created",
        "Skipped": "skipped",
        "Errors": "errors",
        "Drift": "drifted",
        "Warnings": "warnings",
    }
)
_ALWAYS = ("Enqueued", "Created", "Errors")
_ACK = element("code", "nightly-sync ack SESSION")


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    kind: str | None = None  # a class of the style sheet: number, words


_DAY, _SESSION = Column("Day"), Column("Session in Stripe")
_NUMBER, _WORDS = "number", "words"


def days_table(report: SyncReport) -> Html:
    """Return the table of the days, newest first."""
    return _render_table(
        "days",
        "Day by day, by the start of the runs, in UTC",
        [
            _DAY,
            *(Column(title, _NUMBER) for title in ("Runs", "Recovered", "Money recovered")),
            *(Column(title, _NUMBER) for title in ("Missed webhooks", "Errors", "Longest run")),
        ],
        [_build_day_row(day) for day in reversed(report.days)],
    )


def _build_day_row(day: DayTotals) -> list[Content]:
    if not day.runs:
        return [text.format_date(day.day), "none", *([_NOTHING] * 5)]
    return [
        text.format_date(day.day),
        [f"{day.runs:,}", *(_render_state(f" {trouble}", "bad") for trouble in day.troubles)],
        f"{day.recovered:,}",
        _stack_lines(_list_money(day)) if day.recovered else _NOTHING,
        _render_missed(day.missed),
        f"{day.errors:,}",
        duration(day.longest),
    ]


def _list_money(day: DayTotals) -> list[str]:
    return format_worth(day.money, day.unknown_amounts, text.format_money).split(", ")


def _render_missed(missed: Share) -> Content:
    if not missed.whole:
        return _NOTHING
    return _render_state(f"{missed} of {missed.whole:,}", find_missed_tone(missed))


def attention_table(groups: Sequence[AttentionGroup]) -> Html:
    rows = [(group, one) for group in groups for one in group.sessions]
    return _render_table(
        "attention",
        ["Sessions that wait for a person, the most urgent first; ", _ACK, " ends a row"],
        [Column("Since"), Column("Why", _WORDS), Column("Amount", _NUMBER), Column("Until"), _SESSION],
        [
            [
                (one.since or _NOTHING).partition("T")[0],
                [element("strong", group.word), " ", describe_stored_attention(group.word)],
                format_price(one.amount, text.format_money),
                format_time(one.until) if group.until and one.until else _NOTHING,
                _link_session(one.session_id),
            ]
            for group, one in rows[:MAX_ROWS]
        ],
        len(rows),
    )


def recovered_table(orders: Sequence[ReportedOrder]) -> Html:
    return _render_table(
        "orders",
        "Orders that runs wrote, newest first",
        [_DAY, Column("Order"), Column("Amount", _NUMBER), _SESSION],
        [
            [
                text.format_date(order.day),
                order.order_number or _NOTHING,
                format_price(order.money, text.format_money),
                _link_session(order.session_id),
            ]
            for order in orders[:MAX_ROWS]
        ],
        len(orders),
    )


def failed_table(failed: Sequence[FailedSession]) -> Html:
    return _render_table(
        "failures",
        "Sessions that a run gave up, newest first",
        [
            _DAY,
            Column("Now"),
            Column("Amount", _NUMBER),
            Column("Error", _WORDS),
            Column("Attempts", _NUMBER),
            _SESSION,
        ],
        [
            [
                text.format_date(one.day),
                _render_state("open", "bad") if one.is_open else text.describe_fate(one.fate),
                format_price(one.money, text.format_money),
                [element("strong", one.error_type), " ", one.error_message],
                _NOTHING if one.attempts is None else f"{one.attempts:,}",
                _link_session(one.session_id),
            ]
            for one in failed[:MAX_ROWS]
        ],
        len(failed),
    )


def drifted_table(drifted: Sequence[DriftedOrder]) -> Html:
    return _render_table(
        "differences",
        "Orders that differ from Stripe, newest first; amounts in the currency's smallest unit",
        [_DAY, Column("What differs", _WORDS), _SESSION],
        [
            [text.format_date(one.day), _stack_lines(one.texts), _link_session(one.session_id)]
            for one in drifted[:MAX_ROWS]
        ],
        len(drifted),
    )


def runs_table(runs: Sequence[RunLine]) -> Html:
    """Return the runs, without the counts that are zero in all of them."""
    shown = runs[:MAX_ROWS]
    counts = {name: [getattr(run, field) for run in shown] for name, field in _COUNTS.items()}
    counts = {name: column for name, column in counts.items() if any(column) or name in _ALWAYS}
    cells = zip(*([f"{count:,}" for count in column] for column in counts.values()), strict=True)
    return _render_table(
        "nights",
        "Runs by their own records, newest first; times in UTC",
        [
            Column("Run"),
            Column("Trigger"),
            Column("Status"),
            *(Column(one, _NUMBER) for one in ("Took", *counts)),
        ],
        [[*_describe_run(run), *own] for run, own in zip(shown, cells, strict=True)],
        len(runs),
    )


def _describe_run(run: RunLine) -> list[Content]:
    tone = "bad" if run.trouble else "good" if run.status == _SUCCESS else "open"
    return [
        run.run_id,
        run.trigger or _NOTHING,
        _render_state(run.trouble or run.status, tone),
        duration(run.seconds),
    ]


def fates_table(report: SyncReport) -> Html:
    return _render_table(
        "fates",
        "The result of every session that the runs processed, each counted once",
        [Column("Result", _WORDS), Column("Sessions", _NUMBER)],
        [[text.describe_fate(fate), f"{count:,}"] for fate, count in report.fates],
    )


def _render_table(
    name: str, caption: Content, columns: Sequence[Column], rows: Sequence[Sequence[Content]], count: int = 0
) -> Html:
    """Return a table; `count` is the number of all rows, including those that are not shown."""
    heads = [element("th", column.title, scope="col", class_=column.kind) for column in columns]
    body = [_render_row(columns, row) for row in rows]
    table = element(
        "table",
        element("caption", element("span", caption), id=f"{name}-caption"),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
    )
    more = count - len(rows)
    return element(
        "div",
        # A region that scrolls must be reachable without a mouse.
        element("div", table, class_="scroll", role="region", tabindex=0, aria_labelledby=f"{name}-caption"),
        element("p", f"{more:,} more are not shown.", class_="note") if more > 0 else "",
        class_="table",
    )


def _render_row(columns: Sequence[Column], row: Sequence[Content]) -> Html:
    first, *others = zip(columns, row, strict=True)
    return element(
        "tr",
        element("th", first[1], scope="row", class_=first[0].kind),
        *(element("td", cell, class_=column.kind) for column, cell in others),
    )


def _link_session(session_id: str) -> Html:
    return element(
        "a",
        shorten_id(session_id),
        href=session_url(session_id),
        title=session_id,
        rel="noopener noreferrer",
    )


def _render_state(word: str, tone: str) -> Html:
    return element("span", word, class_=f"state {tone}")


def _stack_lines(texts: Sequence[str]) -> Html:
    return element("div", *(element("div", text) for text in texts))
