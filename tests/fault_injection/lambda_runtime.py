"""Lambda as one process: it keeps consumers running, invokes producers, repeats what failed, and kills.

It is single-threaded because it forks: a process begins with everything imported, as a warm image does, and
makes its own clients.
"""

import json
import os
import random
import signal
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import recon.stripe.connection  # noqa: F401  imported once for all forks, since a consumer imports it late
from tests.fault_injection.environment import StormEnvironment
from tests.fault_injection.worker import ConsumerWorker, run_producer

# Lambda repeats a failed asynchronous invocation after one minute and after two more; here it waits less.
RETRY_SECONDS = (1.0, 2.0)
# An operator who sees that Lambda has given up invokes the same schedule again.
MANUAL_RETRY_SECONDS = 3.0
PARENT_CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class ProducerInvocation:
    """An event for the producer, `due` at a moment of the monotonic clock after `tries` failed
    invocations."""

    event: dict[str, Any]
    request_id: str
    due: float
    tries: int = 0


class LambdaRuntime:
    """The processes of both functions. `kill_seconds` is the mean time between two kills, None for none."""

    def __init__(
        self,
        environment: StormEnvironment,
        rng: random.Random,
        *,
        kill_seconds: float | None,
        duplicates: bool,
    ) -> None:
        self.happened: Counter[str] = Counter()
        self.consumers: set[int] = set()
        self._environment = environment
        self._rng = rng
        self._kill_seconds = kill_seconds
        self._next_kill = time.monotonic() + (kill_seconds or 0)
        self._duplicates = duplicates
        self._timeout = environment.scale.timeout
        self._producers: dict[int, ProducerInvocation] = {}
        self._due: list[ProducerInvocation] = []

    @property
    def is_producing(self) -> bool:
        return bool(self._due or self._producers or any(self._environment.invocations.glob("*.json")))

    def invoke(self, event: dict[str, Any]) -> None:
        self._due.append(ProducerInvocation(event, uuid.uuid4().hex, time.monotonic()))

    def calm_down(self) -> None:
        """Kill and duplicate nothing from now on, and replace the consumers."""
        self._kill_seconds = None
        self._duplicates = False
        self._timeout = self._environment.scale.calm_timeout
        self._end(self.consumers)

    def tick(self) -> None:
        """Do what is due without waiting; the caller calls this again and again."""
        self._reap()
        self._take_invocations()
        now = time.monotonic()
        for invocation in [due for due in self._due if due.due <= now]:
            self._due.remove(invocation)
            self._producers[self._fork_producer(invocation)] = invocation
        while len(self.consumers) < self._environment.scale.consumers:
            self.consumers.add(self._fork_consumer())
        if self._kill_seconds is not None and now >= self._next_kill:
            self._next_kill = now + self._rng.uniform(0.5, 1.5) * self._kill_seconds
            os.kill(self._rng.choice(sorted(self.consumers | self._producers.keys())), signal.SIGKILL)

    def _take_invocations(self) -> None:
        for path in self._environment.invocations.glob("*.json"):
            self.happened["hops"] += 1
            self.invoke(json.loads(path.read_text()))
            path.unlink()

    def _reap(self) -> None:
        for pid in [*self.consumers, *self._producers]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            self.consumers.discard(pid)
            failure = _describe_failure(status)
            if failure:
                self.happened[failure] += 1
            invocation = self._producers.pop(pid, None)
            if invocation and failure:
                self._retry(invocation)

    def _retry(self, invocation: ProducerInvocation) -> None:
        self.happened["producers failed"] += 1
        wait = (*RETRY_SECONDS, MANUAL_RETRY_SECONDS)[invocation.tries]
        if invocation.tries == len(RETRY_SECONDS):
            self.happened["producers invoked manually"] += 1
            again = replace(invocation, tries=0, request_id=uuid.uuid4().hex)
        else:
            again = replace(invocation, tries=invocation.tries + 1)
        self._due.append(replace(again, due=time.monotonic() + wait))

    def _fork_consumer(self) -> int:
        seed = self._rng.random()

        def work() -> None:
            ConsumerWorker(
                self._environment,
                timeout=self._timeout,
                duplicates=self._duplicates,
                rng=random.Random(seed),
            ).run()

        return self._fork(work, "consumer")

    def _fork_producer(self, invocation: ProducerInvocation) -> int:
        event, request_id = invocation.event, invocation.request_id
        return self._fork(lambda: run_producer(self._environment, event, request_id), "producer")

    def _fork(self, work: Callable[[], None], name: str) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            log = os.open(self._environment.home / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.clear()
            os.environ.update(self._environment.env())
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - this is where the process ends, whatever was raised
            os.write(2, traceback.format_exc().encode())
        finally:
            # Nothing of the parent may be cleaned up here.
            os._exit(code)

    def stop(self) -> None:
        """Kill all processes; may be called at any time."""
        self._end(self.consumers)
        self._end(self._producers)

    def _end(self, pids: set[int] | dict[int, ProducerInvocation]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is not reused
        for pid in pids:
            os.waitpid(pid, 0)
        pids.clear()


def _end_with_parent(pid: int) -> None:
    """End this process when its parent has ended: its open pipes keep the engines alive."""
    while os.getppid() == pid:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def _describe_failure(status: int) -> str:
    """Return what ended a process; empty if it succeeded."""
    if os.WIFEXITED(status):
        return "" if os.WEXITSTATUS(status) == 0 else "raised"
    return {signal.SIGKILL: "killed", signal.SIGALRM: "timed out"}.get(os.WTERMSIG(status), "crashed")
