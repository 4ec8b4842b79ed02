"""Records the external calls of a run without faults, and plays the run again with each fault of each call.

PROVE=all pytest tests/crash                          every case instead of a slice
CRASH_CASE="47 killed after" pytest tests/crash -k …  one case again
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
from testkit.invariants import Violation
from testkit.shop import Record
from testkit.world import SCHEDULED
from tests.crash import verdict
from tests.crash.crash_shop import CrashShop
from tests.crash.fault_catalog import is_death, list_faults
from tests.crash.starting_points import StartingPoint
from tests.proofs import PROVE_ALL

BATCH = 25
# Lambda repeats an asynchronous invocation twice if it fails.
LAMBDA_RETRIES = 2
NEXT_NIGHT = {"trigger": "scheduled", "scheduledTime": "2024-11-28T02:00:00Z"}
CHUNKS = 4  # so that several processes share the cases
ALIKE = 12
STEP = 7  # odd, so that persistent faults and single ones take turns
type Act = Callable[[CrashShop], None]
type Check = Callable[[StartingPoint, CrashShop], list[Violation]]


@dataclass(frozen=True)
class CrashCase:
    """One fault at one call; `persists`: also at all calls like it until the invocation ends."""

    number: int
    call_name: str
    fault: Fault
    persists: bool = False

    def __str__(self) -> str:
        persists = " (persists)" if self.persists else ""
        return f"{self.number} {self.fault.name}{persists} at {self.call_name}"

    def plan(self, call: ClientCall) -> Fault | None:
        is_alike = self.persists and call.number > self.number and _name(call) == self.call_name
        return self.fault if call.number == self.number or is_alike else None


def derive_cases(start: StartingPoint, act: Act) -> list[CrashCase]:
    """Return the cases of all calls that one run without faults makes."""
    shop = record_run(start, act)
    return [
        CrashCase(call.number, _name(call), fault, persists)
        for call in shop.history.calls
        for fault in list_faults(shop.clients_by_service[call.service], call)
        for persists in ((False,) if is_death(fault) else (False, True))
    ]


def record_run(start: StartingPoint, act: Act) -> CrashShop:
    random.seed(1)
    shop = start.open_shop()
    act(shop)
    return shop


def choose_cases(cases: list[CrashCase], chunk: int) -> list[CrashCase]:
    """Return a chunk of all cases, of the one that CRASH_CASE names, or of a fixed slice."""
    if one := os.environ.get("CRASH_CASE"):
        cases = [case for case in cases if str(case).startswith(one)]
    elif not PROVE_ALL:
        cases = list(_slice(cases))
    return cases[chunk::CHUNKS]


def _slice(cases: list[CrashCase]) -> Iterator[CrashCase]:
    """Yield both deaths of each writing call, and a death and another fault of every twelfth call of a kind.

    The first of each kind is among them, and each later one gets a different fault.
    """
    by_call: dict[int, list[CrashCase]] = {}
    for case in cases:
        by_call.setdefault(case.number, []).append(case)
    seen: Counter[str] = Counter()
    for of_call in by_call.values():
        name = of_call[0].call_name
        turn, is_passed = divmod(seen[name], ALIKE)
        seen[name] += 1
        deaths = [case for case in of_call if is_death(case.fault)]
        only_reads = name.partition(".")[2].startswith(("get", "batch_get", "query"))
        if not only_reads:
            yield from deaths
        elif not is_passed:
            yield deaths[turn % 2]
        if not is_passed:
            others = [case for case in of_call if not is_death(case.fault)]
            yield others[turn * STEP % len(others)]


def report_failures(start: StartingPoint, act: Act, cases: Iterable[CrashCase], check: Check) -> str:
    """Play each case, check the shop, and return what went wrong as text; empty if all cases are right."""
    found = {str(case): wrong for case in cases if (wrong := check(start, play_case(start, act, case)))}
    lines = [f"{case}\n    " + "\n    ".join(map(str, wrong)) for case, wrong in found.items()]
    return f"{len(lines)} cases went wrong\n  " + "\n  ".join(lines[:20]) if lines else ""


def play_case(start: StartingPoint, act: Act, case: CrashCase) -> CrashShop:
    """Return the shop after the recorded run with the fault of this case."""
    random.seed(1)
    shop = start.open_shop()
    shop.set_plan(case.plan)
    act(shop)
    shop.set_plan(never)
    hit = [event for event in shop.history.events if event.fault]
    assert hit, f"{case}: nothing happened"
    assert _name(hit[0].call) == case.call_name, f"{case}: the run is not the one that was recorded"
    return shop


def consume_batch(shop: CrashShop) -> None:
    """Invoke the consumer once with all messages of the queue."""
    delivery = shop.deliver(BATCH)
    assert delivery
    assert delivery.error is None or isinstance(delivery.error, Killed), repr(delivery.error)
    if delivery.error:
        shop.restart_process()


def produce_with_retries(shop: CrashShop) -> None:
    """Invoke the producer until its run is listed; failed invocations are repeated as Lambda repeats them."""
    _produce(shop, SCHEDULED, LAMBDA_RETRIES)


def produce_without_retries(shop: CrashShop) -> None:
    """Invoke the producer until its run is listed or an invocation fails."""
    _produce(shop, SCHEDULED, 0)


def run_dry(shop: CrashShop) -> None:
    """Invoke a dry run once; the caller of a manual run sees its failure."""
    _invoke(shop, {"dryRun": True})


def _produce(shop: CrashShop, event: Record, retries: int) -> None:
    waiting = deque([(event, 0)])
    while waiting:
        event, tried = waiting.popleft()
        succeeded = _invoke(shop, event)
        if shop.history.faults():
            shop.set_plan(never)  # a fault ends with the invocation
        waiting.extend((hop, 0) for hop in shop.hops)
        shop.hops.clear()
        if not succeeded and tried < retries:
            waiting.append((event, tried + 1))
            shop.clock.now += 60


def _invoke(shop: CrashShop, event: Record) -> bool:
    try:
        shop.produce(event)
    except Unexpected:
        raise
    except (SyncError, Killed):
        shop.restart_process()
        return False
    return True


def recover_by_redrive(start: StartingPoint, shop: CrashShop) -> list[Violation]:
    """Check the shop after its messages are settled or dead, and again after a redrive of the dead ones."""
    shop.drain()
    wrong = verdict.check_after_queue(start, shop)
    shop.redrive()
    shop.drain()
    return wrong + verdict.check_at_end(start, shop)


def recover_by_next_night(start: StartingPoint, shop: CrashShop) -> list[Violation]:
    """Check the shop after the next scheduled run, with nothing repeated before."""
    shop.drain()
    shop.clock.now = NOW + DAY
    _produce(shop, NEXT_NIGHT, LAMBDA_RETRIES)
    shop.drain()
    return verdict.check_after_next_night(start, shop)


def _name(call: ClientCall) -> str:
    return f"{call.service}.{call.method}"
