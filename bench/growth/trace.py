"""Records which requests the real functions make, in order, for the model to repeat."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle
from math import ceil
from threading import Lock
from typing import Any

from bench.night import BATCH, capture_log
from bench.shops import UniformShop, open_world
from recon.domain.stripe_objects import Json
from testkit.world import SCHEDULED, World

type Get = Callable[[str, Json, str], Json]

COMMIT = "transact_write_items"
LONG_ENOUGH = 0.005  # seconds


@dataclass(frozen=True)
class Step:
    """A part of a producer's invocation up to a transaction: its requests of each kind, then its messages.

    `begins` marks the first step of an invocation; `abreast` is the number of concurrent requests to Stripe.
    """

    begins: bool
    stripe: int
    abreast: int
    reads: int
    sends: int
    messages: int


@dataclass(frozen=True)
class Trace:
    """The `steps` of a night's producer, and the number of `gets` after the commit of a consumer's batch."""

    steps: tuple[Step, ...]
    gets: int


@dataclass(frozen=True)
class Note:
    """A call of DynamoDB or SQS, with the requests to Stripe since the previous transaction."""

    method: str
    messages: int
    stripe: int
    abreast: int


class RequestCounter:
    """Counts requests to Stripe and how many of them overlap; each lasts long enough to overlap."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._lock = Lock()
        self._under_way = 0
        self.count = self.abreast = 0

    def __call__(self, path: str, params: Json, api_key: str) -> Json:
        with self._lock:
            self.count += 1
            self._under_way += 1
            self.abreast = max(self.abreast, self._under_way)
        try:
            time.sleep(LONG_ENOUGH)
            return self._get(path, params, api_key)
        finally:
            with self._lock:
                self._under_way -= 1

    def forget(self) -> None:
        self.count = self.abreast = 0


class CallRecorder:
    """A client that records its calls in order."""

    def __init__(self, client: Any, notes: list[Note], counter: RequestCounter) -> None:  # noqa: ANN401 - any client
        self._client = client
        self._notes = notes
        self._asked = counter

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
        method = getattr(self._client, name)

        def call(**request: Any) -> Any:  # noqa: ANN401 - boto3's arguments and answer
            messages = len(request.get("Entries", ()))
            self._notes.append(Note(name, messages, self._asked.count, self._asked.abreast))
            if name == COMMIT:
                self._asked.forget()
            return method(**request)

        return call


def record_trace(sessions: int) -> Trace:
    """Run the real functions over doubles through a night of that many sessions."""
    with capture_log(), open_world(UniformShop(sessions)) as (world, _):
        notes: list[Note] = []
        stripe = world.connect()
        counter = RequestCounter(stripe.get)
        stripe.get = counter  # type: ignore[method-assign]  # in its place
        for name in ("sqs", "dynamodb"):
            setattr(world, name, CallRecorder(getattr(world, name), notes, counter))
        steps: list[Step] = []
        for event in _invocations(world):
            notes.clear()
            world.produce(event)
            steps += _steps(notes)
        notes.clear()
        world.deliver(BATCH)
        return Trace(tuple(steps), sum(note.method == "get_item" for note in notes))


def _invocations(world: World) -> Iterator[object]:
    yield SCHEDULED
    while world.hops:
        yield world.hops.pop(0)


def _steps(notes: Sequence[Note]) -> Iterator[Step]:
    """Yield the steps of one invocation; requests after its last transaction belong to none."""
    start = 0
    for end, note in enumerate(notes):
        if note.method == COMMIT:
            before = notes[start:end]
            sends = [one.messages for one in before if one.method == "send_message_batch"]
            reads = len(before) - len(sends)
            yield Step(start == 0, note.stripe, note.abreast, reads, len(sends), sum(sends))
            start = end + 1


def stretch(trace: Trace, sessions: int) -> Trace:
    """Return the trace of a larger night: repeat the invocations between the first and the last."""
    first, *full, last = _by_invocation(trace.steps)
    rest = sessions - _messages([*first, *last])
    more: list[Step] = []
    for step in chain.from_iterable(cycle(full)):
        if rest <= 0:
            break
        # The last one may have less to send.
        part = min(1.0, rest / step.messages) if step.messages else 1.0
        more.append(replace(step, sends=ceil(step.sends * part), messages=min(rest, step.messages)))
        rest -= step.messages
    return Trace((*first, *more, *last), trace.gets)


def _by_invocation(steps: Sequence[Step]) -> list[list[Step]]:
    found: list[list[Step]] = []
    for step in steps:
        if step.begins:
            found.append([])
        found[-1].append(step)
    return found


def _messages(steps: Sequence[Step]) -> int:
    return sum(step.messages for step in steps)
