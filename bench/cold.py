"""How long a function takes to be there, against its libraries alone: `make bench ARGS=cold`.

Each sample is a fresh interpreter with the function as it is built. One sample of each kind makes a round,
and every other round goes backwards, so that whatever else the machine does meets all kinds alike.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

from bench.cold_start import BARE, Start, shop
from bench.functions import Built, built
from bench.http_fakes import BATCH
from bench.page import table
from bench.sections import Measured
from infra.build import list_files, megabytes, total_size, write_zip

ROUNDS = 20
# How many times the bare start's CPU time, and its peak memory.
LIMITS: Mapping[str, float] = {"producer": 1.35, "consumer": 0.95}
KINDS = (BARE, *LIMITS)


type Round = Mapping[str, Start]
type Figure = Callable[[Start], float]


def measured() -> Measured:
    with built() as functions, shop(functions) as begin:
        # The first round finds the files on the disk, the others in memory.
        rounds = [one_round(begin, number) for number in range(ROUNDS + 1)][1:]
        return Measured(f"{INTRODUCTION}\n{times(rounds)}\n{sizes(functions)}", missed(rounds))


def one_round(begin: Callable[[str], Start], number: int) -> Round:
    return {kind: begin(kind) for kind in (KINDS if number % 2 else KINDS[::-1])}


INTRODUCTION = f"""\
Fresh interpreters, started as Lambda does it: the function's own folder first on the path and boto3 from
the runtime's, all with bytecode. Bare: `import boto3, stripe`, `boto3.client` for DynamoDB and SQS, and a
`StripeClient`, by their defaults. The functions make the same clients with their own settings, and whatever
else they keep; the consumer makes none for Stripe, since a batch of known orders asks Stripe nothing.
Medians of {ROUNDS} rounds, in brackets the middle half of the rounds' ratios. Judged by CPU time: other
programs on the machine hardly change it, and it is what a cold start waits for in Lambda, where 256 MB come
with a seventh of a core. The first event comes on top, answered over HTTP by services in another process: a
whole run of {BATCH} sessions for the producer, a batch of {BATCH} known orders for the consumer; peak
memory includes it.
"""


def cpu(start: Start) -> float:
    return start.made.cpu


def wall(start: Start) -> float:
    return start.made.wall


def peak(start: Start) -> float:
    """With the first event, where there is one."""
    return (start.answered or start.made).peak_mb


def missed(rounds: Sequence[Round]) -> tuple[str, ...]:
    return tuple(
        f"the {kind}'s {name} at a cold start is {ratio:.2f} times the bare one's, of at most {limit}"
        for kind, limit in LIMITS.items()
        for name, figure in (("CPU time", cpu), ("peak memory", peak))
        if (ratio := middle(rounds, kind, figure) / middle(rounds, BARE, figure)) > limit
    )


def times(rounds: Sequence[Round]) -> str:
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


def sizes(functions: Built) -> str:
    rows = []
    for name, folder in functions.folders.items():
        files = list_files(folder)
        archive = write_zip(folder, folder.with_suffix(".zip"))
        zipped = megabytes(archive.stat().st_size)
        rows.append((name, zipped, megabytes(total_size(files)), f"{len(files):,}"))
    return table(("", "zip", "unpacked", "files"), rows)
