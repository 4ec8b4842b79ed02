"""Lambda's event source mapping and its producer's invocations, for functions at the other end of a line.

What is AWS's own work happens here and costs the functions nothing but time: receives of ten at a time until
a batch is full or its window over, the answer's partial failures, and deletes. A poller receives its next
batch when the function has answered for the last one: Lambda may be ahead of that, and never behind.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.stage.wire import Frame, Line
from testkit.doubles.poller import LambdaPoller

if TYPE_CHECKING:
    import queue

# As infra/template.yaml says; a test holds them to it.
BATCH_SIZE, WINDOW_SECONDS = 25, 1.0


@dataclass
class Window:
    """SQS as one poller sees it: each call takes its time, and an empty answer ends the batch.

    `waited` are the seconds that each message lay in the queue.
    """

    sqs: Any
    latency: float
    stopped: threading.Event = field(default_factory=threading.Event)
    waited: list[float] = field(default_factory=list)
    clock: Callable[[], float] = time.time
    _until: float | None = None

    def opens(self) -> None:
        """The window of the next batch begins with its first message."""
        self._until = None

    def receive_message(self, **request: Any) -> Any:  # noqa: ANN401 - boto3's arguments and answer
        while not self.stopped.is_set() and (self._until is None or self.clock() < self._until):
            self.stopped.wait(self.latency)
            answer = self.sqs.receive_message(**request)
            if messages := answer.get("Messages"):
                now = self.clock()
                self._until = self._until or now + WINDOW_SECONDS
                self.waited += [now - int(one["Attributes"]["SentTimestamp"]) / 1000 for one in messages]
                return answer
        return {}

    def delete_message_batch(self, **request: Any) -> Any:  # noqa: ANN401 - as above
        # Nobody waits for it: the poller receives its next batch meanwhile.
        return self.sqs.delete_message_batch(**request)


def invoked(line: Line, event: dict[str, Any]) -> Any:  # noqa: ANN401 - what a handler answers
    """Raises where the function raised, or ended."""
    answer = line.asks(Frame("event", json.dumps(event).encode()))
    if answer.name != "answer":
        raise RuntimeError(f"the function raised: {answer.body.decode()}")
    return json.loads(answer.body)


def polls(line: Line, window: Window, queue_url: str, failed: list[str]) -> None:
    """One of the mapping's concurrent invocations, again and again. What a function raises is in `failed`,
    since a run that had failures measures something else."""
    poller = LambdaPoller(window, queue_url)
    while not window.stopped.is_set():
        window.opens()
        delivery = poller.deliver(lambda event, _: invoked(line, event), BATCH_SIZE)
        if delivery and (delivery.error or delivery.returned):
            failed.append(f"a batch came back: {delivery.error!r}")


def invokes(line: Line, events: "queue.Queue[dict[str, Any] | None]", failed: list[str]) -> None:
    """The producer's invocations, one after the other; None ends them."""
    while (event := events.get()) is not None:
        try:
            answer = invoked(line, event)
        except (ConnectionError, RuntimeError) as error:
            failed.append(f"the producer failed: {error!r}")
        else:
            if answer["statusCode"] != 200:  # noqa: PLR2004 - the handler's OK
                failed.append(f"the producer refused: {answer}")
