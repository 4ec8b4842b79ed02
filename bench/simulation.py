"""Simulated time for real threads: waits take none, and CPU time counts as on a share of a core.

One thread runs at a time, as Python's own lock has it, and hands over when it waits. What it has computed
until then moves the clock, divided by the share.
"""

import heapq
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

# The packages whose waits for futures are simulated.
MEASURED = ("producer", "consumer", "recon")


class Simulation:
    """The clock and the scheduler. `share` is the share of a core, `now` the time in epoch seconds."""

    def __init__(self, share: float, now: float) -> None:
        self.cpu = 0.0
        self._share = share
        self._now = now
        self._ready: deque[_Turn] = deque()
        self._asleep: list[tuple[float, int, _Turn]] = []
        self._turns = threading.local()
        self._turns.own = _Turn()
        self._began = time.thread_time()
        self._count = 0

    def clock(self) -> float:
        return self._now + (time.thread_time() - self._began) / self._share

    def sleep(self, seconds: float) -> None:
        self._charge()
        self._count += 1
        heapq.heappush(self._asleep, (self._now + seconds, self._count, self._turns.own))
        self.hand_over()

    @contextmanager
    def uncharged(self) -> Iterator[None]:
        """Do not count the CPU time of the block, which is that of a service."""
        self._charge()
        yield
        self._began = time.thread_time()

    def wait(
        self, fs: Iterable["futures.Future[Any]"], return_when: str = futures.ALL_COMPLETED
    ) -> "tuple[set[futures.Future[Any]], set[futures.Future[Any]]]":
        """Wait as `concurrent.futures.wait` does."""
        wanted = set(fs)
        enough = min(len(wanted), 1) if return_when == futures.FIRST_COMPLETED else len(wanted)
        while len(done := {future for future in wanted if future.done()}) < enough:
            wake = _Wake(self, self.own_turn)
            for future in wanted - done:
                future.add_done_callback(wake)
            self.hand_over()
        return done, wanted - done

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the measured packages wait for futures on this clock inside the block."""
        patched = [
            module
            for name, module in sys.modules.items()
            if name.startswith(MEASURED) and getattr(module, "wait", None) is futures.wait
        ]
        with ExitStack() as stack:
            for module in patched:
                stack.enter_context(mock.patch.object(module, "wait", self.wait))
            yield

    # --- scheduling

    def hand_over(self) -> None:
        """Let another thread run until this one is ready again."""
        self._charge()
        own, turn = self._turns.own, self._next()
        if turn is not own:
            turn.begin()
            own.wait()
        self._began = time.thread_time()

    def start(self, work: Callable[[], None]) -> None:
        """Start a thread, which runs when this one waits."""
        turn = _Turn()

        def run() -> None:
            self._turns.own = turn
            turn.wait()
            self._began = time.thread_time()
            work()
            self._charge()
            self._next().begin()

        threading.Thread(target=run, daemon=True).start()
        self._ready.append(turn)

    def make_ready(self, turn: "_Turn") -> None:
        self._ready.append(turn)

    @property
    def own_turn(self) -> "_Turn":
        turn: _Turn = self._turns.own
        return turn

    def _next(self) -> "_Turn":
        while self._asleep and (self._asleep[0][0] <= self._now or not self._ready):
            at, _, turn = heapq.heappop(self._asleep)
            self._now = max(self._now, at)
            self._ready.append(turn)
        if not self._ready:
            raise RuntimeError("all threads wait for each other")
        return self._ready.popleft()

    def _charge(self) -> None:
        now = time.thread_time()
        self.cpu += now - self._began
        self._now += (now - self._began) / self._share
        self._began = now


class _Turn:
    """A thread's turn to run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def begin(self) -> None:
        self._lock.release()

    def wait(self) -> None:
        self._lock.acquire()


class _Wake:
    """A callback of several futures that makes a thread ready once."""

    def __init__(self, simulation: Simulation, turn: _Turn) -> None:
        self._simulation = simulation
        self._turn: _Turn | None = turn

    def __call__(self, _future: object) -> None:
        turn, self._turn = self._turn, None
        if turn:
            self._simulation.make_ready(turn)


class SimulatedLock:
    """A lock whose holder may sleep on the simulated clock."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._is_held = False
        self._waiting: deque[_Turn] = deque()

    def __enter__(self) -> None:
        if self._is_held:
            self._waiting.append(self._simulation.own_turn)
            self._simulation.hand_over()
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._simulation.make_ready(self._waiting.popleft())
        else:
            self._is_held = False


class _SimulatedFuture(futures.Future[Any]):
    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - as every future
        self._simulation.wait([self])
        return super().result(timeout)


class SimulatedPool(futures.Executor):
    """An executor of so many threads."""

    def __init__(self, simulation: Simulation, threads: int) -> None:
        self._simulation = simulation
        self._free = threads
        self._work: deque[tuple[futures.Future[Any], Callable[[], Any]]] = deque()
        self._idle: list[_Turn] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:  # noqa: ANN401 - as every executor
        future = _SimulatedFuture(self._simulation)
        self._work.append((future, lambda: fn(*args, **kwargs)))
        if self._idle:
            self._simulation.make_ready(self._idle.pop())
        elif self._free:
            self._free -= 1
            self._simulation.start(self._run)
        return future

    def _run(self) -> None:
        while True:
            while self._work:
                future, work = self._work.popleft()
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(work())
                    except BaseException as error:  # noqa: BLE001 - it belongs to the future
                        future.set_exception(error)
            self._idle.append(self._simulation.own_turn)
            self._simulation.hand_over()
