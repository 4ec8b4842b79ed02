"""Count a night's requests and write their cost into docs/scaling.md and README.md."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.model import (
    NIGHTS,
    FixedResources,
    Limit,
    beyond_free,
    cost_by_service,
    count_fixed_resources,
    idle_month_units,
    idle_requests,
    limits,
    month_units,
    night_units,
    scale,
    seconds,
)
from bench.night import Counts, count_night
from bench.page import number, replace_marked, table
from bench.prices import PRICES
from infra.arguments import ArgumentParser
from testkit.template import parse_template

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scaling.md"
README = ROOT / "README.md"
TEMPLATE = ROOT / "infra" / "template.yaml"
COUNTED = (50, 1_000, 10_000, 100_000)
EXTRAPOLATED = 1_000_000
SIZES = (*COUNTED, EXTRAPOLATED)
LEAST_DOLLARS = 0.0001
ROWS: Mapping[str, Callable[[Counts], float]] = {
    "sessions": lambda night: night.sessions,
    "orders written": lambda night: night.created,
    "Lambda invocations": lambda night: night.invocations,
    "of them the producer going on": lambda night: night.hops,
    "DynamoDB reads": lambda night: night.reads,
    "read units": lambda night: night.read_units,
    "transactions": lambda night: night.transactions,
    "write units": lambda night: night.write_units,
    "SQS requests": lambda night: night.queue_requests,
    "bytes of log": lambda night: night.log_bytes,
    "custom metrics": lambda night: night.metrics,
    "bytes of outcomes": lambda night: night.outcome_bytes,
    "Stripe: lists and events": lambda night: night.stripe_lists + night.stripe_events,
    "Stripe: single sessions": lambda night: night.stripe_fetches,
}


def main(arguments: Sequence[str] | None = None) -> None:
    ArgumentParser(prog="python -m bench.cost", description=__doc__).parse_args(arguments)
    nights = {size: count_night(size) for size in COUNTED}
    nights[EXTRAPOLATED] = scale(nights[COUNTED[-2]], nights[COUNTED[-1]], EXTRAPOLATED)
    made = update_page(PAGE.read_text(), nights)
    PAGE.write_text(made)
    README.write_text(replace_marked(README.read_text(), "make cost: figure", figure(nights)))
    sys.stdout.write("\n".join(find_tables(made)))


def update_page(text: str, nights: Mapping[int, Counts]) -> str:
    """Return the page with new tables between its marks."""
    shown = list(nights.values())
    fixed = count_fixed_resources(parse_template(TEMPLATE.read_text())["Resources"])
    made = {
        "counts": counts_table(shown),
        "night": night_table(shown),
        "month": month_table(shown, fixed),
        "asleep": idle_month_table(fixed),
        "limits": limits_table(shown),
        "prices": prices_table(),
    }
    for name, made_table in made.items():
        text = replace_marked(text, f"make cost: {name}", made_table)
    return text


def figure(nights: Mapping[int, Counts]) -> str:
    """Return README's sentences about the cost of a month."""
    fixed = count_fixed_resources(parse_template(TEMPLATE.read_text())["Resources"])
    small, large = (nights[size] for size in (COUNTED[0], COUNTED[2]))
    units = month_units(small, fixed)
    total, free = (sum(cost_by_service(one).values()) for one in (units, beyond_free(units)))
    parts = {name: PRICES[name].of(units[name]) for name in ("alarm_metrics", "metric_hours")}
    idle = PRICES["queue_requests"].of(idle_requests())
    work = total - sum(parts.values()) - idle
    larger = sum(cost_by_service(month_units(large, fixed)).values())
    return (
        f"About **{cents(total)} a month** at list prices for {COUNTED[0]} sessions a day: alarms "
        f"{cents(parts['alarm_metrics'])}, polling of the idle queue {cents(idle)},\n"
        f"custom metrics {cents(parts['metric_hours'])}, and {cents(work)} for the work itself. "
        f"At {number(COUNTED[2])} sessions a day it is {cents(larger)}. Within AWS's\n"
        f"free tiers about {cents(free)} remain. "
        f"A dashboard (`CreateDashboard=true`) adds {cents(PRICES['dashboards'].of(1))}.\n"
    )


