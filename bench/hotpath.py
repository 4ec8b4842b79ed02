"""What the consumer computes for a batch, with all waiting taken away: which parts earn their time?

`python -m bench.hotpath` measures in a process of its own, since it puts transports under botocore and
Stripe's library, and prints what it found as JSON.
"""

import cProfile
import io
import json
import os
import pstats
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.session import Session

from bench.page import table
from bench.sections import Measured
from bench.stage.cloud import Cloud
from bench.stage.mapping import BATCH_SIZE
from bench.stage.programs import Context
from bench.stage.shop import Shop
from bench.stage.stage import SETTINGS
from bench.stage.transports import LATENCY, Slow, under_botocore, under_stripe
from bench.stage.wire import Frame
from consumer import lambda_function as consumer_function
from producer import lambda_function as producer_function
from recon.aws import clients as aws
from recon.bootstrap import build_clients
from recon.timestamps import to_iso
from testkit.doubles.poller import LambdaPoller
from testkit.fake_stripe import RateLimits

SESSIONS, MISSING_EVERY = 3_000, 50
BEFORE = "e135b4b"
ROOT = Path(__file__).resolve().parent.parent
# A part of the work, and the function that all of it goes through: the end of its file's path, and its name.
# None contains another, nor the services.
PARTS: Mapping[str, tuple[str, str]] = {
    "botocore: checking and writing requests": ("botocore/client.py", "_convert_to_request_dict"),
    "botocore: signing them": ("botocore/signers.py", "sign"),
    "botocore: naming the user agent": ("botocore/useragent.py", "to_string"),
    "botocore: reading answers": ("botocore/parsers.py", "parse"),
    "writing a transaction's items": ("recon/dynamodb/outcomes.py", "_actions"),
    "reading items": ("recon/dynamodb/table.py", "from_wire"),
    "reading messages": ("consumer/batch.py", "sorted_out"),
    "deciding": ("consumer/session_group.py", "_decide"),
    "log lines": ("logging/__init__.py", "handle"),
}
REST = "the rest: botocore's events and retries above all"


@dataclass(frozen=True)
class Found:
    """CPU milliseconds of a batch, and the share of each part in them, 0 to 1."""

    batches: int
    milliseconds: float
    shares: dict[str, float]

    def parts(self) -> dict[str, float]:
        """Milliseconds of each, and of what is left over."""
        shares = self.shares | {REST: 1 - sum(self.shares.values())}
        return {name: share * self.milliseconds for name, share in shares.items()}


def measured() -> Measured:
    """Now, and on the commit before the improvements, where this checkout has it."""
    after = found_in(ROOT)
    with before() as folder:
        earlier = found_in(folder) if folder else None
    text = f"""A batch of {BATCH_SIZE} sessions, every {MISSING_EVERY}th without an order, takes the consumer
**{after.milliseconds:.1f} ms** of CPU, the mean of {after.batches} batches, without what the services took
themselves{compared(earlier, after)}. Where it goes, by cProfile, in milliseconds:

{table(("part", f"before, {BEFORE}", "now", "share"), list(rows(earlier, after)))}
"""
    return Measured(text)


def found_in(folder: Path) -> Found:
    """In a process of its own, with the product and the doubles of that folder."""
    told = subprocess.run(
        [sys.executable, "-m", "bench.hotpath"], cwd=folder, check=True, capture_output=True, text=True
    )
    return Found(**json.loads(told.stdout))


@contextmanager
def before() -> Iterator[Path | None]:
    """That commit's tree with this `bench/` in it; None where its history is not here."""
    with tempfile.TemporaryDirectory(prefix="nightly-sync-bench-") as home:
        folder = Path(home) / "before"
        archive = [shutil.which("git") or "git", "archive", BEFORE]
        tree = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - all constant
        if tree.returncode:
            yield None
            return
        with tarfile.open(fileobj=io.BytesIO(tree.stdout)) as files:
            files.extractall(folder, filter="data")
        shutil.rmtree(folder / "bench")
        shutil.copytree(ROOT / "bench", folder / "bench")
        yield folder


def compared(earlier: Found | None, after: Found) -> str:
    if earlier is None:
        return f"; what it was is not known, since this checkout has no commit `{BEFORE}`"
    more = earlier.milliseconds / after.milliseconds - 1
    return f"; before the improvements it was **{earlier.milliseconds:.1f} ms**, {more:.0%} more"


def rows(earlier: Found | None, after: Found) -> Iterator[Sequence[str]]:
    was = earlier.parts() if earlier else {}
    for name, milliseconds in after.parts().items():
        then = f"{was[name]:.1f}" if name in was else ""
        yield name, then, f"{milliseconds:.1f}", f"{milliseconds / after.milliseconds:.0%}"


