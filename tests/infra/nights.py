"""Nights of the real producer and consumer whose metrics are evaluated by the modelled alarms."""

import io
import itertools
import json
from contextlib import contextmanager, redirect_stdout, suppress

from recon.errors import SyncError
from recon.telemetry import Telemetry
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.builders import NOW
from testkit.world import World
from tests.infra.alarms import ALARM, OK, Alarm, Datapoints, make_metric
from tests.infra.resolved import STACK, ResolvedTemplate

EVALUATION_INTERVAL = 5 * MINUTE
# SQS continues to report a queue for so long after its last activity.
IDLE = 6 * HOUR
# Lambda's delays before its two retries of an asynchronous invocation.
RETRIES = (60, 120)
_numbers = itertools.count()


class MonitoredNights(World):
    """A shop with alarms. `raised` holds the names of the alarms that were on at any time."""

    def __init__(self, stripe, **env):
        super().__init__(stripe, **env)
        self.out = io.StringIO()
        with redirect_stdout(self.out):
            number = next(_numbers)
            self.telemetries = {
                part: Telemetry(f"{part}-{number}", STACK) for part in ("producer", "consumer")
            }
        self.points = Datapoints()
        self.alarms = []
        self.raised = set()
        self.states = {}
        self.paused = False
        self.missed_starts = self.memory_sqs.add_queue("missed-starts", visibility=30)
        self._queues = {
            self.queue: ("sessions", 10),
            self.dlq: ("dead-letters", 14),
            self.missed_starts: ("missed-starts", 14),
        }
        for url, (_, days) in self._queues.items():
            retention = {"MessageRetentionPeriod": str(days * DAY)}
            self.memory_sqs.set_queue_attributes(QueueUrl=url, Attributes=retention)
        self._dead_since = None
        self._active_until = {}

    # The functions, with their metrics

    def produce(self, event=None, *, timeout=900):
        with self._measuring("producer"):
            return super().produce(event, timeout=timeout)

    def handle(self, event, context=None):
        with self._measuring("consumer"):
            return super().handle(event, context)

    @contextmanager
    def _measuring(self, part):
        self.telemetry = self.telemetries[part]
        self.out.seek(0, io.SEEK_END)
        begin, failed = self.out.tell(), 1
        try:
            with redirect_stdout(self.out):
                yield
            failed = 0
        finally:
            self._report("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-{part}"}, failed)
            for line in self.lines(begin):
                self._report_line(line)

    def lines(self, begin=0):
        """Return the parsed output of the functions."""
        return [json.loads(line) for line in self.out.getvalue()[begin:].splitlines()]

    def _report_line(self, line):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for names, one in itertools.product(directive["Dimensions"], directive["Metrics"]):
                for value in line[one["Name"]]:
                    dimensions = {name: line[name] for name in names}
                    self._report(directive["Namespace"], one["Name"], dimensions, value)

    def _report(self, namespace, name, dimensions, value):
        self.points.add(make_metric(namespace, name, dimensions), value, self.clock.now)

    # Time

    def watch_alarms(self, **parameters):
        """Start evaluating the alarms of a deployment with these parameters."""
        bodies = ResolvedTemplate(**parameters).of_type("AWS::CloudWatch::Alarm").values()
        self.alarms = [Alarm(body) for body in bodies]

    def start_run(self, event):
        """Invoke the producer as the schedule does, with Lambda's two retries and its dead-letter queue."""
        for wait in (*RETRIES, None):
            with suppress(SyncError):
                self.produce(event)
                self.hop_all()
                return
            if wait is not None:
                self.advance(wait)
        self.memory_sqs.send_message(QueueUrl=self.missed_starts, MessageBody=json.dumps(event))

    def play_night(self, number=0, **options):
        """Play that night's scheduled run and the day after it up to midnight."""
        self.advance_to(NOW + number * DAY)
        self.start_run({"trigger": "scheduled", "scheduledTime": to_iso(NOW + number * DAY)} | options)
        self.advance_to(NOW + number * DAY + 22 * HOUR)

    def advance(self, seconds):
        self.advance_to(self.clock.now + seconds)

    def advance_to(self, moment):
        while True:
            self.consume()
            self._evaluate()
            if self.clock.now >= moment:
                return
            self.clock.now = min(moment, self.clock.now + EVALUATION_INTERVAL)

    def consume(self):
        while not self.paused and self.deliver():
            self.hop_all()

    def _evaluate(self):
        for url, (name, _) in self._queues.items():
            self._report_queue(url, {"QueueName": f"{STACK}-{name}"})
        for alarm in self.alarms:
            self.states[alarm.name] = alarm.evaluate(self.points, self.clock.now)
            if alarm.state == ALARM:
                self.raised.add(alarm.name)

    def _report_queue(self, url, dimensions):
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
            self._report("AWS/SQS", f"ApproximateNumberOfMessages{kind}", dimensions, count)
        if url == self.dlq:
            # AWS counts a dead letter's age from its move into this queue.
            self._dead_since = (self._dead_since or self.clock.now) if counts["Visible"] else None
            age = self.clock.now - (self._dead_since or self.clock.now)
            self._report("AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, age)

    def is_ok(self, *names):
        return all(self.states[name] == OK for name in names)
