"""Lambda's event source mapping and the producer's invocations, for functions in other processes.

This is AWS's own work, which costs the functions only time: receives of ten messages until a batch is full or
its window is over, partial batch failures, and deletes. A poller receives its next batch once the function
has returned; Lambda may be faster than that, and is never slower.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.harness.framing import Frame, FrameConnection
from bench.night import BATCH
from testkit.doubles.poller import LambdaPoller

if TYPE_CHECKING:
    import queue

# As in infra/template.yaml; a test compares them.
WINDOW_SECONDS, LEAST_CONCURRENCY = 1.0, 2


@dataclass(frozen=True)
class InvokedBatch:
    """A batch that a function was invoked with at `at` (epoch seconds), after `gathered` seconds."""

    at: float
    gathered: float
    messages: int


@dataclass
class BatchWindow:
    """SQS for one poller: each call takes `latency` seconds, and an empty response ends the batch.

    `queue_seconds` collects the seconds that each message waited in the queue, and `batches` all batches.
    """

    sqs: Any
    latency: float
    stopped: threading.Event = field(default_factory=threading.Event)
    queue_seconds: list[float] = field(default_factory=list)
    batches: list[InvokedBatch] = field(default_factory=list)
    clock: Callable[[], float] = time.time
    _window_ends: float | None = None

    def reset(self) -> None:
        """Begin a new window with the next message."""
        self._window_ends = None

    def receive_message(self, **request: Any) -> Any:  # noqa: ANN401 - boto3's arguments and answer
        while not self.stopped.is_set() and (self._window_ends is None or self.clock() < self._window_ends):
            self.stopped.wait(self.latency)
            answer = self.sqs.receive_message(**request)
            if messages := answer.get("Messages"):
                now = self.clock()
                self._window_ends = self._window_ends or now + WINDOW_SECONDS
                self.queue_seconds += [
                    now - int(one["Attributes"]["SentTimestamp"]) / 1000 for one in messages
                ]
                return answer
        return {}

    def note_batch(self, messages: int) -> None:
        """Add the batch that was gathered in this window."""
        now = self.clock()
        gathered = 0.0 if self._window_ends is None else now - (self._window_ends - WINDOW_SECONDS)
        self.batches.append(InvokedBatch(now, gathered, messages))

    def delete_message_batch(self, **request: Any) -> Any:  # noqa: ANN401 - as above
        # It takes no time here: the poller receives its next batch at the same time.
        return self.sqs.delete_message_batch(**request)


def invoke(connection: FrameConnection, event: dict[str, Any]) -> Any:  # noqa: ANN401 - what a handler answers
    """Invoke the function and return its response. Raise RuntimeError if it raised."""
    answer = connection.request(Frame("event", json.dumps(event).encode()))
    if answer.name != "answer":
        raise RuntimeError(f"the function raised: {answer.body.decode()}")
    return json.loads(answer.body)


def poll_queue(connection: FrameConnection, window: BatchWindow, queue_url: str, failed: list[str]) -> None:
    """Run one of the mapping's pollers until stopped.

    A failed batch is added to `failed`, since a run with failures measures something else.
    """
    poller = LambdaPoller(window, queue_url)

    def invoke_noted(event: dict[str, Any], _: object) -> Any:  # noqa: ANN401 - as above
        window.note_batch(len(event["Records"]))
        return invoke(connection, event)

    while not window.stopped.is_set():
        window.reset()
        delivery = poller.deliver(invoke_noted, BATCH)
        if delivery and (delivery.error or delivery.returned):
            failed.append(f"a batch came back: {delivery.error!r}")


def run_producer(
    connection: FrameConnection, events: "queue.Queue[dict[str, Any] | None]", failed: list[str]
) -> None:
    """Invoke the producer with one event after the other, until None."""
    while (event := events.get()) is not None:
        try:
            answer = invoke(connection, event)
        except (ConnectionError, RuntimeError) as error:
            failed.append(f"the producer failed: {error!r}")
        else:
            if answer["statusCode"] != 200:  # noqa: PLR2004 - the handler's OK
                failed.append(f"the producer refused: {answer}")
