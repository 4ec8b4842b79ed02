"""The two functions invoked: with what waits for them, with accidents, one inside another."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace

from recon.errors import Unexpected
from recon.timestamps import DAY, HOUR
from testkit.doubles.faults import ClientCall, Fault, Faulty, Killed, connection_closed
from testkit.doubles.poller import Delivery, LambdaPoller
from testkit.world import FUNCTION_TIMEOUT, LambdaContext
from tests.model import accidents
from tests.model.accidents import Accidents
from tests.model.books import text
from tests.model.invocations import Invocation
from tests.model.model_world import PRODUCER_SECONDS
from tests.model.stage import Event, Stage, Waiting
from tests.simulation.history import iso
from tests.simulation.plans import night

# Lambda repeats an asynchronous invocation that failed twice, and keeps its event for six hours.
LAMBDA_RETRIES = 2
LAMBDA_SECONDS = 6 * HOUR
MOST_RECORDS = 12


class FunctionActions(Stage):
    # The producer

    def night_falls(self, rng: random.Random) -> bool:
        """The next schedule fires, now and then twice, some seconds late."""
        while self.nights and not self._has_begun:
            # What no scheduled run has ever begun to look at is before the system's time.
            assert self.goes_on(rng) or self._produces(rng, {}), "the first schedule is lost"
        at = night(self.nights)
        self.nights += 1
        self.world.clock.now = max(self.world.clock.now, at + rng.randint(0, 50))
        event = {"trigger": "scheduled", "scheduledTime": iso(at)}
        times = 2 if rng.random() < 0.3 else 1
        for _ in range(times):
            self._waits_for_lambda(event)
        self._did(f"schedule fires {'twice' if times == 2 else 'once'}", iso(at))
        return True

    def asks_by_hand(self, rng: random.Random) -> bool:
        kind = rng.choice(("hours", "backfill", "limit"))
        event: Event = {"requestedAt": iso(self.now)}
        if kind == "backfill":
            event |= {"from": iso(self.now - rng.randint(HOUR, 2 * DAY)), "to": iso(self.now)}
        else:
            event |= {"lookbackHours": rng.choice((1, 3, 48))}
        if kind == "limit":
            event |= {"maxSessions": rng.randint(1, 3)}
        self._waits_for_lambda(event)
        self._did(f"by hand: {kind}", str(event))
        return True

    def produces(self, rng: random.Random) -> bool:
        return self._produces(rng, accidents.drawn(rng, "producer"))

    def _produces(self, rng: random.Random, met: Accidents) -> bool:
        self._take_hops()
        if not self.waiting:
            return False
        waiting = self.waiting.pop(rng.randrange(len(self.waiting)))
        if waiting.until < self.now and self._has_begun:
            self._did("Lambda drops", str(waiting.event))
            return True
        self._begins(waiting, met)
        return True

    def invokes(self, event: Event, met: Accidents) -> None:
        """The producer, with an event that did not wait: for a story that is told step by step."""
        self._begins(Waiting(event, self.now + LAMBDA_SECONDS), met)

    def _begins(self, waiting: Waiting, met: Accidents) -> None:
        self._did("producer begins", f"{waiting.event} {dict(met)}")
        self.world.invocations.begin(
            "producer",
            lambda: self.world.produce(waiting.event),
            met,
            PRODUCER_SECONDS,
            lambda invocation: self._produced(waiting, invocation),
        )

    def _produced(self, waiting: Waiting, invocation: Invocation) -> None:
        self._did("producer ends", _ended(invocation))
        answer, error = invocation.result, invocation.error
        if isinstance(answer, dict) and answer["statusCode"] != 200:
            self.books.wrong.append(f"the producer refuses {waiting.event}: {answer}")
        if isinstance(error, Unexpected):
            self.books.wrong.append(f"the producer meets what nobody thought of: {error}")
        if error and (waiting.failures < LAMBDA_RETRIES or not self._has_begun):
            self.waiting.append(replace(waiting, failures=waiting.failures + 1))
            self.happened["Lambda tries again"] += 1
        self._take_hops()

    @property
    def _has_begun(self) -> bool:
        """Whether a scheduled run has left its mark: from there on nothing may be lost."""
        return any(text(run, "trigger") == "scheduled" for run in self.books.runs.values())

    def _waits_for_lambda(self, event: Event) -> None:
        self.waiting.append(Waiting(event, self.now + LAMBDA_SECONDS))

    def _take_hops(self) -> None:
        while self.world.hops:
            self._waits_for_lambda(self.world.hops.pop(0))
            self.happened["hop"] += 1

    # The consumer

    def consumes(self, rng: random.Random) -> bool:
        return self._consumes(rng, accidents.drawn(rng, "consumer"), lose_deletion=rng.random() < 0.04)

    def _consumes(self, rng: random.Random, met: Accidents, *, lose_deletion: bool = False) -> bool:
        at = self.world.memory_sqs.next_visible_at(self.world.queue)
        if at is None or at > self.world.clock.now:
            return False
        poller = LambdaPoller(
            Faulty(self.world.memory_sqs, _no_deletion if lose_deletion else _nothing), self.world.queue
        )
        context, size = LambdaContext(self.world.clock), rng.randint(1, MOST_RECORDS)
        self._did("consumer begins", f"up to {size}, {dict(met)}")
        if lose_deletion:
            self.happened["deletion lost"] += 1
        self.world.invocations.begin(
            "consumer",
            lambda: poller.deliver(self.world.handle, size, context),
            met,
            FUNCTION_TIMEOUT,
            self._consumed,
        )
        return True

    def _consumed(self, invocation: Invocation) -> None:
        delivery = invocation.result
        self._did("consumer ends", _ended(invocation) + _told(delivery))
        if not isinstance(delivery, Delivery):
            return
        if delivery.error and not isinstance(delivery.error, Killed):
            self.books.wrong.append(f"the consumer raises {delivery.error!r}")
        if invocation.first_met.startswith("StripeApi"):
            self.books.wrong += self._wrong_last_attempts(delivery)

    def _wrong_last_attempts(self, delivery: Delivery) -> Iterator[str]:
        """Before anything that can kill is tried for the last time, its error is written."""
        for record in delivery.event["Records"]:
            message = json.loads(record["body"])
            run_id, session_id = message["runId"], message["sessionId"]
            is_last = int(record["attributes"]["ApproximateReceiveCount"]) >= self.shape.max_receives
            if is_last and session_id not in self.books.outcomes[run_id]:
                yield f"the last attempt at {session_id} in {run_id} began without its outcome"

    def goes_on(self, rng: random.Random) -> bool:
        """Any of those that stopped between two calls."""

        def on(invocation: Invocation) -> None:
            self._did(f"{invocation.function} goes on", "")
            self.world.invocations.go_on(invocation)

        return self._one_of(rng, self.paused, on)


def _nothing(call: ClientCall) -> None:
    """No fault."""


def _no_deletion(call: ClientCall) -> Fault | None:
    return connection_closed() if call.method == "delete_message_batch" else None


def _ended(invocation: Invocation) -> str:
    error = "" if invocation.error is None else f" {invocation.error!r}"
    return f"after {invocation.trace}{error}"


def _told(delivery: object) -> str:
    if not isinstance(delivery, Delivery):
        return ""
    return f" {len(delivery.deleted)} through, {len(delivery.returned)} back {delivery.error or ''}"
