"""A shop with its deployed stack: what a test does to it, and what is there, read with plain boto3.

Nothing of recon is used: whoever checks the system must not share its mistakes. Each test has a night of
its own, two days before the last one's, so that tests can share one stack without seeing each other's
sessions: backwards, since a scheduled run looks at everything since the night that was covered last.
"""

import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from recon.timestamps import DAY, HOUR
from sandbox.stack import wait_until
from testkit.fake_stripe import SessionSpec

FIRST_NIGHT = 1_732_672_800  # 2024-11-27T02:00:00Z
GRACE = 600  # seconds before its schedule at which a scheduled run's window ends
COUNTERS = ("enqueued", "processed", "created", "skipped", "errors")
STATE = ("SYSTEM", "STRIPE_ORDER_SYNC")
# A machine whose cores are busy with other tests; what is waited for takes a few seconds on a free one.
PATIENCE = 60.0

EMAIL = re.compile(r"[^\s\"'@:=]+@[\w-]+\.\w+")
KEY = re.compile(r"\b[sr]k_(test|live)_\w+")
_to_wire = TypeSerializer().serialize
_from_wire = TypeDeserializer().deserialize


class Shop:
    """One deployed stack and the Stripe account it reads."""

    def __init__(self, stack, stripe):
        self.stack = stack
        self.stripe = stripe
        self._dynamodb = stack.client("dynamodb")
        self._sqs = stack.client("sqs")
        self._nights = itertools.count()
        self._peers = threading.local()
        self._note_peers()

    def night(self):
        return Night(self, next(self._nights))

    # What happens to it

    def sells(self, *specs):
        self.stripe.store.add_all(specs)

    def webhook_writes(self, spec, user, at, **changes):
        """The webhook's order: its own sort key, no `source`. Answered as it lies in the table."""
        order = {
            "PK": f"USER#{user}",
            "SK": f"ORDER#{at}#{spec.id}",
            "orderId": spec.id,
            "stripeSessionId": spec.id,
            "userId": user,
            "status": "completed",
            "amount": spec.amount_total,
        } | changes
        wire = {name: _to_wire(value) for name, value in order.items()}
        self._dynamodb.put_item(TableName=self.stack.table, Item=wire)
        return wire

    def sends(self, *bodies):
        """Messages into the main queue; an object goes as JSON, text as it is."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        for batch in itertools.batched(texts, 10):
            entries = [{"Id": str(n), "MessageBody": text} for n, text in enumerate(batch)]
            answer = self._sqs.send_message_batch(QueueUrl=self.stack.queue_url, Entries=entries)
            assert not answer.get("Failed")

    def redrive(self):
        """Moves the dead letters back by hand, as an operator's tool does."""
        while messages := self._receive(self.stack.dlq_url, hidden=30):
            for message in messages:
                self.sends(message["Body"])
                self._sqs.delete_message(QueueUrl=self.stack.dlq_url, ReceiptHandle=message["ReceiptHandle"])

    def forgets_messages(self):
        """Empties both queues."""
        for url in (self.stack.queue_url, self.stack.dlq_url):
            self._sqs.purge_queue(QueueUrl=url)

    def body(self, event):
        """The body of the producer's answer to an event that it takes."""
        answer = self.stack.invoke_producer(event)
        assert answer["statusCode"] == 200, answer
        return answer["body"]

    # What is there

    def dump(self):
        """Every item of the table in wire format, by its key."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self.stack.table, ConsistentRead=True)
        return {(item["PK"]["S"], item["SK"]["S"]): item for page in pages for item in page["Items"]}

    def items(self):
        return [plain(item) for item in self.dump().values()]

    def orders(self, *session_ids):
        """The orders of these sessions, whoever wrote them."""
        wanted = set(session_ids)
        return [item for item in self.items() if is_order(item) and item["orderId"] in wanted]

    def order(self, spec):
        (order,) = self.orders(spec.id)
        return order

    def item(self, pk, sk):
        key = {"PK": {"S": pk}, "SK": {"S": sk}}
        answer = self._dynamodb.get_item(TableName=self.stack.table, Key=key, ConsistentRead=True)
        return plain(answer.get("Item", {}))

    def run(self, run_id):
        return self.item("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}")

    def state(self):
        return self.item(*STATE)

    def outcome(self, run_id, spec):
        return self.item(f"SYNC_RUN#{run_id}", f"SESSION#{spec.id}")

    def outcomes(self, run_id):
        return [item for item in self.items() if item["PK"] == f"SYNC_RUN#{run_id}"]

    def counters(self, run_id):
        """(enqueued, processed, created, skipped, errors) of a run."""
        run = self.run(run_id)
        return tuple(run[name] for name in COUNTERS)

    def state_counters(self):
        state = self.state()
        return tuple(state[f"lastSync{name.capitalize()}"] for name in COUNTERS)

    def waiting(self):
        """Messages in the main queue, in flight or not."""
        return self._count(self.stack.queue_url)

    def dead(self):
        """Bodies of the dead letters, which stay where they are. Not for more than ten."""
        count = self._count(self.stack.dlq_url)
        assert count <= 10, "more dead letters than one receive answers"
        bodies = [message["Body"] for message in self._receive(self.stack.dlq_url, hidden=0)]
        assert len(bodies) == count
        return bodies

    def dead_sessions(self):
        return sorted(json.loads(body)["sessionId"] for body in self.dead())

    def queues(self):
        """(waiting, dead), to compare what was with what is."""
        return self.waiting(), self._count(self.stack.dlq_url)

    def _count(self, url):
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def _receive(self, url, hidden):
        answer = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=hidden)
        return answer.get("Messages", [])

    def received(self):
        """Bodies of what waits in the main queue, ten at most, received once and left there."""
        return [json.loads(message["Body"]) for message in self._receive(self.stack.queue_url, hidden=0)]

    # Waiting

    def settled(self, *run_ids, timeout=PATIENCE):
        """Returns when the runs are done and the main queue is empty."""
        for run_id in run_ids:
            wait_until(lambda run_id=run_id: self.run(run_id).get("status") == "done", run_id, timeout)
        self.drained(timeout)

    def drained(self, timeout=PATIENCE):
        wait_until(lambda: self.waiting() == 0, "the queue is empty", timeout)

    # Who asks Stripe

    def caller(self, processes):
        """Of these processes the one whose request the current thread of the fake Stripe answers."""
        for process in processes:
            try:
                connections = process.net_connections("tcp")
            except psutil.Error:
                continue
            if any(connection.laddr.port == self._peers.port for connection in connections):
                return process
        raise LookupError("nobody of these asked")

    def _note_peers(self):
        server = self.stripe._server
        handle = server.process_request_thread

        def noting(request, client_address):
            self._peers.port = client_address[1]
            handle(request, client_address)

        server.process_request_thread = noting

    # Logs

    def logged(self, function):
        """The structured lines of a function; one that a kill has cut short is left out."""
        lines = []
        for line in self.log_lines(function):
            try:
                parsed = json.loads(line)
            except ValueError:
                continue
            if isinstance(parsed, dict) and "level" in parsed:
                lines.append(parsed)
        return lines

    def log_lines(self, function):
        return [line for entry in self.stack.logs(function) for line in entry.splitlines()]

    def check_logs(self, *secrets):
        """No customer and no key in any line, and run and session in every structured one."""
        for function in (self.stack.producer, self.stack.consumer):
            # The emulator writes a function's lines down some time after it has answered.
            wait_until(lambda name=function: self.logged(name), f"a line of {function}", 30)
            text = "\n".join(self.log_lines(function))
            assert EMAIL.findall(text) == []
            assert KEY.findall(text) == []
            assert [secret for secret in secrets if secret in text] == []
            lines = self.logged(function)
            assert [line for line in lines if not {"run_id", "session_id"} <= line.keys()] == []


@dataclass
class Night:
    """One schedule of the shop and the sessions in its window."""

    shop: Shop
    number: int
    _ages: itertools.count = field(default_factory=lambda: itertools.count(HOUR))

    @property
    def end(self):
        return FIRST_NIGHT - 2 * DAY * self.number

    @property
    def begin(self):
        """Of its scheduled run's window, where nothing before that was left out."""
        return self.end - 25 * HOUR

    @property
    def window(self):
        return {"from": iso(self.begin), "to": iso(self.end - GRACE)}

    @property
    def scheduled_time(self):
        return iso(self.end)

    @property
    def event(self):
        return {"trigger": "scheduled", "scheduledTime": self.scheduled_time}

    @property
    def run_id(self):
        return datetime.fromtimestamp(self.end, UTC).strftime("%Y%m%dT%H%M%SZ")

    @property
    def user(self):
        return f"user-{self.number}"

    def session(self, name, /, **changes):
        """A paid session of the night's customer that completed an hour before the end, unless changed."""
        return SessionSpec(
            **{
                "id": f"cs_test_{self.number:02}_{name}",
                "created": self.end - next(self._ages),
                "metadata": {"userId": self.user},
            }
            | changes
        )

    def sells(self, name, /, **changes):
        spec = self.session(name, **changes)
        self.shop.sells(spec)
        return spec

    def sells_many(self, count, customers=1, **changes):
        specs = [
            self.session(f"{n:05}", metadata={"userId": f"{self.user}-{n % customers}"}, **changes)
            for n in range(count)
        ]
        self.shop.sells(*specs)
        return specs

    def webhook_writes(self, spec, **changes):
        user = spec.metadata["userId"]
        return self.shop.webhook_writes(spec, user, spec.created + 41, **changes)

    def message(self, spec, **changes):
        """The message for a session, by the contract."""
        return {
            "v": 1,
            "runId": self.run_id,
            "sessionId": spec.id,
            "userId": spec.metadata["userId"],
            "created": spec.created,
            "amountTotal": spec.amount_total,
            "currency": spec.currency,
            "paymentStatus": spec.payment_status,
            "mode": spec.mode,
            "livemode": False,
            "eventIds": [],
        } | changes

    def produce(self):
        return self.shop.body(self.event)

    def passes(self):
        """The whole run. Answers its record."""
        self.produce()
        self.shop.settled(self.run_id)
        return self.shop.run(self.run_id)

    def counters(self):
        return self.shop.counters(self.run_id)

    def outcome(self, spec):
        return self.shop.outcome(self.run_id, spec)


def is_order(item):
    return item["PK"].startswith("USER#") and item["SK"].startswith("ORDER#")


def plain(item):
    return {name: _from_wire(value) for name, value in item.items()}


def iso(epoch):
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
