"""The section `requests`: a night's requests beside the baseline's and the fewest possible."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.page import number, table
from bench.request_counts import (
    EMBEDDED_LINES,
    RequestCounts,
    count_baseline,
    count_pipeline,
    minimum_requests,
)
from bench.sections import SectionResult
from bench.shops import MISSING_SHARE, UniformShop

# The demands: lists of Stripe for 1,000 sessions (a page each hundred, and twelve), requests to AWS for each
# session, and requests to Stripe for each order where all are missing.
MAX_STRIPE_LISTS, MAX_REQUESTS_A_SESSION, MAX_STRIPE_AN_ORDER = 22, 1.53, 0.15

SESSIONS = 1_000
SHOPS = (
    UniformShop(SESSIONS, name="every customer once"),
    UniformShop(SESSIONS, name="four orders a customer, in a row", orders=4, in_a_row=True),
    UniformShop(SESSIONS, name="four orders a customer, over the day", orders=4),
    UniformShop(SESSIONS, name="ten items an order", lines=EMBEDDED_LINES),
    UniformShop(SESSIONS, name="twelve items an order", lines=EMBEDDED_LINES + 2),
    UniformShop(SESSIONS, name="no webhook lost", missing=0),
    UniformShop(SESSIONS, name="every webhook lost", missing=1),
)


@dataclass(frozen=True)
class RequestKind:
    """A row of the table. `reason` explains why there are no fewer requests."""

    kind: str
    count: Callable[[RequestCounts], float]
    reason: str


KINDS = (
    RequestKind(
        "Stripe: lists of sessions",
        lambda made: made.lists,
        "pages of 100",
    ),
    RequestKind(
        "Stripe: lists of events",
        lambda made: made.events,
        "a session does not say when it was completed, nor whether its webhook is still running; one more "
        "for each batch with a missing order, for the events that are marked with it",
    ),
    RequestKind(
        "Stripe: single sessions",
        lambda made: made.fetches,
        "one a missing order, unless lists bring several that lie close together in time",
    ),
    RequestKind(
        "DynamoDB: reads",
        lambda made: made.reads,
        "a Query a customer (the webhook's sort key is not known, and no request asks two partitions), one "
        "more right before an order is written, one to see that the run is complete",
    ),
    RequestKind(
        "DynamoDB: writes",
        lambda made: made.writes,
        "transactions of 100 actions, of which two move the counters; three more begin, list and end the run",
    ),
    RequestKind("SQS: sends", lambda made: made.sends, "ten messages a request"),
    RequestKind(
        "SQS: receives and deletes, by Lambda's poller", lambda made: made.polls, "ten messages a request"
    ),
    RequestKind("**DynamoDB and SQS in total**", lambda made: made.aws, ""),
    RequestKind("read units", lambda made: made.read_units, "one a Query that reads up to 4 KB"),
    RequestKind(
        "write units",
        lambda made: made.write_units,
        "two for each KB in a transaction: an outcome a session, the orders, the counters",
    ),
)


@dataclass(frozen=True)
class ShopComparison:
    """The requests of one shop's night."""

    shop: UniformShop
    pipeline: RequestCounts
    baseline: RequestCounts

    @property
    def minimum(self) -> RequestCounts:
        return minimum_requests(self.shop, self.baseline)

    @property
    def a_session(self) -> float:
        return self.pipeline.aws / self.shop.sessions


def compare(shop: UniformShop) -> ShopComparison:
    return ShopComparison(shop, count_pipeline(shop), count_baseline(shop))


def measure() -> SectionResult:
    nights = [compare(shop) for shop in SHOPS]
    return SectionResult(render_page(nights), tuple(find_missed(nights)))


def render_page(nights: Sequence[ShopComparison]) -> str:
    first = nights[0]
    without = (first.pipeline.aws - first.pipeline.polls) / first.shop.sessions
    sessions = number(first.shop.sessions)
    return (
        f"{sessions} sessions, every customer once, {first.shop.missing:.0%} of the webhooks lost, two items "
        f"an order.\n\n{kind_table(first)}\n"
        f"DynamoDB and SQS a session: **{first.a_session:.2f}**, with the requests of Lambda's poller, "
        f"which are charged too; without them {without:.2f}. The demand includes it.\n\n"
        "The baseline needs fewer requests since it keeps orders and nothing else: no outcome of a session, "
        "no counters, no second look before an order is written, no queue. It is one process that starts "
        f"again after a fault.\n\nOther shops, each of {sessions} sessions:\n\n{shop_table(nights)}"
    )


def kind_table(night: ShopComparison) -> str:
    rows = [
        (
            row.kind,
            *(number(row.count(made)) for made in (night.pipeline, night.baseline, night.minimum)),
            row.reason,
        )
        for row in KINDS
    ]
    return table(("requests", "pipeline", "baseline", "least", "why not fewer"), rows)


def shop_table(nights: Sequence[ShopComparison]) -> str:
    rows = [
        (
            night.shop.name,
            format_three(night, lambda made: made.lists),
            format_three(night, lambda made: made.events),
            format_three(night, lambda made: made.fetches),
            f"{night.a_session:.2f}",
            format_three(night, lambda made: made.aws),
            format_three(night, lambda made: made.read_units),
            format_three(night, lambda made: made.write_units),
        )
        for night in nights
    ]
    head = (
        "pipeline / baseline / least",
        "Stripe: lists of sessions",
        "Stripe: lists of events",
        "Stripe: single sessions",
        "DynamoDB and SQS a session",
        "total",
        "read units",
        "write units",
    )
    return table(head, rows)


def format_three(night: ShopComparison, count: Callable[[RequestCounts], float]) -> str:
    return " / ".join(number(count(made)) for made in (night.pipeline, night.baseline, night.minimum))


def find_missed(nights: Sequence[ShopComparison]) -> Iterator[str]:
    for night in nights:
        shop, made = night.shop, night.pipeline
        per_thousand = made.lists * 1000 / shop.sessions
        # Where all are missing, consumers list too, in place of requests for single sessions.
        if shop.missing < 1 and per_thousand > MAX_STRIPE_LISTS:
            yield f"{shop.name}: {per_thousand:.1f} lists for 1,000 sessions, limit {MAX_STRIPE_LISTS}"
        if shop.missing == 1 and made.stripe > MAX_STRIPE_AN_ORDER * shop.lost:
            an_order = made.stripe / shop.lost
            yield f"{shop.name}: {an_order:.3f} requests to Stripe an order, limit {MAX_STRIPE_AN_ORDER}"
        if shop.lines <= EMBEDDED_LINES and made.fetches > shop.lost:
            yield f"{shop.name}: {number(made.fetches)} requests for {shop.lost} missing orders"
        if shop.missing == MISSING_SHARE and night.a_session > MAX_REQUESTS_A_SESSION:
            yield f"{shop.name}: {night.a_session:.3f} requests a session, limit {MAX_REQUESTS_A_SESSION}"
    once = nights[0].pipeline.aws
    for night in nights:
        if night.shop.orders > 1 and night.pipeline.aws >= once:
            yield f"{night.shop.name}: no fewer requests than {nights[0].shop.name}"
