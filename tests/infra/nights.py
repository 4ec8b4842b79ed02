"""Nights of the real producer and consumer, with CloudWatch looking on."""

import io
import itertools
import json
from contextlib import contextmanager, redirect_stdout, suppress

from recon.errors import SyncError
from recon.telemetry import Telemetry
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.builders import NOW
from testkit.world import World
from tests.infra.alarms import ALARM, OK, Alarm, Points, metric
from tests.infra.resolved import STACK, Deployed

LOOK = 5 * MINUTE
# SQS goes on reporting a queue for so long after the last thing happened to it.
IDLE = 6 * HOUR
# Lambda tries an asynchronous call again after so long.
RETRIES = (60, 120)
_numbers = itertools.count()


class Nights(World):
    """`watch` begins the alarms of a deployment; `on` are those that were on at any time, by name."""

    def __init__(self, stripe, **env):
        super().__init__(stripe, **env)
        self.out = io.StringIO()
        with redirect_stdout(self.out):
            number = next(_numbers)
            self.telemetries = {
                part: Telemetry(f"{part}-{number}", STACK) for part in ("producer", "consumer")
            }
        self.points = Points()
        self.alarms = []
        self.on = set()
        self.states = {}
        self.paused = False
        self.missed_starts = self.memory_sqs.add_queue("missed-starts", visibility=30)
        for url, days in ((self.queue, 10), (self.dlq, 14), (self.missed_starts, 14)):
            kept = {"MessageRetentionPeriod": str(days * DAY)}
            self.memory_sqs.set_queue_attributes(QueueUrl=url, Attributes=kept)
        self._dead_since = None
        self._active_until = {}

    # What the functions do

    def produce(self, event=None, *, timeout=900):
        with self._running("producer"):
            return super().produce(event, timeout=timeout)

    def handle(self, event, context=None):
        with self._running("consumer"):
            return super().handle(event, context)

    @contextmanager
    def _running(self, part):
        self.telemetry = self.telemetries[part]
        self.out.seek(0, io.SEEK_END)
        begin, failed = self.out.tell(), 1
        try:
            with redirect_stdout(self.out):
                yield
            failed = 0
        finally:
            self._report("AWS/Lambda", "Errors", "FunctionName", f"{STACK}-{part}", failed)
            for line in self.lines(begin):
                self._take(line)

    def lines(self, begin=0):
        """What the functions printed, parsed."""
        return [json.loads(line) for line in self.out.getvalue()[begin:].splitlines()]

    def _take(self, line):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for names, one in itertools.product(directive["Dimensions"], directive["Metrics"]):
                key = metric(directive["Namespace"], one["Name"], {name: line[name] for name in names})
                for value in line[one["Name"]]:
                    self.points.add(key, value, self.clock.now)

    def _report(self, namespace, name, dimension, of, value):
        self.points.add(metric(namespace, name, {dimension: of}), value, self.clock.now)

    # Time passes

    def watch(self, **parameters):
        bodies = Deployed(**parameters).of_type("AWS::CloudWatch::Alarm").values()
        self.alarms = [Alarm(body) for body in bodies]

    def starts(self, event):
        """The schedule's call, Lambda's two retries, and its dead-letter queue."""
        for wait in (*RETRIES, None):
            with suppress(SyncError):
                self.produce(event)
                self.hop_all()
                return
            if wait is not None:
                self.passes(wait)
        self.memory_sqs.send_message(QueueUrl=self.missed_starts, MessageBody=json.dumps(event))

    def night(self, number=0, **options):
        """The schedule of that night, and the day after it up to midnight."""
        self.passes_until(NOW + number * DAY)
        self.starts({"trigger": "scheduled", "scheduledTime": to_iso(NOW + number * DAY)} | options)
        self.passes_until(NOW + number * DAY + 22 * HOUR)

    def passes(self, seconds):
        self.passes_until(self.clock.now + seconds)

    def passes_until(self, moment):
        while True:
            self._consume()
            self._look()
            if self.clock.now >= moment:
                return
            self.clock.now = min(moment, self.clock.now + LOOK)

    def _consume(self):
        while not self.paused and self.deliver():
            self.hop_all()

    def _look(self):
        for queue, name in (
            (self.queue, "sessions"),
            (self.dlq, "dead-letters"),
            (self.missed_starts, "missed-starts"),
        ):
            self._measure(queue, f"{STACK}-{name}")
        for alarm in self.alarms:
            self.states[alarm.name] = alarm.evaluate(self.points, self.clock.now)
            if alarm.state == ALARM:
                self.on.add(alarm.name)

    def _measure(self, url, name):
        shown = self.memory_sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        counts = {
            "Visible": int(shown["ApproximateNumberOfMessages"]),
            "NotVisible": int(shown["ApproximateNumberOfMessagesNotVisible"]),
            "Delayed": int(shown["ApproximateNumberOfMessagesDelayed"]),
        }
        if any(counts.values()):
            self._active_until[url] = self.clock.now + IDLE
        if self.clock.now > self._active_until.get(url, 0):
            return
        for kind, count in counts.items():
            self._report("AWS/SQS", f"ApproximateNumberOfMessages{kind}", "QueueName", name, count)
        if url == self.dlq:
            self._measure_age(name, counts["Visible"])

    def _measure_age(self, name, messages):
        """Since a message came into this queue, as AWS counts it for dead letters."""
        self._dead_since = (self._dead_since or self.clock.now) if messages else None
        age = self.clock.now - (self._dead_since or self.clock.now)
        self._report("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", name, age)

    # What is to be seen

    def is_ok(self, name):
        return self.states[name] == OK
