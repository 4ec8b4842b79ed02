"""The section `cold`: a function's cold start beside that of its libraries alone.

Each sample is a fresh interpreter with the function as it is built. A round takes one sample of each kind,
every other round in reverse, so that other load on the machine affects all kinds alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

from bench.functions import (
    BuiltFunctions,
    FunctionProcess,
    ProcessReport,
    build_functions,
    environment,
    start_process,
)
from bench.http_fakes import HttpFakes, serve
from bench.night import BATCH
from bench.page import table
from bench.sections import SectionResult
from infra.build import list_files, megabytes, total_size, write_zip
from testkit.builders import NOW, TABLE
from testkit.fake_stripe import FakeStripe, RateLimits, SessionSpec
from testkit.shop import build_webhook_order
from testkit.world import KEY, SCHEDULED, wire

BARE, PRODUCER, CONSUMER = "bare", "producer", "consumer"
ROUNDS = 20
# The limits of the CPU time and of the peak memory, as multiples of the bare start's.
LIMITS: Mapping[str, float] = {PRODUCER: 1.35, CONSUMER: 0.95}
KINDS = (BARE, *LIMITS)


@dataclass(frozen=True)
class ColdStart:
    """One fresh process: once its clients are `ready`, and once it has `answered` its first event, if any."""

    ready: ProcessReport
    answered: ProcessReport | None = None


type Round = Mapping[str, ColdStart]
type Figure = Callable[[ColdStart], float]


def measure() -> SectionResult:
    with build_functions() as functions, open_starter(functions) as starter:
        # The first round reads the files from the disk, the others from the page cache.
        rounds = [run_round(starter.start, number) for number in range(ROUNDS + 1)][1:]
        return SectionResult(
            f"{INTRODUCTION}\n{times_table(rounds)}\n{sizes_table(functions)}", find_missed(rounds)
        )


@contextmanager
def open_starter(functions: BuiltFunctions) -> Iterator["FunctionStarter"]:
    """Serve Stripe with a batch of sessions, and AWS with a table that has all their orders."""
    services = HttpFakes()
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe, serve(services) as aws:
        for n in range(BATCH):
            sale = SessionSpec(f"cs_live_{n:050}", NOW - 3600 - n, metadata={"userId": f"user-{n}"})
            stripe.store.add(sale)
            services.dynamodb.put_item(
                TableName=TABLE, Item=wire(build_webhook_order(sale, sale.created + 5))
            )
        yield FunctionStarter(functions, services, environment(aws, stripe.url), services.dynamodb.dump())


@dataclass
class FunctionStarter:
    """Starts functions, each in a fresh process.

    `before_run` and `after_run` are dumps of the table; a consumer needs the latter.
    """

    functions: BuiltFunctions
    services: HttpFakes
    env: Mapping[str, str]
    before_run: bytes
    after_run: bytes = b""

    def start(self, kind: str) -> ColdStart:
        """Start one process and send its first event: a run to the producer, a batch to the consumer."""
        if kind == CONSUMER and not self.after_run:
            self.start(PRODUCER)
        with start_process(self.functions, kind, self.env) as (process, ready):
            if kind == BARE:
                return ColdStart(ready)
            return ColdStart(ready, self._produce(process) if kind == PRODUCER else self._consume(process))

    def _produce(self, process: FunctionProcess) -> ProcessReport:
        self.services.dynamodb.load(self.before_run)
        report = process.invoke(SCHEDULED)
        self.services.check_run(enqueued=BATCH)
        self.after_run = self.services.dynamodb.dump()
        return report

    def _consume(self, process: FunctionProcess) -> ProcessReport:
        self.services.dynamodb.load(self.after_run)
        report = process.invoke(self.services.batch_event())
        self.services.check_run(enqueued=BATCH, skipped=BATCH)
        return report


def run_round(start: Callable[[str], ColdStart], number: int) -> Round:
    return {kind: start(kind) for kind in (KINDS if number % 2 else KINDS[::-1])}


INTRODUCTION = f"""\
Fresh interpreters, started as Lambda does it: the function's own folder first on the path, with bytecode.
Bare: `import boto3, stripe`, `boto3.client` for DynamoDB and SQS, and a `StripeClient`, with their defaults,
boto3 from the runtime. The functions create the same clients with their own settings from their own
botocore, and the rest of what they keep; the consumer creates none for Stripe, which a batch of known orders
does not need.
Medians of {ROUNDS} rounds, in brackets the middle half of the rounds' ratios. The limits are on CPU
time: other programs on the machine hardly change it, and a cold start in Lambda depends on it, since the
consumer's 512 MB have less than a third of a core. The first event is additional, with services over HTTP in
another process: a whole run of {BATCH} sessions for the producer, a batch of {BATCH} known orders for the
consumer; peak memory includes it.
"""


def cpu(start: ColdStart) -> float:
    return start.ready.cpu


def wall(start: ColdStart) -> float:
    return start.ready.wall


def peak(start: ColdStart) -> float:
    """Return the peak memory with the first event, if one was sent."""
    return (start.answered or start.ready).peak_mb


def find_missed(rounds: Sequence[Round]) -> tuple[str, ...]:
    return tuple(
        f"the {kind}'s {name} at a cold start is {ratio:.2f} times the bare one's, of at most {limit}"
        for kind, limit in LIMITS.items()
        for name, figure in (("CPU time", cpu), ("peak memory", peak))
        if (ratio := middle(rounds, kind, figure) / middle(rounds, BARE, figure)) > limit
    )


def times_table(rounds: Sequence[Round]) -> str:
    head = ("", "CPU", "x bare", "at most", "by the clock", "x bare", "first event", "peak memory", "x bare")
    return table(head, [row(rounds, kind) for kind in KINDS])


def row(rounds: Sequence[Round], kind: str) -> tuple[str, ...]:
    def times_bare(figure: Figure) -> str:
        return "" if kind == BARE else spread(rounds, kind, figure)

    answers = [start.answered for one in rounds if (start := one[kind]).answered]
    return (
        kind,
        milliseconds(middle(rounds, kind, cpu)),
        times_bare(cpu),
        f"{LIMITS[kind]}" if kind in LIMITS else "",
        milliseconds(middle(rounds, kind, wall)),
        times_bare(wall),
        milliseconds(median(answer.cpu for answer in answers)) + " of CPU" if answers else "",
        f"{middle(rounds, kind, peak):.0f} MB",
        times_bare(peak),
    )


def middle(rounds: Sequence[Round], kind: str, figure: Figure) -> float:
    return median(figure(one[kind]) for one in rounds)


def spread(rounds: Sequence[Round], kind: str, figure: Figure) -> str:
    low, _, high = quantiles((figure(one[kind]) / figure(one[BARE]) for one in rounds), n=4)
    ratio = middle(rounds, kind, figure) / middle(rounds, BARE, figure)
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def sizes_table(functions: BuiltFunctions) -> str:
    rows = []
    for name, folder in functions.folders.items():
        files = list_files(folder)
        archive = write_zip(folder, folder.with_suffix(".zip"))
        zipped = megabytes(archive.stat().st_size)
        rows.append((name, zipped, megabytes(total_size(files)), f"{len(files):,}"))
    return table(("", "zip", "unpacked", "files"), rows)
