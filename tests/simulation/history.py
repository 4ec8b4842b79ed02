"""One shop's history, played event by event through the real handlers on a clock that jumps.

Everything that happens stands in one agenda: the shop's customers, Stripe's deliveries to the webhook, the
nights, the operator. Between two entries the consumer gets whatever is visible on the queue.
"""

import heapq
import io
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial, partialmethod
from typing import Any
from unittest import mock

from producer import session_lister as slices
from recon.stripe.source import StripeSource
from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Killed, at_call, killed_after, killed_before, never
from testkit.doubles.faults import Plan as Faults
from testkit.fake_stripe import Endpoint, FakeStripe, api
from testkit.fake_stripe.specs import SessionSpec
from testkit.fake_stripe.store import ASYNC_PAID, COMPLETED, EventSpec, make_events
from testkit.world import KEY, World
from tests.simulation.plans import BLIND, NIGHTS, NIGHTS_TO_SETTLE, Hook, Plan, Sale, night
from tests.simulation.webhook import Webhook

# Lambda repeats an asynchronous invocation that failed twice, after one minute and after two more.
RETRIES_OF_LAMBDA = (60, 120)
SMALL_PIECES = {"SYNC_MAX_SESSIONS": "2"}
# EventBridge Scheduler starts within the minute.
LATEST_START = 50
_TOO_MANY_DELIVERIES = 5000
type Action = Callable[[], None]


