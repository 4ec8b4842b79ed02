"""The section `nightly`: the baseline and the pipeline over the same shop, one after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median

from bench.emulated import describe_emulated_run
from bench.harness.event_source import WINDOW_SECONDS
from bench.harness.programs import Report
from bench.harness.runner import RunMeasurement, measure_baseline, measure_pipeline
from bench.harness.transports import LATENCY
from bench.machine import find_slowdown, time_work
from bench.page import number, table
from bench.sections import SectionResult
from bench.shops import UniformShop
from testkit.fake_stripe import RateLimits

SESSIONS, CONSUMERS = 5_000, 5
SETTINGS = {"STRIPE_MAX_RPS": "100"}
TIMES_FASTER, MOST_ABOVE_FLOOR = 8.0, 1.25
ROUNDS = 3


def measure() -> SectionResult:
    shops = [UniformShop(SESSIONS, now=int(time.time()) + n) for n in range(ROUNDS + 1)]
    plain = measure_baseline(shops[0], _limits(), SETTINGS)
    rounds, work = [], time_work()
    for shop in shops[1:]:
        rounds.append(measure_pipeline(shop, _limits(), SETTINGS, CONSUMERS))
        work += time_work()
    rounds.sort(key=lambda measurement: measurement.seconds)
    faster, slowdown = plain.seconds / rounds[ROUNDS // 2].seconds, find_slowdown(work)
    text = "\n".join([render(plain, rounds, faster, slowdown), describe_emulated_run()])
    ours = rounds[ROUNDS // 2]
    return SectionResult(text, tuple(find_missed(faster, ours.seconds / ours.floor, slowdown)))


def find_missed(faster: float, above_floor: float, slowdown: float) -> list[str]:
    """Return the demands that were missed, by a machine's measured slowdown.

    The pipeline keeps all cores busy, and the baseline mostly waits, so that only the pipeline is slowed. Its
    CPU time is slowed as much, so that the second demand is not relaxed.
    """
    missed = []
    if faster * slowdown < TIMES_FASTER:
        missed.append(
            f"the pipeline is at least {TIMES_FASTER:g} times as fast as the baseline; it is {faster:.1f} "
            f"times, on a machine slowed down {slowdown:.2f} times"
        )
    if above_floor > MOST_ABOVE_FLOOR:
        missed.append(
            f"the pipeline takes at most {MOST_ABOVE_FLOOR} times what its CPU time takes on all cores; it "
            f"takes {above_floor:.2f} times that"
        )
    return missed


def render(plain: RunMeasurement, rounds: Sequence[RunMeasurement], faster: float, slowdown: float) -> str:
    ours = rounds[ROUNDS // 2]
    spread = ", ".join(f"{measurement.seconds:.1f}" for measurement in rounds)
    missing, rps = UniformShop(SESSIONS).lost, SETTINGS["STRIPE_MAX_RPS"]
    floor = ours.floor
    waits = ours.queue_seconds
    lay = f"{mean(waits):.1f} s (median {median(waits):.1f}, at most {max(waits):.1f})"
    late = max((batch.gathered for batch in ours.late_batches), default=0.0)
    return f"""{number(SESSIONS)} sessions, {missing} of them without an order, {CONSUMERS} consumers,
{rps} Stripe requests a second at most on both sides; {latencies()}.
All processes are warm. All tables were checked afterwards: every session has exactly one order, and every
counter is exact.

{comparison_table(plain, ours)}
**{faster:.1f} times as fast** (demanded: {TIMES_FASTER:g}), by the median of {ROUNDS} rounds: {spread} s.
Its CPU time and that of the services take {floor:.1f} s on all cores, and the run
{ours.seconds / floor:.2f} times that (demanded: at most {MOST_ABOVE_FLOOR}). Equal pieces of work on all
cores took {slowdown:.2f} times as long as the fastest of them, before, between and after the rounds. That
slows the pipeline and hardly the baseline, which mostly waits, so that the first demand is relaxed by this
factor.

Where the time goes, in seconds in which at least one such call was pending:

{time_table(plain, ours)}
The first batch was complete after {ours.first_batch:.1f} s, and the last message was sent after
{ours.sent_after:.1f} s. At the end, {len(ours.late_batches)} batches were not full and waited up to
{late:.1f} s for more messages: Lambda demands a batching window of at least {WINDOW_SECONDS:g} s for batches
of more than ten.
A message waited in the queue for {lay}, that window included.
"""


def comparison_table(plain: RunMeasurement, ours: RunMeasurement) -> str:
    rows = [
        ("seconds, end to end", f"{plain.seconds:.1f}", f"{ours.seconds:.1f}"),
        ("sessions a second", *(number(SESSIONS / one.seconds) for one in (plain, ours))),
        ("requests to Stripe", *(number(one.stripe.total()) for one in (plain, ours))),
        ("requests to DynamoDB", *(number(_calls(one, "dynamodb")) for one in (plain, ours))),
        ("requests to SQS, without those of Lambda", *(number(_calls(one, "sqs")) for one in (plain, ours))),
        ("CPU seconds of the programs", *(f"{one.cpu:.1f}" for one in (plain, ours))),
        (
            "CPU seconds of the services, on the same cores",
            *(f"{one.services_cpu:.1f}" for one in (plain, ours)),
        ),
    ]
    return table(("", "baseline", "pipeline"), rows)


def time_table(plain: RunMeasurement, ours: RunMeasurement) -> str:
    """Return where the time goes; a consumer is the mean of all, and overlapping calls count in each row."""
    groups = [
        [report for report in one.reports if report.role == role]
        for one, role in ((plain, "baseline"), (ours, "producer"), (ours, "consumer"))
    ]
    totals = (plain.seconds, ours.seconds, ours.seconds)
    rows = [
        (name, *(f"{mean(map(value, reports)):.2f}" for reports in groups)) for name, value in _PHASES.items()
    ]
    idle = (
        f"{abs(total - mean(report.busy for report in reports)):.2f}"
        for total, reports in zip(totals, groups, strict=True)
    )
    rows.append(("not invoked", *idle))
    return table(("", "baseline", "producer", f"each of {CONSUMERS} consumers"), rows)


_PHASES: Mapping[str, Callable[[Report], float]] = {
    "reads from DynamoDB": lambda report: report.reads,
    "requests to Stripe": lambda report: report.stripe,
    "writes to DynamoDB": lambda report: report.writes,
    "sends to SQS": lambda report: report.queue,
    "none of these: its own code, or waiting for a core": lambda report: report.busy - report.any_call,
    "(CPU time)": lambda report: report.cpu,
}


def _limits() -> RateLimits:
    return RateLimits(per_second=None, per_endpoint=None)


def _calls(measurement: RunMeasurement, service: str) -> int:
    return sum(count for name, count in measurement.calls.items() if name.startswith(f"{service}."))


def latencies() -> str:
    named = {"stripe": "Stripe", "dynamodb": "DynamoDB", "sqs": "SQS"}
    return ", ".join(f"{name} takes {1000 * LATENCY[key]:.0f} ms" for key, name in named.items())
