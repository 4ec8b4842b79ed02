"""Lambda, as one process: keeps consumers running, invokes producers, repeats what failed, and kills.

Single-threaded, because it forks: a process begins with everything imported, as a warm image does, and
makes its clients itself.
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
from functools import partial
from typing import Any

import recon.stripe.connection  # noqa: F401  imported once for all, since a consumer imports it late
from tests.fault_injection.invocations import Poller, produces
from tests.fault_injection.place import Place

# Lambda repeats a failed asynchronous invocation twice, after one minute and after two more; here sooner.
RETRIES = (1.0, 2.0)
# An operator who sees that Lambda has given up invokes the same schedule again.
RENEWAL = 3.0
ORPHAN_SECONDS = 1.0


@dataclass(frozen=True)
class Invocation:
    """An event for the producer: due at a moment of the monotonic clock, tried so often before."""

    event: dict[str, Any]
    request_id: str
    due: float
    tries: int = 0


class Crew:
    """`kill_seconds`: how long a process may go unkilled, about; None kills nobody."""

    def __init__(
        self, place: Place, rng: random.Random, *, kill_seconds: float | None, duplicates: bool
    ) -> None:
        self.happened: Counter[str] = Counter()
        self.consumers: set[int] = set()
        self._place = place
        self._rng = rng
        self._kill_seconds = kill_seconds
        self._next_kill = time.monotonic() + (kill_seconds or 0)
        self._duplicates = duplicates
        self._timeout = place.scale.timeout
        self._producers: dict[int, Invocation] = {}
        self._due: list[Invocation] = []

    @property
    def is_producing(self) -> bool:
        return bool(self._due or self._producers or any(self._place.invocations.glob("*.json")))

    def invokes(self, event: dict[str, Any]) -> None:
        self._due.append(Invocation(event, uuid.uuid4().hex, time.monotonic()))

    def is_calm(self) -> None:
        """From now on nobody is killed and nothing comes twice."""
        self._kill_seconds = None
        self._duplicates = False
        self._timeout = self._place.scale.calm_timeout
        self.ends_consumers()

    def tick(self) -> None:
        """Called again and again; never waits."""
        self._reaps()
        self._takes_invocations()
        now = time.monotonic()
        for invocation in [due for due in self._due if due.due <= now]:
            self._due.remove(invocation)
            self._producers[self._forked(self._produces(invocation), "producer")] = invocation
        while len(self.consumers) < self._place.scale.consumers:
            self.consumers.add(self._forked(self._consumes(), "consumer"))
        self._kills(now)

    def _kills(self, now: float) -> None:
        if self._kill_seconds is None or now < self._next_kill:
            return
        self._next_kill = now + self._rng.uniform(0.5, 1.5) * self._kill_seconds
        os.kill(self._rng.choice(sorted(self.consumers | self._producers.keys())), signal.SIGKILL)

    def _takes_invocations(self) -> None:
        for path in self._place.invocations.glob("*.json"):
            self.happened["hops"] += 1
            self.invokes(json.loads(path.read_text()))
            path.unlink()

    def _reaps(self) -> None:
        for pid in [*self.consumers, *self._producers]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            self.consumers.discard(pid)
            how = _how(status)
            if how:
                self.happened[how] += 1
            if invocation := self._producers.pop(pid, None):
                self._judges(invocation, failed=bool(how))

    def _judges(self, invocation: Invocation, *, failed: bool) -> None:
        if not failed:
            return
        self.happened["producers failed"] += 1
        wait = (*RETRIES, RENEWAL)[invocation.tries]
        if invocation.tries == len(RETRIES):
            self.happened["producers invoked by hand"] += 1
            again = replace(invocation, tries=0, request_id=uuid.uuid4().hex)
        else:
            again = replace(invocation, tries=invocation.tries + 1)
        self._due.append(replace(again, due=time.monotonic() + wait))

    def _consumes(self) -> Callable[[], None]:
        poller = partial(Poller, self._place, timeout=self._timeout, duplicates=self._duplicates)
        seed = self._rng.random()
        return lambda: poller(rng=random.Random(seed)).polls()

    def _produces(self, invocation: Invocation) -> Callable[[], None]:
        return lambda: produces(self._place, invocation.event, invocation.request_id)

    def _forked(self, work: Callable[[], None], name: str) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            threading.Thread(target=_ends_with_parent, args=(os.getppid(),), daemon=True).start()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            log = os.open(self._place.home / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.clear()
            os.environ.update(self._place.env())
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - this is where the process ends, whatever it was
            os.write(2, traceback.format_exc().encode())
        finally:
            # Nothing of the parent is to be cleaned up here.
            os._exit(code)

    def ends_consumers(self) -> None:
        """Kills them at rest or not; the next tick begins others."""
        self._end(self.consumers)
        self.consumers.clear()

    def stop(self) -> None:
        """May be called at any time."""
        self._end({*self.consumers, *self._producers})
        self.consumers.clear()
        self._producers.clear()

    def _end(self, pids: set[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        for pid in pids:
            os.waitpid(pid, 0)


def _ends_with_parent(pid: int) -> None:
    """The parent's pipes are open here as well, so the engines live as long as this process."""
    while os.getppid() == pid:
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def _how(status: int) -> str:
    """What ended a process; nothing to say of one that is through."""
    if os.WIFEXITED(status):
        return "" if os.WEXITSTATUS(status) == 0 else "raised"
    return {signal.SIGKILL: "killed", signal.SIGALRM: "timed out"}.get(os.WTERMSIG(status), "crashed")
