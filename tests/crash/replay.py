"""One undisturbed run names every external call; then the same night once more for each thing that can
happen at each of them.

CRASH_CASES=all pytest tests/crash                    every case instead of a slice
CRASH_CASE="47 killed after" pytest tests/crash -k …  one case once more
"""

import os
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from recon.errors import SyncError, Unexpected
from recon.timestamps import DAY
from testkit.builders import NOW
from testkit.doubles.faults import ClientCall, Fault, Killed, never
from testkit.shapes import JsonObject
from testkit.world import SCHEDULED
from tests.crash import verdict
from tests.crash.harms import harms_of, is_death
from tests.crash.shop import Night, Shop

BATCH = 25
# Lambda invokes an asynchronous function two more times when it fails.
RETRIES = 2
NEXT = {"trigger": "scheduled", "scheduledTime": "2024-11-28T02:00:00Z"}
CHUNKS = 4  # so that several processes share the whole
STEP = 7  # odd, and so now a harm that stays and now one that does not
type Act = Callable[[Shop], None]
type Wrongs = list[str]


@dataclass(frozen=True)
class Case:
    """One thing that happens at one call; `stays`: and at all calls like it until the invocation ends."""

    number: int
    at: str
    fault: Fault
    stays: bool = False

    def __str__(self) -> str:
        return f"{self.number} {self.fault.name}{' (stays)' if self.stays else ''} at {self.at}"

    def plan(self, call: ClientCall) -> Fault | None:
        like = self.stays and call.number > self.number and _name(call) == self.at
        return self.fault if call.number == self.number or like else None


def cases_of(night: Night, act: Act) -> list[Case]:
    """Derived from one undisturbed run: nobody names a call."""
    shop = recorded(night, act)
    return [
        Case(call.number, _name(call), fault, stays)
        for call in shop.history.calls
        for fault in harms_of(shop.faulty[call.service], call)
        for stays in ((False,) if is_death(fault) else (False, True))
    ]


def recorded(night: Night, act: Act) -> Shop:
    random.seed(1)
    shop = night.opens()
    act(shop)
    return shop


def chosen(cases: list[Case], chunk: int) -> list[Case]:
    """A chunk of all cases, of the one that is asked for, or of a slice that is always the same."""
    if one := os.environ.get("CRASH_CASE"):
        cases = [case for case in cases if str(case).startswith(one)]
    elif os.environ.get("CRASH_CASES") != "all":
        cases = list(_slice(cases))
    return cases[chunk::CHUNKS]


def _slice(cases: list[Case]) -> Iterator[Case]:
    """Both deaths at what writes, one in turn at what only reads, and at every second call another harm: at
    calls that are alike another one each time."""
    by_call: dict[int, list[Case]] = {}
    for case in cases:
        by_call.setdefault(case.number, []).append(case)
    turns: Counter[str] = Counter()
    for number, harms in by_call.items():
        deaths = [case for case in harms if is_death(case.fault)]
        yield from [deaths[number % 2]] if _only_reads(harms[0].at) else deaths
        if number % 2:
            others = [case for case in harms if not is_death(case.fault)]
            yield others[turns[harms[0].at] * STEP % len(others)]
            turns[harms[0].at] += 1


def _only_reads(at: str) -> bool:
    return at.partition(".")[2].startswith(("get", "batch_get", "query"))


def went_wrong(night: Night, act: Act, cases: Iterable[Case], judged: Callable[[Night, Shop], Wrongs]) -> str:
    """Plays each case and has it judged; empty where all ended well."""
    wrongs = {str(case): wrong for case in cases if (wrong := judged(night, suffered(night, act, case)))}
    told = [f"{case}\n    " + "\n    ".join(wrong) for case, wrong in wrongs.items()]
    return f"{len(told)} cases went wrong\n  " + "\n  ".join(told[:20]) if told else ""


def suffered(night: Night, act: Act, case: Case) -> Shop:
    """The same night with this one thing happening."""
    random.seed(1)
    shop = night.opens()
    shop.plans(case.plan)
    act(shop)
    shop.plans(never)
    hit = [event for event in shop.history.events if event.fault]
    assert hit, f"{case}: nothing happened"
    assert _name(hit[0].call) == case.at, f"{case}: the run is not the one that was recorded"
    return shop


def one_batch(shop: Shop) -> None:
    """One invocation of the consumer with everything that lies in the queue."""
    delivery = shop.deliver(BATCH)
    assert delivery
    assert delivery.error is None or isinstance(delivery.error, Killed), repr(delivery.error)
    if delivery.error:
        shop.starts_anew()


def whole_run(shop: Shop) -> None:
    """The producer with all its invocations of itself, each that fails repeated as Lambda repeats it."""
    _produce(shop, SCHEDULED, RETRIES)


def run_left_alone(shop: Shop) -> None:
    """The same, with nobody to repeat what failed: the next night has to do."""
    _produce(shop, SCHEDULED, 0)


def a_preview(shop: Shop) -> None:
    """A dry run by hand: its failure is its answer, and nobody repeats it."""
    _invoked(shop, {"dryRun": True})


def _produce(shop: Shop, event: JsonObject, retries: int) -> None:
    waiting = deque([(event, 0)])
    while waiting:
        event, tried = waiting.popleft()
        failed = not _invoked(shop, event)
        if shop.history.faults():
            shop.plans(never)  # it is over with the invocation
        waiting.extend((hop, 0) for hop in shop.hops)
        shop.hops.clear()
        if failed and tried < retries:
            waiting.append((event, tried + 1))
            shop.clock.now += 60


def _invoked(shop: Shop, event: JsonObject) -> bool:
    try:
        shop.produce(event)
    except Unexpected:
        raise
    except (SyncError, Killed):
        shop.starts_anew()
        return False
    return True


def the_queue_and_a_redrive(night: Night, shop: Shop) -> Wrongs:
    """Messages come back until each is through or dead; then an operator has the dead ones tried again."""
    shop.drain()
    wrong = verdict.of_the_queue(night, shop)
    shop.redrive()
    shop.drain()
    return wrong + verdict.of_the_end(night, shop)


def the_next_night(night: Night, shop: Shop) -> Wrongs:
    """The queue goes on, the schedule comes round, and nobody has repeated what failed."""
    shop.drain()
    shop.clock.now = NOW + DAY
    _produce(shop, NEXT, RETRIES)
    shop.drain()
    return verdict.of_the_nights(night, shop)


def _name(call: ClientCall) -> str:
    return f"{call.service}.{call.method}"
