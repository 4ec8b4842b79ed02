"""The queue sends ten entries per call, retries only rejected ones, and names those that failed."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.aws.queue import SessionQueue, Visibility
from recon.domain.message import dumps
from recon.errors import NotAllowed, QueueUnavailable
from recon.retry import SEND_ATTEMPTS
from testkit.builders import NOW, FakeTime, a_message
from testkit.doubles.faults import Faulty, entries_rejected, on, service_error, throttled
from testkit.doubles.sqs import MemorySQS

MESSAGES = [a_message(session_id=f"cs_{n}") for n in range(21)]
BODIES = sorted(map(dumps, MESSAGES))


class QueueHarness:
    """A SessionQueue in memory."""

    def __init__(self):
        self.clock = FakeTime(NOW)
        self.memory = MemorySQS(self.clock)
        self.url = self.memory.add_queue("main", visibility=30)
        self.client = Faulty(self.memory)
        self.queue = SessionQueue(self.client, self.url)

    def send(self, messages, *, seconds=60):
        with ThreadPoolExecutor(1) as pool:
            self.queue.send(messages, pool, self.clock.deadline(seconds))

    @property
    def sent(self):
        return sorted(self.memory.bodies(self.url))

    def receive(self, number):
        """Send and receive messages and return their receipt handles."""
        self.send(MESSAGES[:number])
        handles = []
        while more := self.memory.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            handles += [message["ReceiptHandle"] for message in more]
        return handles

    def calls(self, method):
        """Return the number of entries in each call of a method."""
        calls = [call for call in self.client.history.calls if call.method == method]
        return [len(call.arguments["Entries"]) for call in calls]


@pytest.fixture
def harness():
    return QueueHarness()


def test_all_messages_are_sent_ten_per_call(harness):
    harness.send(MESSAGES)
    assert harness.sent == BODIES
    assert harness.calls("send_message_batch") == [10, 10, 1]


def test_only_rejected_entries_are_sent_again(harness):
    harness.client.plan = on("send_message_batch", entries_rejected(3), nth=1)
    harness.send(MESSAGES[:10])
    assert harness.sent == sorted(map(dumps, MESSAGES[:10]))
    assert harness.calls("send_message_batch") == [10, 3]


def test_rejected_entry_is_an_error_after_all_others_are_sent(harness):
    rejected = dumps(MESSAGES[0])
    harness.memory.rejects = lambda _, entry: entry["MessageBody"] == rejected
    with pytest.raises(QueueUnavailable, match=r"^SQS rejected 1 entries of a batch$"):
        harness.send(MESSAGES)
    assert harness.sent == [body for body in BODIES if body != rejected]
    assert harness.calls("send_message_batch").count(1) == SEND_ATTEMPTS  # its retries, and the last batch


@pytest.mark.parametrize(
    ("fault", "seconds", "kind", "text", "calls"),
    [
        (throttled(), 60, QueueUnavailable, "RequestThrottled", SEND_ATTEMPTS),
        (throttled(), 0, QueueUnavailable, "RequestThrottled", 1),
        (service_error("AccessDenied"), 60, NotAllowed, "AccessDenied", 1),
    ],
    ids=["throttled", "out of time", "denied"],
)
def test_failing_call_is_repeated_within_limits(harness, fault, seconds, kind, text, calls):
    harness.client.plan = on("send_message_batch", fault)
    with pytest.raises(kind, match=f"^SQS: SendMessageBatch: {text}$"):
        harness.send(MESSAGES[:1], seconds=seconds)
    assert harness.calls("send_message_batch") == [1] * calls
    assert len(harness.clock.slept) == calls - 1


def test_each_message_gets_its_visibility(harness):
    handles = harness.receive(21)
    assert harness.queue.set_visibility(Visibility(handle, 100 + n) for n, handle in enumerate(handles)) == {}
    times = {message.handle: message.visible_at - NOW for message in harness.memory.messages(harness.url)}
    assert times == {handle: 100 + n for n, handle in enumerate(handles)}
    assert harness.calls("change_message_visibility_batch") == [10, 10, 1]


def test_rejected_visibilities_are_returned_with_their_reason(harness):
    handles = harness.receive(21)
    rejected = {handles[0]: "SQS rejected it", handles[20]: "SQS rejected it"}
    harness.memory.rejects = lambda _, entry: entry["ReceiptHandle"] in rejected
    assert harness.queue.set_visibility(Visibility(handle, 100) for handle in handles) == rejected


@pytest.mark.parametrize("code", ["RequestThrottled", "AccessDenied"])
def test_failed_visibility_call_does_not_stop_the_next_one(harness, code):
    handles = harness.receive(11)
    harness.client.plan = on("change_message_visibility_batch", service_error(code), nth=1)
    missed = harness.queue.set_visibility(Visibility(handle, 100) for handle in handles)
    assert missed == dict.fromkeys(handles[:10], f"SQS: ChangeMessageVisibilityBatch: {code}")
