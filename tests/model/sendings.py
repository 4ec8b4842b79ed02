"""Which producer sent what, and what of it the runs count.

Any producer of a run sends a session, and the one that moves the cursor counts it. Two producers that
overlap, or one that dies and its successor, need not send the same: a session may be completed or paid
between their requests to Stripe. A session that was sent only by the producer that did not count has an
outcome and is not in `enqueued`. This class knows these sessions one by one.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.model.invocations import Invocation, Invocations


class Sendings:
    """`counted` has the sessions that the `enqueued` of a run stands for, by run.

    `read_bodies` returns the bodies of all messages that exist, dead letters included.
    """

    def __init__(self, invocations: Invocations, read_bodies: Callable[[], list[str]]) -> None:
        self.counted: dict[str, set[str]] = defaultdict(set)
        self._invocations = invocations
        self._read_bodies = read_bodies
        self._sent: dict[tuple[Invocation, str], set[str]] = defaultdict(set)
        self._overtaken: set[tuple[Invocation, str]] = set()

    @property
    def running(self) -> Invocation | None:
        """The invocation that runs now, if any does."""
        return self._invocations.running

    @property
    def paused(self) -> list[Invocation]:
        return self._invocations.paused

    def record(self, body: str) -> None:
        """Record a message that the queue accepted."""
        if running := self._invocations.running:
            run_id, session_id = _parse_ids(body)
            self._sent[running, run_id].add(session_id)

    def count(self, run_id: str, number: int, settled: Sequence[str]) -> Iterator[str]:
        """Record that a run's cursor moves and its `enqueued` grows by `number`; yield what is wrong with it.

        `settled` are the sessions that waited for their payment and already have an outcome of this run; a
        producer counts them for one that died.
        """
        running = self._invocations.running
        sent = self._sent.pop((running, run_id), set()) if running else set()
        before = [session_id for session_id in settled if session_id not in sent]
        now = sent | set(before[: max(0, number - len(sent))])
        if len(now) != number or now & self.counted[run_id]:
            yield f"run {run_id} counts {number} more and not {sorted(now - self.counted[run_id])}"
        self.counted[run_id] |= now
        self._overtaken |= {(other, run_id) for other in self._invocations.paused}

    def list_uncounted(self, run_id: str) -> set[str]:
        """Return the sessions sent by producers that died, failed, or lost the race for the cursor."""
        sent = [
            sessions
            for (invocation, run), sessions in self._sent.items()
            if run == run_id and (invocation.error or (invocation, run) in self._overtaken)
        ]
        return set().union(*sent) - self.counted[run_id]

    def list_queued(self, run_id: str) -> set[str]:
        return {session_id for run, session_id in map(_parse_ids, self._read_bodies()) if run == run_id}


def _parse_ids(body: str) -> tuple[str, str]:
    message = json.loads(body)
    return message["runId"], message["sessionId"]