def cents(value: float) -> str:
    """Format dollars for a sentence."""
    least = 0.01
    return f"${value:.2f}" if value >= least else "less than a cent"


def find_tables(text: str) -> list[str]:
    return re.findall(r"<!-- make cost: \w+ -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)


def counts_table(nights: Sequence[Counts]) -> str:
    rows = [(name, *(number(value(night)) for night in nights)) for name, value in ROWS.items()]
    return table(("of one night", *("counted" for _ in COUNTED), "extrapolated"), rows)


def night_table(nights: Sequence[Counts]) -> str:
    bills = [cost_by_service(night_units(night)) for night in nights]
    rows = [(service, *(money(bill[service]) for bill in bills)) for service in bills[-1]]
    total = ("**a night**", *(f"**{money(sum(bill.values()))}**" for bill in bills))
    return table(("", *sizes()), [*rows, total])


def month_table(nights: Sequence[Counts], fixed: FixedResources) -> str:
    base = sum(cost_by_service(idle_month_units(fixed)).values())
    sums = [sum(cost_by_service(night_units(night)).values()) for night in nights]
    return table(
        ("", *sizes()),
        [
            (f"{NIGHTS} nights", *(money(NIGHTS * one) for one in sums)),
            ("what is paid anyway", *(money(base) for _ in sums)),
            ("**a month**", *(f"**{money(NIGHTS * one + base)}**" for one in sums)),
            ("a session", *(f"${one / night.sessions:.7f}" for one, night in zip(sums, nights, strict=True))),
        ],
    )


def idle_month_table(fixed: FixedResources) -> str:
    units = idle_month_units(fixed)
    labels = {
        "queue_requests": f"{number(idle_requests())} receives of an empty queue",
        "alarm_metrics": f"{fixed.alarm_metrics} metrics in alarms",
        "dashboards": "on request: a dashboard (`CreateDashboard=true`)",
        "composite_alarms": "on request: one e-mail for all alarms (`AlarmMails=one`)",
    }
    units |= dict.fromkeys(("dashboards", "composite_alarms"), 1)
    rows = [(PRICES[name].service, labels[name], money(PRICES[name].of(units[name]))) for name in labels]
    return table(("service", "what", "a month"), rows)


def limits_table(nights: Sequence[Counts]) -> str:
    columns = [sorted(limits(night), key=lambda limit: limit.rate) for night in nights]
    rows = [
        (limit.name, rate(limit), *(time_at_limit(night, limit.name) for night in nights), limit.knob)
        for limit in columns[-1]
    ]
    total = ("**the night**", "", *(f"**{duration(seconds(night))}**" for night in nights), "")
    return table(("", "sessions/s", *sizes(), "the knob"), [*rows, total])


def time_at_limit(night: Counts, name: str) -> str:
    [limit] = [one for one in limits(night) if one.name == name]
    return duration(night.sessions / limit.rate)


def rate(limit: Limit) -> str:
    return number(limit.rate)


def prices_table() -> str:
    rows = [
        (
            price.service,
            price.unit,
            f"${price.usd:g} for {number(price.per)}{' a month' if price.monthly else ''}",
            price.page,
        )
        for price in PRICES.values()
    ]
    return table(("service", "unit", "list price", "page"), rows)


def sizes() -> list[str]:
    return [number(size) for size in SIZES]


def money(value: float) -> str:
    """Format dollars: with cents from one dollar on, otherwise with four decimals."""
    if value < LEAST_DOLLARS:
        return f"< ${LEAST_DOLLARS:.4f}"
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def duration(value: float) -> str:
    if value < 1:
        return "< 1 s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"  # noqa: PLR2004 - two minutes


if __name__ == "__main__":
    main()