class Inline(Executor):
    """A pool of no threads, so that the order of calls, and so a history, is the seed's alone."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it, a death as well
            future.set_exception(error)
        return future


class History:
    """Plays a plan. `lines` is what happened: moment, session (or None for all), words."""

    def __init__(self, plan: Plan, stripe: FakeStripe, **env: str) -> None:
        self.plan = plan
        self.lines: list[tuple[float, str | None, str]] = []
        self.world = _world(stripe, SMALL_PIECES if plan.in_small_pieces else {}, env)
        self.webhook = Webhook(self.world)
        self._rng = plan.rng
        self._stripe = stripe
        self._agenda: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()
        self._calls_of_a_producer = 1
        self._lag = 0.0

    @property
    def now(self) -> float:
        return self.world.clock.now

    def play(self) -> None:
        self._write_agenda()
        # A webhook is told of each event on its own; the fake's flag knows sessions only.
        acknowledged = self.webhook.acknowledged
        told = mock.patch.object(api, "is_delivered", lambda _store, event: event.id in acknowledged)
        pieces = small_pieces() if self.plan.in_small_pieces else ExitStack()
        # What matters of the output of forty nights is in `lines`.
        with told, pieces, redirect_stdout(io.StringIO()):
            while self._step():
                pass

    def note(self, words: str, session_id: str | None = None) -> None:
        self.lines.append((self.now, session_id, words))

    # The clock

    def _at(self, moment: float, action: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._agenda, (moment, next(self._numbers), partial(action, *args)))

    def _step(self) -> bool:
        """The next thing to happen: a delivery to the consumer or an entry of the agenda."""
        visible = self.world.memory_sqs.next_visible_at(self.world.queue)
        delivery = None if visible is None else max(self.now, visible) + self._lag
        entry = self._agenda[0][0] if self._agenda else None
        if delivery is not None and (entry is None or delivery < entry):
            self.world.clock.now = delivery
            self._deliver()
        elif entry is not None:
            _, _, action = heapq.heappop(self._agenda)
            self.world.clock.now = max(self.now, entry)
            action()
        return delivery is not None or entry is not None

    def _write_agenda(self) -> None:
        for sale in self.plan.sales:
            self._at(sale.created, self._opens, sale)
        calendar = self.plan.calendar
        for number in range(NIGHTS + NIGHTS_TO_SETTLE):
            if number not in calendar.missed:
                self._at(night(number) + self._rng.randint(0, LATEST_START), self._night, number)
        for moment in calendar.manual:
            self._at(moment, self._runs, {"lookbackHours": 1})
        when, first, last = calendar.backfill
        self._at(when, self._runs, {"from": iso(first), "to": iso(last)})
        self._at_the_rejected_night()

    def _at_the_rejected_night(self) -> None:
        """The operator comes in the morning, when every message has died its ten deaths."""
        bad = night(self.plan.calendar.rejected)
        early = self.plan.calendar.rejected_early
        self._at(bad + (-1 if early else LATEST_START + 1), self._rejects_the_key)
        self._at(bad + 7 * HOUR, self._accepts_the_key)
        self._at(bad + 7 * HOUR + MINUTE, self._redrives)

    # The shop

    def _opens(self, sale: Sale) -> None:
        self._stripe.store.add(sale.opened())
        self.note("is opened", sale.id)
        if sale.completed is None:
            self._at(sale.created + DAY, self._expires, sale)
        else:
            self._at(sale.completed, self._completes, sale)

    def _expires(self, sale: Sale) -> None:
        self._stripe.store.add(replace(sale.opened(), status="expired"))
        self.note("expires", sale.id)

    def _completes(self, sale: Sale) -> None:
        spec = sale.complete()
        self._changes(spec, "completes", COMPLETED, sale.on_completed)
        if sale.paid_later:
            self._at(float(sale.paid or 0), self._settles, sale)

    def _settles(self, sale: Sale) -> None:
        self._changes(sale.settled(), "settles", ASYNC_PAID, sale.on_paid_later)

    def _changes(self, spec: SessionSpec, how: str, event_type: str, hook: Hook) -> None:
        self._stripe.store.add(spec)
        made = [event for event in make_events(spec) if event.type == event_type]
        without = "" if made else ", and Stripe makes no event of it"
        self.note(f"{how}, {spec.payment_status}{without}", spec.id)
        for event in made:
            self._at(self.now + hook.after, self._tells_the_webhook, event, spec, hook)

    def _tells_the_webhook(self, event: EventSpec, spec: SessionSpec, hook: Hook) -> None:
        self.note(f"{event.id} {self.webhook.receives(event, spec, hook.fate)}", spec.id)

    # The nights

    def _night(self, number: int) -> None:
        calendar = self.plan.calendar
        event = {"trigger": "scheduled", "scheduledTime": iso(night(number))}
        if number == calendar.killed:
            at = self._numbered_calls() + self._rng.randint(1, self._calls_of_a_producer)
            death = self._rng.choice((killed_before, killed_after))
            self._plan(at_call(at, death()))
        if number == calendar.blind:
            self._stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
            self._at(self.now + BLIND, self._stripe.faults.clear)
        self._runs(event)

    def _runs(self, event: dict[str, Any], retries: tuple[int, ...] = RETRIES_OF_LAMBDA) -> None:
        before = self._numbered_calls()
        try:
            answer = self.world.produce(event)
        except (Exception, Killed) as error:  # noqa: BLE001 - Lambda asks for no more than that it failed
            self.note(f"producer dies: {error!r}")
            if retries:
                self._at(self.now + retries[0], self._runs, event, retries[1:])
        else:
            assert answer["statusCode"] == 200, answer
            body = answer["body"]
            shown = ("runId", "status", "lookbackWindow", "enqueued", "warnings")
            self.note("producer: " + json.dumps({name: body[name] for name in shown}))
            self._calls_of_a_producer = self._numbered_calls() - before
        self._plan(never)
        while self.world.hops:
            self._at(self.now + 1, self._runs, self.world.hops.pop(0))
        self._lag = self._rng.uniform(0, 20)

    def _plan(self, faults: Faults) -> None:
        for client in (self.world.dynamodb, self.world.sqs, self.world.lambda_client):
            client.plan = faults

    def _numbered_calls(self) -> int:
        return len(self.world.history.events)

    # The consumer

    def _deliver(self) -> None:
        self._sometimes_duplicates()
        delivery = self.world.deliver(self._rng.randint(1, 12))
        if delivery is not None:
            for record in delivery.event["Records"]:
                self._note_delivery(record, returned=record["messageId"] in delivery.returned)
        self._lag = self._rng.uniform(0, 5)
        assert len(self.lines) < _TOO_MANY_DELIVERIES, "the queue never empties"

    def _note_delivery(self, record: dict[str, Any], *, returned: bool) -> None:
        message = json.loads(record["body"])
        count = record["attributes"]["ApproximateReceiveCount"]
        fate = "comes back" if returned else "is through"
        words = f"message of {message['runId']} {fate} at receive {count}, events {message['eventIds']}"
        self.note(words, message["sessionId"])

    def _sometimes_duplicates(self) -> None:
        messages = self.world.memory_sqs.messages(self.world.queue)
        if messages and self._rng.random() < 0.1:
            chosen = self._rng.choice(messages)
            self.world.memory_sqs.duplicate(self.world.queue, chosen.message_id)

    # The operator

    def _rejects_the_key(self) -> None:
        self.note("the key is rejected")
        self._stripe.accept_keys({"sk_test_other"})

    def _accepts_the_key(self) -> None:
        self.note("the key is right again")
        self._stripe.accept_keys({KEY})

    def _redrives(self) -> None:
        self.note(f"{len(self.world.dead())} messages are redriven")
        self.world.redrive()


@contextmanager
def small_pieces() -> Iterator[None]:
    """A listing of a few sessions that goes the ways of one of many: pages, slices, cuts and hops."""
    listing = partialmethod(StripeSource.list_sessions, limit=2)
    sizes = {"FIRST": 2, "AIM": 2, "MOST_AIMS": 2}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(StripeSource, "list_sessions", listing))
        for name, size in sizes.items():
            stack.enter_context(mock.patch.object(slices, name, size))
        yield


def _world(stripe: FakeStripe, *envs: dict[str, str]) -> World:
    env = {name: value for one in envs for name, value in one.items()}
    # Botocore's check of parameters is most of a call's time, and other tests make the same calls with it.
    memory = MemoryDynamoDB(validate=False)
    memory.add_table(TABLE)
    world = World(stripe, memory, **env)
    memory._clock = world.clock
    world.memory_sqs._validate = False
    world.telemetry._logger.setLevel("CRITICAL")
    world.pool.shutdown()
    world.pool = Inline()  # type: ignore[assignment]
    return world


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def history_of(plan: Plan, stripe: FakeStripe, **env: str) -> Iterator[History]:
    """A history played to its end. What it did to the fake Stripe is undone afterwards."""
    history = History(plan, stripe, **env)
    try:
        history.play()
        yield history
    finally:
        history.world.close()
        stripe.store.clear()
        stripe.faults.clear()
        stripe.accept_keys({KEY})
