"""Ten entries a call: all are sent, only what was rejected is sent again, and what was not taken is named."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.aws.queue import SessionQueue, Visibility
from recon.domain.message import dumps
from recon.errors import NotAllowed, QueueUnavailable
from recon.retry import SEND_ATTEMPTS
from testkit.builders import NOW, FakeTime, a_message
from testkit.doubles.faults import Faulty, entries_rejected, on, service_error, throttled
from testkit.doubles.sqs import MemorySQS


class Shop:
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
        self.send([a_message(session_id=f"cs_{n}") for n in range(number)])
        taken = []
        while more := self.memory.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            taken += [message["ReceiptHandle"] for message in more]
        return taken

    def calls(self, method):
        """How many entries each call of a method had."""
        calls = [call for call in self.client.history.calls if call.method == method]
        return [len(call.arguments["Entries"]) for call in calls]


@pytest.fixture
def shop():
    return Shop()


MESSAGES = [a_message(session_id=f"cs_{n}") for n in range(21)]
BODIES = sorted(map(dumps, MESSAGES))


def test_every_message_is_sent_ten_a_call(shop):
    shop.send(MESSAGES)
    assert shop.sent == BODIES
    assert shop.calls("send_message_batch") == [10, 10, 1]


def test_only_what_sqs_rejected_is_sent_again(shop):
    shop.client.plan = on("send_message_batch", entries_rejected(3), nth=1)
    shop.send(MESSAGES[:10])
    assert shop.sent == sorted(map(dumps, MESSAGES[:10]))
    assert shop.calls("send_message_batch") == [10, 3]


def test_what_is_rejected_for_good_is_said_after_all_others_were_sent(shop):
    refused = dumps(MESSAGES[0])
    shop.memory.rejects = lambda _, entry: entry["MessageBody"] == refused
    with pytest.raises(QueueUnavailable, match=r"^SQS rejected 1 entries of a batch$"):
        shop.send(MESSAGES)
    assert shop.sent == [body for body in BODIES if body != refused]
    assert shop.calls("send_message_batch").count(1) == SEND_ATTEMPTS  # its own repeats, and the last batch


def test_a_batch_that_never_gets_through_is_given_up_after_so_many_tries(shop):
    shop.client.plan = on("send_message_batch", throttled())
    with pytest.raises(QueueUnavailable, match=r"^SQS: SendMessageBatch: RequestThrottled$"):
        shop.send(MESSAGES[:1])
    assert shop.calls("send_message_batch") == [1] * SEND_ATTEMPTS
    assert len(shop.clock.slept) == SEND_ATTEMPTS - 1


def test_nothing_is_repeated_once_time_is_up(shop):
    shop.client.plan = on("send_message_batch", throttled())
    with pytest.raises(QueueUnavailable):
        shop.send(MESSAGES[:1], seconds=0)
    assert shop.clock.slept == []


def test_a_role_that_may_not_send_is_told_so_at_once(shop):
    shop.client.plan = on("send_message_batch", service_error("AccessDenied"))
    with pytest.raises(NotAllowed, match=r"^SQS: SendMessageBatch: AccessDenied"):
        shop.send(MESSAGES[:1])
    assert shop.calls("send_message_batch") == [1]


def test_every_message_gets_the_time_that_was_said_of_it(shop):
    handles = shop.receive(21)
    assert shop.queue.set_visibility(Visibility(handle, 100 + n) for n, handle in enumerate(handles)) == {}
    times = {message.handle: message.visible_at - NOW for message in shop.memory.messages(shop.url)}
    assert times == {handle: 100 + n for n, handle in enumerate(handles)}
    assert shop.calls("change_message_visibility_batch") == [10, 10, 1]


def test_each_message_whose_time_was_not_taken_is_named_with_why_and_no_other(shop):
    handles = shop.receive(21)
    ill = {handles[0]: "SQS rejected it", handles[20]: "SQS rejected it"}
    shop.memory.rejects = lambda _, entry: entry["ReceiptHandle"] in ill
    assert shop.queue.set_visibility(Visibility(handle, 100) for handle in handles) == ill


@pytest.mark.parametrize("code", ["RequestThrottled", "AccessDenied"])
def test_a_call_that_fails_names_all_of_its_messages_and_the_next_call_is_made(shop, code):
    handles = shop.receive(11)
    shop.client.plan = on("change_message_visibility_batch", service_error(code), nth=1)
    missed = shop.queue.set_visibility(Visibility(handle, 100) for handle in handles)
    assert missed == dict.fromkeys(handles[:10], f"SQS: ChangeMessageVisibilityBatch: {code}")