class Inline(Executor):
    """Runs everything at once and on this thread, the one that a profiler watches."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":  # noqa: ANN401
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - what an executor does
            future.set_exception(error)
        return future

    def map(self, call: Callable[..., Any], *arguments: Iterable[Any], **_: Any) -> Iterator[Any]:  # type: ignore[override]  # noqa: ANN401
        return iter([call(*each) for each in zip(*arguments, strict=True)])


class Services:
    """The doubles without any latency; `cpu` are the seconds that they took themselves."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.cpu = 0.0

    def __call__(self, frame: Frame) -> Frame:
        began = time.process_time()
        try:
            return self._cloud.answers(frame)
        finally:
            self.cpu += time.process_time() - began


def profiled() -> Found:
    """Half of the batches are timed and the other half profiled, since the profiler takes its own time."""
    cloud = Cloud(RateLimits(None, None))
    shop = Shop(SESSIONS, MISSING_EVERY, int(time.time()))
    cloud.opens(shop.sales(), shop.webhook_orders())
    services = Services(cloud)
    with wired(cloud, services):
        producer_function.lambda_handler(
            {"trigger": "scheduled", "scheduledTime": to_iso(shop.now)}, context("producer")
        )
        consumer = Consumer(cloud, services)
        consumer.works_off(2)  # imports, and whatever else happens once
        batches = SESSIONS // BATCH_SIZE // 2 - 2
        seconds = consumer.works_off(batches)
        profile = cProfile.Profile()
        consumer.works_off(batches, profile)
    return Found(batches, 1000 * seconds / batches, shares(pstats.Stats(profile)))


class Consumer:
    def __init__(self, cloud: Cloud, services: Services) -> None:
        self._poller = LambdaPoller(cloud.sqs, cloud.queue)
        self._services = services
        self._seconds = 0.0

    def works_off(self, batches: int, profile: cProfile.Profile | None = None) -> float:
        """CPU seconds of the handler alone."""
        self._seconds = 0.0
        for _ in range(batches):
            delivered = self._poller.deliver(lambda event, _: self._handled(event, profile), BATCH_SIZE)
            assert delivered and not delivered.error, delivered  # noqa: S101, PT018 - else there is nothing to measure
        return self._seconds

    def _handled(self, event: Any, profile: cProfile.Profile | None) -> Any:  # noqa: ANN401 - the handler's
        began, theirs = time.process_time(), self._services.cpu
        if profile:
            profile.enable()
        try:
            return consumer_function.lambda_handler(event, context("consumer"))
        finally:
            if profile:
                profile.disable()
            self._seconds += time.process_time() - began - (self._services.cpu - theirs)


def shares(stats: pstats.Stats) -> dict[str, float]:
    """Of the handler's time without the services'."""
    cumulated: dict[tuple[str, str], float] = {}
    for (path, _, name), (_, _, _, seconds, _) in stats.stats.items():  # type: ignore[attr-defined]
        cumulated[path, name] = cumulated.get((path, name), 0.0) + seconds

    def of(end: str, name: str) -> float:
        return sum(
            seconds for (path, one), seconds in cumulated.items() if one == name and path.endswith(end)
        )

    theirs = of("bench/hotpath.py", "__call__")  # the services
    whole = of("consumer/lambda_function.py", "lambda_handler") - theirs
    return {part: of(*place) / whole for part, place in PARTS.items()}


@contextmanager
def wired(cloud: Cloud, services: Services) -> Iterator[None]:
    """Both functions over the doubles, everything on this thread, and their logs nowhere."""
    environment = {**SETTINGS, "SYNC_QUEUE_URL": cloud.queue, "STRIPE_MAX_RPS": "100000"}
    environment["SYNC_MAX_SESSIONS"] = str(SESSIONS)
    slow = Slow(services, latency=dict.fromkeys(LATENCY, 0.0))
    with mock.patch.dict(os.environ, environment), redirect_stdout(io.StringIO()):
        under_botocore(session(), slow)
        under_stripe(slow)
        kept = replace(build_clients(os.environ, threads=1), pool=Inline())
        with (
            mock.patch.object(consumer_function, "clients", return_value=kept),
            mock.patch.object(producer_function, "clients", return_value=kept),
        ):
            yield


def session() -> Session:
    """Which the functions make their clients from: since that commit one of botocore's own."""
    if hasattr(aws, "session"):
        return aws.session()
    made = Session()
    boto3.setup_default_session(botocore_session=made)
    return made


def context(name: str) -> Any:  # noqa: ANN401 - as much of Lambda's as the handlers ask for
    return Context(time.monotonic() + 900, "request", name)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(vars(profiled())))
