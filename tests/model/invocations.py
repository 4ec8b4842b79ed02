"""Invocations of the functions on one clock: each runs up to its end, or up to a pause before one of its
calls, in which others run.

One that may pause runs on a thread of its own, and never at the same time as another: who runs when is
decided by whoever calls `go_on`, not by the machine, and so is the same each time.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from recon.stripe.source import StripeConnection
from testkit.builders import FakeTime
from testkit.doubles.faults import ClientCall, Fault, Killed
from tests.model.accidents import PAUSE, Accidents, chosen

# What one call takes, in seconds: enough for moments to differ.
LATENCY = 0.02
TIMEOUT = 5.0


@dataclass(eq=False)
class Invocation:
    """`ends` is when its function's timeout kills it. `result` or `error` is what it came to, and `then` is
    told of it."""

    function: str
    process: StripeConnection
    body: Callable[[], object]
    accidents: Accidents
    ends: float
    then: Callable[["Invocation"], None]
    calls: Counter[str] = field(default_factory=Counter)
    died: bool = False
    ended: bool = False
    result: object = None
    error: BaseException | None = None
    trace: list[str] = field(default_factory=list)
    _may_run: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _has_stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _thread: threading.Thread | None = None

    @property
    def first_met(self) -> str:
        """The first call that met an accident, and which; empty when none did."""
        return next((line for line in self.trace if " !! " in line), "")

    def run(self) -> None:
        """Up to the next pause or to the end."""
        if self._thread is None and PAUSE not in self.accidents.values():
            self._run()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_in_turn, daemon=True)
            self._thread.start()
        self._may_run.release()
        self._has_stopped.acquire()
        if self.ended:
            self._thread.join()

    def stop(self) -> None:
        """Called on its own thread: lets others run."""
        self._has_stopped.release()
        self._may_run.acquire()

    def _run_in_turn(self) -> None:
        self._may_run.acquire()
        self._run()
        self._has_stopped.release()

    def _run(self) -> None:
        try:
            self.result = self.body()
        except (Exception, Killed) as error:  # noqa: BLE001 - whatever ends a function
            self.error = error
        self.ended = True


class Invocations:
    """All of a history. Is the plan of every client that the functions talk through."""

    def __init__(self, clock: FakeTime, new_process: Callable[[], StripeConnection]) -> None:
        self._clock = clock
        self._new_process = new_process
        self._idle: dict[str, list[StripeConnection]] = defaultdict(list)
        self._running: Invocation | None = None
        self.paused: list[Invocation] = []
        self.met: Counter[tuple[str, str]] = Counter()

    @property
    def running(self) -> Invocation | None:
        return self._running

    @property
    def process(self) -> StripeConnection:
        """That of the invocation that runs."""
        assert self._running
        return self._running.process

    def begin(
        self,
        function: str,
        body: Callable[[], object],
        accidents: Accidents,
        seconds: float,
        then: Callable[[Invocation], None],
    ) -> Invocation:
        """In an idle process of that function, or a new one."""
        idle = self._idle[function]
        process = idle.pop() if idle else self._new_process()
        return self.go_on(Invocation(function, process, body, accidents, self._clock.now + seconds, then))

    def go_on(self, invocation: Invocation) -> Invocation:
        if invocation in self.paused:
            self.paused.remove(invocation)
        self._running, self._clock.limit = invocation, invocation.ends
        try:
            invocation.run()
        finally:
            self._running, self._clock.limit = None, float("inf")
        if not invocation.ended:
            self.paused.append(invocation)
            return invocation
        if not invocation.died:
            self._idle[invocation.function].append(invocation.process)
        invocation.then(invocation)
        return invocation

    def kill_all(self) -> None:
        while self.paused:
            self.paused[0].died = True
            self.go_on(self.paused[0])

    def __call__(self, call: ClientCall) -> Fault | None:
        """What the call meets. A process that is dead makes no call."""
        running = self._running
        if running is None:
            return None
        self._check_life(running)
        running.calls[call.method] += 1
        self._clock.now += LATENCY
        kind = running.accidents.get((call.method, running.calls[call.method]))
        if kind == PAUSE:
            self._note(running, call, "pause")
            running.stop()
        elif kind is not None:
            fault = chosen(call, kind)
            self._note(running, call, fault.name)
            running.died = fault.name.startswith("killed")
            if fault.name.startswith("timed out"):
                self._clock.sleep(TIMEOUT)
            return fault
        else:
            running.trace.append(f"{call.service}.{call.method}")
        self._check_life(running)
        return None

    def _check_life(self, running: Invocation) -> None:
        if running.died or self._clock.now > running.ends:
            running.died = True
            raise Killed

    def _note(self, running: Invocation, call: ClientCall, what: str) -> None:
        self.met[f"{call.service}.{call.method}", what] += 1
        running.trace.append(f"{call.service}.{call.method} !! {what}")
