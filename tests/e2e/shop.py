"""A shop with its deployed stack: the actions of a test, and the state that plain boto3 reads.

It shares no code with recon's readers and writers, so that a test does not share their mistakes. Each test
has its own night, two days before the previous one's, so that tests can share a stack without seeing each
other's sessions: backwards, since a scheduled run covers everything since the last covered night.
"""

import itertools
import json
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from recon.timestamps import DAY, HOUR
from sandbox.stack import wait_until
from testkit.fake_stripe import SessionSpec
from testkit.world import confirm_table

# A recent one, since a session that is older than 400 days no longer waits for its payment.
FIRST_NIGHT = int(time.time()) // DAY * DAY - 3 * DAY + 2 * HOUR
GRACE = 600  # seconds between the end of a scheduled run's window and its scheduled time
COUNTERS = ("enqueued", "processed", "created", "skipped", "errors")
STATE, WATERMARK = ("SYSTEM", "STRIPE_ORDER_SYNC"), ("SYSTEM", "STRIPE_SYNC_WATERMARK")
# Enough for a machine whose cores are busy with other tests; a free one needs a few seconds.
PATIENCE = 60.0

EMAIL = re.compile(r"[^\s\"'@:=]+@[\w-]+\.\w+")
KEY = re.compile(r"\b[sr]k_(test|live)_\w+")
_to_wire = TypeSerializer().serialize
_from_wire = TypeDeserializer().deserialize


class DeployedShop:
    """One deployed stack and the Stripe account that it reads. An operator has confirmed its table."""

    def __init__(self, stack, stripe):
        self.stack = stack
        self.stripe = stripe
        self._dynamodb = stack.client("dynamodb")
        self._sqs = stack.client("sqs")
        confirm_table(self._dynamodb, stack.ledger)
        self._nights = itertools.count()
        self._peers = threading.local()
        self._record_peers()

    def night(self):
        return ShopNight(self, next(self._nights))

    # Actions

    def sells(self, *specs):
        self.stripe.store.add_all(specs)

    def webhook_writes(self, spec, user, at, **changes):
        """Write the webhook's order, with another sort key and without `source`. Return the stored item."""
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

    def send(self, *bodies):
        """Send messages to the main queue: text as it is, anything else as JSON."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        for batch in itertools.batched(texts, 10):
            entries = [{"Id": str(n), "MessageBody": text} for n, text in enumerate(batch)]
            answer = self._sqs.send_message_batch(QueueUrl=self.stack.queue_url, Entries=entries)
            assert not answer.get("Failed")

    def redrive(self):
        """Move the dead letters back, and wait until the main queue is empty."""
        while messages := self._receive(self.stack.dlq_url, hidden=30):
            for message in messages:
                self.send(message["Body"])
                self._sqs.delete_message(QueueUrl=self.stack.dlq_url, ReceiptHandle=message["ReceiptHandle"])
        self.drain()

    def purge_queues(self):
        for url in (self.stack.queue_url, self.stack.dlq_url):
            self._sqs.purge_queue(QueueUrl=url)

    def body(self, event):
        """Invoke the producer with an event that it accepts, and return the body of its response."""
        answer = self.stack.invoke_producer(event)
        assert answer["statusCode"] == 200, answer
        return answer["body"]

    # State

    def dump(self):
        """Return every item of the shop's table and of the ledger in wire format by its key."""
        return self.dump_table(self.stack.table) | self.dump_table(self.stack.ledger)

    def dump_table(self, table):
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return {(item["PK"]["S"], item["SK"]["S"]): item for page in pages for item in page["Items"]}

    def items(self):
        return [plain(item) for item in self.dump().values()]

    def orders(self, *session_ids):
        """Return the orders of these sessions, from the webhook or from the sync."""
        wanted = set(session_ids)
        return [item for item in self.items() if is_order(item) and item["orderId"] in wanted]

    def order(self, spec):
        (order,) = self.orders(spec.id)
        return order

    def have_one_order_each(self, specs):
        orders = self.orders(*(spec.id for spec in specs))
        return sorted(order["orderId"] for order in orders) == sorted(spec.id for spec in specs)

    def item(self, pk, sk):
        key = {"PK": {"S": pk}, "SK": {"S": sk}}
        table = self.stack.table if pk.startswith(("USER#", "EVENT#")) else self.stack.ledger
        answer = self._dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)
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
        """Return (enqueued, processed, created, skipped, errors) of the run. The sync state must agree."""
        run, state = self.run(run_id), self.state()
        if state["lastSyncRunId"] == run_id:
            assert [state[f"lastSync{name.capitalize()}"] for name in COUNTERS] == [run[n] for n in COUNTERS]
        return tuple(run[name] for name in COUNTERS)

    def waiting(self):
        """Return the number of messages in the main queue, in flight or not."""
        return self._count(self.stack.queue_url)

    def dead(self):
        """Return the bodies of at most ten dead letters, without removing them."""
        count = self._count(self.stack.dlq_url)
        assert count <= 10, "more dead letters than one receive returns"
        bodies = [message["Body"] for message in self._receive(self.stack.dlq_url, hidden=0)]
        assert len(bodies) == count
        return bodies

    def dead_sessions(self):
        return sorted(json.loads(body)["sessionId"] for body in self.dead())

    def queues(self):
        """Return the numbers of messages in the main queue and of dead letters."""
        return self.waiting(), self._count(self.stack.dlq_url)

    def _count(self, url):
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def _receive(self, url, hidden):
        answer = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=hidden)
        return answer.get("Messages", [])

    # Waiting

    def settled(self, *run_ids, timeout=PATIENCE):
        """Wait until the runs are done and the main queue is empty."""
        for run_id in run_ids:
            wait_until(lambda run_id=run_id: self.run(run_id).get("status") == "done", run_id, timeout)
        self.drain(timeout)

    def drain(self, timeout=PATIENCE):
        wait_until(lambda: self.waiting() == 0, "the queue is empty", timeout)

    def wait_for_dead_letters(self, count, timeout=PATIENCE):
        """Wait until so many messages are dead letters and no other message is left."""
        wait_until(lambda: self.queues() == (0, count), f"{count} dead letters and no other message", timeout)

    # The callers of Stripe

    def find_caller(self, processes):
        """Return the process whose request the current thread of the fake Stripe answers."""
        for process in processes:
            try:
                connections = process.net_connections("tcp")
            except psutil.Error:
                continue
            if any(connection.laddr.port == self._peers.port for connection in connections):
                return process
        raise LookupError("none of these processes sent the request")

    def _record_peers(self):
        server = self.stripe._server
        handle = server.process_request_thread

        def record(request, client_address):
            self._peers.port = client_address[1]
            handle(request, client_address)

        server.process_request_thread = record

    # Logs

    def log_lines(self, function):
        return [line for entry in self.stack.logs(function) for line in entry.splitlines()]

    def structured_lines(self, function):
        """Return the structured lines of a function, without a line that a kill has truncated."""
        lines = []
        for line in self.log_lines(function):
            try:
                parsed = json.loads(line)
            except ValueError:
                continue
            if isinstance(parsed, dict) and "level" in parsed:
                lines.append(parsed)
        return lines

    def check_logs(self, *secrets):
        """Check that no line holds a customer or a key, and that every structured one has run and session."""
        for function in (self.stack.producer, self.stack.consumer):
            # The emulator stores a function's lines some time after its response.
            wait_until(lambda name=function: self.structured_lines(name), f"a line of {function}", 30)
            text = "\n".join(self.log_lines(function))
            assert EMAIL.findall(text) == []
            assert KEY.findall(text) == []
            assert [secret for secret in secrets if secret in text] == []
            lines = self.structured_lines(function)
            assert [line for line in lines if not {"run_id", "session_id"} <= line.keys()] == []


