"""The baseline and the pipeline over the same shop, each to its end, checked, with what it took."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.stage.cloud import TABLE
from bench.stage.mapping import Window, invoked, invokes, polls
from bench.stage.programs import Report
from bench.stage.shop import Shop, miscounts, wrongs
from bench.stage.stage import Stage, staged
from bench.stage.transports import LATENCY
from recon.domain.run import RunStatus
from recon.dynamodb.records import run_key
from recon.dynamodb.table import to_wire
from recon.timestamps import to_iso, to_run_id
from testkit.fake_stripe import RateLimits
from testkit.fake_stripe.faults import Endpoint

HOUR, GRACE = 3600, 600
LOOKBACK = 25 * HOUR
LONGEST_SECONDS = 900
# Of the mapping, and so of the functions' settings; one consumer alone paces itself as one of two.
LEAST_CONCURRENCY = 2
TICK_SECONDS = 0.005


class WrongError(Exception):
    """What a program left in the table is not what it must leave: its time is worth nothing."""


@dataclass
class Played:
    """`seconds` from the start to the end; `sent_after` until the last message was sent. `waited` by message
    in the queue. `services_cpu` is what the doubles took of the same cores."""

    seconds: float
    services_cpu: float
    sent_after: float = 0.0
    waited: list[float] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    stripe: Counter[tuple[Endpoint, int]] = field(default_factory=Counter)

    def of(self, role: str, what: Callable[[Report], float]) -> float:
        """Summed over the processes of a role."""
        return sum(what(report) for report in self.reports if report.role == role)


def baseline(shop: Shop, limits: RateLimits, settings: Mapping[str, str]) -> Played:
    with staged(shop, limits, settings) as stage:
        [line] = stage.begins("baseline")
        watch = Watch()
        tally = invoked(line, {"from": shop.now - LOOKBACK, "to": shop.now - GRACE})
        played = watch.stopped()
        right = {"listed": shop.sessions, "created": shop.missing}
        return _checked(stage, played, [] if tally == right else [f"it says {tally}"])


type Beside = Callable[[Stage, threading.Event], None]


def pipeline(
    shop: Shop, limits: RateLimits, settings: Mapping[str, str], consumers: int, beside: Beside | None = None
) -> Played:
    """A scheduled run with so many consumer processes, to the moment that its record says done. `beside` runs
    on a thread of its own until the event is set."""
    settings = {**settings, "SYNC_CONSUMER_CONCURRENCY": str(max(LEAST_CONCURRENCY, consumers))}
    with staged(shop, limits, settings) as stage:
        stopped, waited = threading.Event(), list[float]()
        threads = _threads(stage, consumers, stopped, waited)
        if beside:
            threads.append(threading.Thread(target=beside, args=(stage, stopped)))
        watch = Watch()
        stage.cloud.events.put({"trigger": "scheduled", "scheduledTime": to_iso(shop.now)})
        for thread in threads:
            thread.start()
        try:
            _until(stage, lambda: _is_done(stage))
            played = watch.stopped()
            _until(stage, lambda: not stage.cloud.sqs.messages(stage.cloud.queue))
        finally:
            stopped.set()
            stage.cloud.events.put(None)
            for thread in threads:
                thread.join()
        played.sent_after = stage.last["sqs.SendMessageBatch"] - watch.began
        played.waited = waited
        dead = (
            [f"{len(left)} dead letters"]
            if (left := stage.cloud.sqs.messages(stage.cloud.dead_letters))
            else []
        )
        items = stage.cloud.dynamodb.items(TABLE)
        return _checked(stage, played, dead + miscounts(shop, items, to_run_id(shop.now)))


class Watch:
    """Takes the time, and the CPU time of this process, which plays the services."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._cpu = time.process_time()

    def stopped(self) -> Played:
        return Played(time.monotonic() - self.began, time.process_time() - self._cpu)


def _threads(
    stage: Stage, consumers: int, stopped: threading.Event, waited: list[float]
) -> list[threading.Thread]:
    """Lambda, between the queue and programs that are warm."""
    [producer] = stage.begins("producer")
    threads = [threading.Thread(target=invokes, args=(producer, stage.cloud.events, stage.failed))]
    for line in stage.begins("consumer", consumers):
        window = Window(stage.cloud.sqs, LATENCY["sqs"], stopped, waited)
        threads.append(threading.Thread(target=polls, args=(line, window, stage.cloud.queue, stage.failed)))
    return threads


def _until(stage: Stage, comes: Callable[[], bool]) -> None:
    ends = time.monotonic() + LONGEST_SECONDS
    while not comes():
        stage.check()
        if stage.failed or time.monotonic() > ends:
            raise WrongError(f"after {LONGEST_SECONDS} s at most: {stage.failed[:3]}")
        time.sleep(TICK_SECONDS)


def _is_done(stage: Stage) -> bool:
    pk, sk = run_key(to_run_id(stage.shop.now))
    answer = stage.cloud.dynamodb.get_item(
        TableName=TABLE, Key=to_wire({"PK": pk, "SK": sk}), ConsistentRead=True
    )
    done: bool = answer.get("Item", {}).get("status") == {"S": RunStatus.DONE}
    return done


def _checked(stage: Stage, played: Played, wrong: list[str]) -> Played:
    """With the programs' own reports, once they have ended."""
    stage.ends()
    wrong = wrong + stage.failed + wrongs(stage.shop, stage.cloud.dynamodb.items(TABLE))
    if wrong:
        raise WrongError(f"{len(wrong)} wrongs: {'; '.join(wrong[:5])}")
    played.reports, played.calls, played.stripe = stage.reports, stage.cloud.calls, stage.cloud.stripe.counts
    return played
