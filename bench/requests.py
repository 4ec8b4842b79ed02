"""How many requests a night takes, beside those of the baseline and those that nobody could do without."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.night import MISSING_SHARE
from bench.page import number, table
from bench.sections import Measured
from bench.shops import EMBEDDED_LINES, Requests, Shop, least, of_the_baseline, of_the_pipeline

# What is demanded, for 1,000 sessions.
MOST_STRIPE, MOST_A_SESSION = 16, 1.5

SHOPS = (
    Shop("every customer once"),
    Shop("four orders a customer, in a row", orders=4, in_a_row=True),
    Shop("four orders a customer, over the day", orders=4),
    Shop("ten items an order", lines=EMBEDDED_LINES),
    Shop("twelve items an order", lines=EMBEDDED_LINES + 2),
    Shop("no webhook lost", missing=0),
    Shop("every webhook lost", missing=1),
)


@dataclass(frozen=True)
class Row:
    kind: str
    of: Callable[[Requests], float]
    reason: str


KINDS = (
    Row(
        "Stripe: lists",
        lambda made: made.lists,
        "pages of 100, and one of events: a session does not say when it was completed, nor whether its "
        "webhook is still at work",
    ),
    Row(
        "Stripe: single sessions",
        lambda made: made.fetches,
        "one a missing order: a list expands four levels deep, and a product is the fifth",
    ),
    Row(
        "DynamoDB: reads",
        lambda made: made.reads,
        "a Query a customer (the webhook's sort key is not known, and no request asks two partitions), one "
        "more right before an order is written, one to see that all is done",
    ),
    Row(
        "DynamoDB: writes",
        lambda made: made.writes,
        "transactions of 100 actions, of which two move the counters; three more begin, list and end the run",
    ),
    Row("SQS: sends", lambda made: made.sends, "ten messages a request"),
    Row("SQS: receives and deletes, by Lambda's poller", lambda made: made.polls, "ten messages a request"),
    Row("**DynamoDB and SQS altogether**", lambda made: made.aws, ""),
    Row("read units", lambda made: made.read_units, "one a Query that reads up to 4 KB"),
    Row(
        "write units",
        lambda made: made.write_units,
        "two for each KB in a transaction: an outcome a session, the orders, the counters",
    ),
)


@dataclass(frozen=True)
class Compared:
    """One shop's night, three ways."""

    shop: Shop
    pipeline: Requests
    baseline: Requests

    @property
    def least(self) -> Requests:
        return least(self.shop, self.baseline)

    @property
    def a_session(self) -> float:
        return self.pipeline.aws / self.shop.sessions


def compared(shop: Shop) -> Compared:
    return Compared(shop, of_the_pipeline(shop), of_the_baseline(shop))


def measured() -> Measured:
    nights = [compared(shop) for shop in SHOPS]
    return Measured(page_of(nights), tuple(missed_by(nights)))


def page_of(nights: Sequence[Compared]) -> str:
    first = nights[0]
    without = (first.pipeline.aws - first.pipeline.polls) / first.shop.sessions
    sessions = number(first.shop.sessions)
    return (
        f"{sessions} sessions, every customer once, {first.shop.missing:.0%} of the webhooks lost, two items "
        f"an order.\n\n{kinds_table(first)}\n"
        f"DynamoDB and SQS a session: **{first.a_session:.2f}**, with what Lambda's poller requests of SQS, "
        f"which the account pays for too; without it {without:.2f}. The demand is judged with it.\n\n"
        "The baseline needs fewer requests since it keeps orders and nothing else: no outcome of a session, "
        "no counters, no second look before an order is written, no queue. It is one process that begins "
        f"anew after a fault.\n\nOther shops, each of {sessions} sessions:\n\n{shops_table(nights)}"
    )


def kinds_table(night: Compared) -> str:
    rows = [
        (
            row.kind,
            *(number(row.of(made)) for made in (night.pipeline, night.baseline, night.least)),
            row.reason,
        )
        for row in KINDS
    ]
    return table(("requests", "pipeline", "baseline", "least", "why not fewer"), rows)


def shops_table(nights: Sequence[Compared]) -> str:
    rows = [
        (
            night.shop.name,
            three(night, lambda made: made.lists),
            three(night, lambda made: made.fetches),
            f"{night.a_session:.2f}",
            three(night, lambda made: made.aws),
            three(night, lambda made: made.read_units),
            three(night, lambda made: made.write_units),
        )
        for night in nights
    ]
    head = (
        "pipeline / baseline / least",
        "Stripe: lists",
        "Stripe: single sessions",
        "DynamoDB and SQS a session",
        "altogether",
        "read units",
        "write units",
    )
    return table(head, rows)


def three(night: Compared, of: Callable[[Requests], float]) -> str:
    return " / ".join(number(of(made)) for made in (night.pipeline, night.baseline, night.least))


def missed_by(nights: Sequence[Compared]) -> Iterator[str]:
    for night in nights:
        shop, made = night.shop, night.pipeline
        per_thousand = made.lists * 1000 / shop.sessions
        if per_thousand > MOST_STRIPE:
            yield f"{shop.name}: {per_thousand:.1f} lists of Stripe for 1,000 sessions, not {MOST_STRIPE}"
        if shop.lines <= EMBEDDED_LINES and made.fetches > shop.lost:
            yield f"{shop.name}: {number(made.fetches)} requests for {shop.lost} missing orders"
        if shop.missing == MISSING_SHARE and night.a_session > MOST_A_SESSION:
            yield f"{shop.name}: {night.a_session:.3f} requests a session, not {MOST_A_SESSION}"
    once = nights[0].pipeline.aws
    for night in nights:
        if night.shop.orders > 1 and night.pipeline.aws >= once:
            yield f"{night.shop.name}: no fewer requests than {nights[0].shop.name}"