@dataclass
class ShopNight:
    """One scheduled run of the shop and the sessions in its window."""

    shop: DeployedShop
    number: int
    _ages: itertools.count = field(default_factory=lambda: itertools.count(HOUR))

    @property
    def end(self):
        return FIRST_NIGHT - 2 * DAY * self.number

    @property
    def event(self):
        return {"trigger": "scheduled", "scheduledTime": iso(self.end)}

    @property
    def run_id(self):
        return datetime.fromtimestamp(self.end, UTC).strftime("%Y%m%dT%H%M%SZ")

    @property
    def user(self):
        return f"user-{self.number}"

    def session(self, name, /, **changes):
        """Return a paid session of the night's customer, completed an hour before the end unless changed."""
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

    def sells_many(self, count, spacing=1):
        """Add sessions that are so many seconds apart."""
        ages = (HOUR + spacing * n for n in range(count))
        specs = [self.session(f"{n:05}", created=self.end - age) for n, age in enumerate(ages)]
        self.shop.sells(*specs)
        return specs

    def webhook_writes(self, spec, **changes):
        user = spec.metadata["userId"]
        return self.shop.webhook_writes(spec, user, spec.created + 41, **changes)

    def message(self, spec, **changes):
        """Return the queue message for a session according to the contract."""
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

    def play(self):
        """Run it to its end and return its counters."""
        self.produce()
        self.shop.settled(self.run_id)
        return self.counters()

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
