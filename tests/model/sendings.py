"""Who sent what, and what of it the runs count: any producer sends a session, and the one that moves the
cursor counts it.

Two producers of a run that overlap, or one that dies and the next, need not send the same: a session is
completed or paid between their looks at Stripe. What only the one sent that did not get to count has an
outcome all the same, and is not in `enqueued`. This class is known here session by session.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.model.invocations import Invocation, Invocations


class Sendings:
    """`counted`: by run, the sessions that its `enqueued` stands for. `bodies` gives those of all messages
    that are there, dead letters too."""

    def __init__(self, invocations: Invocations, bodies: Callable[[], list[str]]) -> None:
        self.counted: dict[str, set[str]] = defaultdict(set)
        self._invocations = invocations
        self._bodies = bodies
        self._sent: dict[tuple[Invocation, str], set[str]] = defaultdict(set)
        self._overtaken: set[tuple[Invocation, str]] = set()

    def sends(self, body: str) -> None:
        """A message was taken by the queue."""
        if running := self._invocations.running:
            run_id, session_id = _ids(body)
            self._sent[running, run_id].add(session_id)

    def counts(self, run_id: str, number: int, settled: Sequence[str]) -> Iterator[str]:
        """A run's cursor moves, and `enqueued` by that number. `settled`: what waited for its payment and has
        an outcome of this run already; a producer counts it for one that died."""
        running = self._invocations.running
        sent = self._sent.pop((running, run_id), set()) if running else set()
        before = [session_id for session_id in settled if session_id not in sent]
        now = sent | set(before[: max(0, number - len(sent))])
        if len(now) != number or now & self.counted[run_id]:
            yield f"run {run_id} counts {number} more and not {sorted(now - self.counted[run_id])}"
        self.counted[run_id] |= now
        self._overtaken |= {(other, run_id) for other in self._invocations.paused}

    def uncounted(self, run_id: str) -> set[str]:
        """What was sent by producers that died, failed, or found that another had moved the cursor."""
        sent = [
            sessions
            for (invocation, run), sessions in self._sent.items()
            if run == run_id and (invocation.error or (invocation, run) in self._overtaken)
        ]
        return set().union(*sent) - self.counted[run_id]

    def on_their_way(self, run_id: str) -> set[str]:
        return {session_id for run, session_id in map(_ids, self._bodies()) if run == run_id}


def _ids(body: str) -> tuple[str, str]:
    message = json.loads(body)
    return message["runId"], message["sessionId"]
