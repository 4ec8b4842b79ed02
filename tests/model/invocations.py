"""Invocations of the functions on one clock: each runs to its end, or pauses before one of its calls.

An invocation that may pause runs on its own thread, and never at the same time as another one. The caller of
`resume` decides which one runs, so a history is the same each time.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from recon.stripe.connection import StripeConnection
from testkit.builders import FakeTime
from testkit.doubles.faults import ClientCall, Fault, Killed
from tests.model.accidents import PAUSE, Accidents, choose_fault

CALL_SECONDS = 0.02  # enough for the times of two calls to differ
CLIENT_TIMEOUT = 5.0


def _locked() -> threading.Semaphore:
    return threading.Semaphore(0)


@dataclass(eq=False)
class Invocation:
    """One invocation. At `deadline` its timeout kills it; `on_end` is called with it when it ends."""

    function: str
    process: StripeConnection
    body: Callable[[], object]
    accidents: Accidents
    deadline: float
    on_end: Callable[["Invocation"], None]
    calls: Counter[str] = field(default_factory=Counter)
    died: bool = False
    ended: bool = False
    result: object = None
    error: BaseException | None = None
    trace: list[str] = field(default_factory=list)
    _may_run: threading.Semaphore = field(default_factory=_locked)
    _has_stopped: threading.Semaphore = field(default_factory=_locked)
    _thread: threading.Thread | None = None

    @property
    def first_accident(self) -> str:
        """Return the first call that met an accident, and the accident; empty if none did."""
        return next((line for line in self.trace if " !! " in line), "")

    def run(self) -> None:
        """Run until the next pause or the end."""
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

    def pause(self) -> None:
        """Let others run; called on the invocation's own thread."""
        self._has_stopped.release()
        self._may_run.acquire()

    def _run_in_turn(self) -> None:
        self._may_run.acquire()
        self._run()
        self._has_stopped.release()

    def _run(self) -> None:
        try:
            self.result = self.body()
        except (Exception, Killed) as error:  # noqa: BLE001 - any exception ends a function
            self.error = error
        self.ended = True


class Invocations:
    """All invocations of a history. `plan` is the fault plan of every client of the functions."""

    def __init__(self, clock: FakeTime, new_process: Callable[[], StripeConnection]) -> None:
        self._clock = clock
        self._new_process = new_process
        self._idle: dict[str, list[StripeConnection]] = defaultdict(list)
        self.running: Invocation | None = None
        self.paused: list[Invocation] = []
        self.met: Counter[tuple[str, str]] = Counter()

    @property
    def process(self) -> StripeConnection:
        """Return the process of the running invocation."""
        assert self.running
        return self.running.process

    def begin(
        self,
        function: str,
        body: Callable[[], object],
        accidents: Accidents,
        seconds: float,
        on_end: Callable[[Invocation], None],
    ) -> None:
        """Run an invocation in an idle process of its function, or in a new one."""
        idle = self._idle[function]
        process = idle.pop() if idle else self._new_process()
        self.resume(Invocation(function, process, body, accidents, self._clock.now + seconds, on_end))

    def resume(self, invocation: Invocation) -> None:
        """Run an invocation until its next pause or its end."""
        if invocation in self.paused:
            self.paused.remove(invocation)
        self.running, self._clock.limit = invocation, invocation.deadline
        try:
            invocation.run()
        finally:
            self.running, self._clock.limit = None, float("inf")
        if not invocation.ended:
            self.paused.append(invocation)
            return
        if not invocation.died:
            self._idle[invocation.function].append(invocation.process)
        invocation.on_end(invocation)

    def end_idle_processes(self) -> None:
        """Let the next invocations begin in new processes, which read the key's parameter."""
        self._idle.clear()

    def kill_all(self) -> None:
        while self.paused:
            self.paused[0].died = True
            self.resume(self.paused[0])

    def plan(self, call: ClientCall) -> Fault | None:
        """Return what a call of the running invocation meets; a dead process makes no call."""
        running = self.running
        if running is None:
            return None
        self._check_alive(running)
        running.calls[call.method] += 1
        self._clock.now += CALL_SECONDS
        number = running.accidents.get((call.method, running.calls[call.method]))
        if number == PAUSE:
            self._note(running, call, "pause")
            running.pause()
        elif number is not None:
            fault = choose_fault(call, number)
            self._note(running, call, fault.name)
            running.died = fault.name.startswith("killed")
            if fault.name.startswith("timed out"):
                self._clock.sleep(CLIENT_TIMEOUT)
            return fault
        else:
            running.trace.append(f"{call.service}.{call.method}")
        self._check_alive(running)
        return None

    def _check_alive(self, running: Invocation) -> None:
        if running.died or self._clock.now > running.deadline:
            running.died = True
            raise Killed

    def _note(self, running: Invocation, call: ClientCall, what: str) -> None:
        self.met[f"{call.service}.{call.method}", what] += 1
        running.trace.append(f"{call.service}.{call.method} !! {what}")
