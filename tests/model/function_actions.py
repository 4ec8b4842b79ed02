"""The two functions are invoked with what is queued for them, with accidents, one inside another."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import producer.lambda_function as producer_function
from recon.dynamodb.keys import WATERMARK_KEY
from recon.errors import Unexpected
from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW
from testkit.doubles.faults import ClientCall, Fault, Faulty, Killed, connection_closed, never
from testkit.doubles.poller import Delivery, LambdaPoller
from testkit.fake_stripe.specs import SessionSpec
from testkit.shop import Record
from testkit.world import FUNCTION_TIMEOUT, LambdaContext
from tests.model import accidents
from tests.model.accidents import Accidents
from tests.model.base_shop import BaseShop, QueuedEvent
from tests.model.in_process_stripe import OTHER_KEY
from tests.model.invocations import Invocation
from tests.model.model_world import PRODUCER_SECONDS

# Lambda repeats an asynchronous invocation twice if it fails, and keeps its event for six hours.
LAMBDA_RETRIES = 2
LAMBDA_SECONDS = 6 * HOUR
MOST_RECORDS = 12
LATEST_START = 50  # seconds after the scheduled time
SECOND_STACK, OTHER_ACCOUNT = 0.1, 0.15  # of the nights


def night(number: int) -> int:
    """Return the scheduled time of a night, in epoch seconds."""
    return NOW + number * DAY


class FunctionActions(BaseShop):
    """Invocations of the producer and the consumer."""

    def start_night(self, rng: random.Random) -> bool:
        """Let the next schedule fire, now and then twice, some seconds late."""
        self._ensure_first_run(rng)
        at = night(self.nights)
        self.nights += 1
        self.wait_until(at + rng.randint(0, LATEST_START))
        self._start_second_stack(at)
        if self.neighbour and self._owner:
            self.neighbour.start_night(at)
        times = 2 if rng.random() < 0.3 else 1
        for _ in range(times):
            self._queue_event({"trigger": "scheduled", "scheduledTime": to_iso(at)})
        self._log(f"schedule fired {'twice' if times == 2 else 'once'}", to_iso(at))
        return True

    def mistake_key(self) -> None:
        """Put the key of another account, which sells something too, into the parameter of a proven shop."""
        is_proven = "provenBy" in (self.world.item(*WATERMARK_KEY) or {})
        is_right = self.world.ssm.value in self.world.account.keys
        is_calm = is_right and not self.paused and self._other_account.random() < OTHER_ACCOUNT
        if not is_proven or not is_calm:
            return
        number = self.happened["key of another account"]
        sold = SessionSpec(f"cs_other_{number}", self.now - HOUR, metadata={"userId": "u1"})
        self.world.account.other.add(sold)
        self.world.ssm.value = OTHER_KEY
        self.world.invocations.end_idle_processes()
        self._log("key of another account", sold.id)

    def _start_second_stack(self, at: int) -> None:
        """Let the schedule of a second stack on the same table fire first, whose queue nobody consumes."""
        if self._owner is None or self._second_stack.random() >= SECOND_STACK:
            return
        clients = self.world.clients()
        clients = replace(
            clients,
            settings=replace(clients.settings, stack="second-stack"),
            queue=SimpleNamespace(send=lambda *_: None),  # type: ignore[arg-type]
        )

        def produce() -> object:
            with mock.patch.object(producer_function, "clients", return_value=clients):
                return self.world.produce({"trigger": "scheduled", "scheduledTime": to_iso(at)})

        self.world.invocations.begin(
            "producer",
            produce,
            {},
            PRODUCER_SECONDS,
            lambda invocation: self._log("second stack started", _describe_end(invocation)),
        )

    @property
    def _owner(self) -> str | None:
        """The stack to which the ledger belongs, once its first run has begun."""
        return (self.world.item(*WATERMARK_KEY) or {}).get("stackName")

    def skip_night(self, rng: random.Random) -> None:
        """Let the time of the next schedule pass without its firing."""
        self._ensure_first_run(rng)
        self.wait_until(night(self.nights))
        self._log("schedule never fired", to_iso(night(self.nights)))
        self.nights += 1

    def _ensure_first_run(self, rng: random.Random) -> None:
        """Invoke the producer until the first scheduled run is recorded: older sessions are out of scope."""
        while self.nights and not self._is_first_run_recorded:
            assert self.resume(rng) or self._produce(rng, {}), "the first schedule is lost"

    @property
    def _is_first_run_recorded(self) -> bool:
        return any(run.get("trigger") == "scheduled" for run in self.checks.records.runs.values())

    def run_manually(self, rng: random.Random) -> bool:
        kind = rng.choice(("hours", "backfill", "limit"))
        event: Record = {"requestedAt": to_iso(self.now)}
        if kind == "backfill":
            event |= {"from": to_iso(self.now - rng.randint(HOUR, 2 * DAY)), "to": to_iso(self.now)}
        else:
            event |= {"lookbackHours": rng.choice((1, 3, 48))}
        if kind == "limit":
            event |= {"maxSessions": rng.randint(1, 3)}
        self._queue_event(event)
        self._log(f"manual run: {kind}", str(event))
        return True

    def produce(self, rng: random.Random) -> bool:
        return self._produce(rng, accidents.draw_accidents(rng, "producer"))

    def _produce(self, rng: random.Random, planned: Accidents) -> bool:
        self._queue_continuations()
        if not self.queued_events:
            return False
        queued = self.queued_events.pop(rng.randrange(len(self.queued_events)))
        if queued.expires < self.now and self._is_first_run_recorded:
            self._log("Lambda dropped an event", str(queued.event))
        else:
            self._begin_producer(queued, planned)
        return True

    def invoke_producer(self, event: Record, planned: Accidents) -> None:
        """Invoke the producer at once with an event that was not queued."""
        self._begin_producer(QueuedEvent(event, self.now + LAMBDA_SECONDS), planned)

    def _begin_producer(self, queued: QueuedEvent, planned: Accidents) -> None:
        self._log("producer began", f"{queued.event} {dict(planned)}")
        self.world.invocations.begin(
            "producer",
            lambda: self.world.produce(queued.event),
            planned,
            PRODUCER_SECONDS,
            lambda invocation: self._end_producer(queued, invocation),
        )

    def _end_producer(self, queued: QueuedEvent, invocation: Invocation) -> None:
        self._log("producer ended", _describe_end(invocation))
        answer, error = invocation.result, invocation.error
        if isinstance(answer, dict) and answer["statusCode"] != 200:
            self.checks.violations.append(f"the producer refuses {queued.event}: {answer}")
        if isinstance(answer, dict) and answer["body"].get("status") == "held":
            self.happened["run held"] += 1
        if isinstance(error, Unexpected):
            self.checks.violations.append(f"the producer raises an unmapped exception: {error}")
        if error and (queued.failures < LAMBDA_RETRIES or not self._is_first_run_recorded):
            self.queued_events.append(replace(queued, failures=queued.failures + 1))
            self.happened["Lambda retried"] += 1
        self._queue_continuations()

    def _queue_event(self, event: Record) -> None:
        self.queued_events.append(QueuedEvent(event, self.now + LAMBDA_SECONDS))

    def _queue_continuations(self) -> None:
        while self.world.hops:
            self._queue_event(self.world.hops.pop(0))
            self.happened["producer continued"] += 1

    def consume(self, rng: random.Random) -> bool:
        planned = accidents.draw_accidents(rng, "consumer")
        if self.config.has_own_layout:
            planned = accidents.spread_lookups(planned)
        return self._consume(rng, planned, loses_deletion=rng.random() < 0.04)

    def _consume(self, rng: random.Random, planned: Accidents, *, loses_deletion: bool = False) -> bool:
        at = self.world.memory_sqs.next_visible_at(self.world.queue)
        if at is None or at > self.world.clock.now:
            return False
        sqs = Faulty(self.world.memory_sqs, _fail_deletion if loses_deletion else never)
        poller = LambdaPoller(sqs, self.world.queue)
        context, size = LambdaContext(self.world.clock), rng.randint(1, MOST_RECORDS)
        self._log("consumer began", f"up to {size}, {dict(planned)}")
        if loses_deletion:
            self.happened["deletion lost"] += 1
        self.world.invocations.begin(
            "consumer",
            lambda: poller.deliver(self.world.handle, size, context),
            planned,
            FUNCTION_TIMEOUT,
            self._end_consumer,
        )
        return True

    def _end_consumer(self, invocation: Invocation) -> None:
        delivery = invocation.result
        self._log("consumer ended", _describe_end(invocation) + _describe_delivery(delivery))
        if not isinstance(delivery, Delivery):
            return
        if delivery.error and not isinstance(delivery.error, Killed):
            self.checks.violations.append(f"the consumer raises {delivery.error!r}")
        if invocation.first_accident.startswith("StripeApi"):
            self.checks.violations += self._check_last_attempts(delivery)

    def _check_last_attempts(self, delivery: Delivery) -> Iterator[str]:
        """Yield the messages whose last attempt began before their error was written."""
        for record in delivery.event["Records"]:
            message = json.loads(record["body"])
            run_id, session_id = message["runId"], message["sessionId"]
            is_last = int(record["attributes"]["ApproximateReceiveCount"]) >= self.config.max_receives
            if is_last and session_id not in self.checks.records.outcomes[run_id]:
                yield f"the last attempt at {session_id} in {run_id} began without its outcome"

    def resume(self, rng: random.Random) -> bool:
        """Resume one of the invocations that paused between two calls."""

        def resume_one(invocation: Invocation) -> None:
            self._log(f"{invocation.function} resumed")
            self.world.invocations.resume(invocation)

        return self._act_on_one(rng, self.paused, resume_one)


def _fail_deletion(call: ClientCall) -> Fault | None:
    return connection_closed() if call.method == "delete_message_batch" else None


def _describe_end(invocation: Invocation) -> str:
    error = "" if invocation.error is None else f" {invocation.error!r}"
    return f"after {invocation.trace}{error}"


def _describe_delivery(delivery: object) -> str:
    if not isinstance(delivery, Delivery):
        return ""
    return f" {len(delivery.deleted)} settled, {len(delivery.returned)} returned {delivery.error or ''}"
