"""The event source mapping: what it sends to a handler, deletes and returns."""

import pytest

from testkit.doubles.clock import ManualClock
from testkit.doubles.faults import Killed
from testkit.doubles.poller import LambdaPoller, MalformedResponse
from testkit.doubles.sqs import MemorySQS


class PolledQueue:
    """A queue with messages, its clock and its poller."""

    def __init__(self, *bodies):
        self.clock = ManualClock()
        self.sqs = MemorySQS(self.clock.time)
        self.url = self.sqs.add_queue("sessions", visibility=30)
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)
        self.deliver = LambdaPoller(self.sqs, self.url).deliver

    def bodies(self):
        return sorted(self.sqs.bodies(self.url))


def fail(*bodies):
    """Return a handler that reports the messages with these bodies as failed."""

    def handler(event, context):
        failed = [record["messageId"] for record in event["Records"] if record["body"] in bodies]
        return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}

    return handler


def test_event_is_what_lambda_sends():
    delivery = PolledQueue("one").deliver(fail())
    [record] = delivery.event["Records"]
    assert record == {
        "messageId": delivery.deleted[0],
        "receiptHandle": record["receiptHandle"],
        "body": "one",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1732672800000",
            "SenderId": "000000000000",
            "ApproximateFirstReceiveTimestamp": "1732672800000",
        },
        "messageAttributes": {},
        "md5OfBody": "f97c5d29941bfb1b2fdab0874906ab82",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:sessions",
        "awsRegion": "us-east-1",
    }


def test_successes_are_deleted_and_failures_return():
    queue = PolledQueue("good", "bad", "fine")
    delivery = queue.deliver(fail("bad"))
    assert (len(delivery.deleted), len(delivery.returned), delivery.error) == (2, 1, None)
    assert queue.bodies() == ["bad"]
    assert queue.deliver(fail()) is None
    queue.clock.advance(30)
    again = queue.deliver(fail())
    assert again.event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert queue.bodies() == []


def test_batch_may_be_larger_than_one_receive():
    queue = PolledQueue(*map(str, range(30)))
    assert queue.deliver(fail(), batch_size=25).size == 25
    assert len(queue.bodies()) == 5


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_empty_response_is_success(response):
    queue = PolledQueue("one", "two")
    assert queue.deliver(lambda event, context: response).error is None
    assert queue.bodies() == []


@pytest.mark.parametrize(
    ("response", "error"),
    [
        ("text", MalformedResponse),
        ({"batchItemFailures": [{"itemIdentifier": "stranger"}]}, MalformedResponse),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, MalformedResponse),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, MalformedResponse),
        ({"batchItemFailures": [{"wrongKey": "x"}]}, MalformedResponse),
        ({"batchItemFailures": ["x"]}, MalformedResponse),
        ({1, 2}, TypeError),
    ],
)
def test_malformed_response_returns_the_batch(response, error):
    queue = PolledQueue("one", "two")
    delivery = queue.deliver(lambda event, context: response)
    assert isinstance(delivery.error, error)
    assert (delivery.deleted, len(delivery.returned)) == ((), 2)
    assert queue.bodies() == ["one", "two"]


def raise_error(error):
    def handler(event, context):
        raise error

    return handler


@pytest.mark.parametrize("error", [ValueError("broken"), Killed("gone")])
def test_raising_or_dying_handler_returns_the_batch(error):
    queue = PolledQueue("one", "two")
    assert queue.deliver(raise_error(error)).error is error
    assert queue.bodies() == ["one", "two"]


def test_keyboard_interrupt_is_no_dead_function():
    with pytest.raises(KeyboardInterrupt):
        PolledQueue("one").deliver(raise_error(KeyboardInterrupt()))


def test_context_is_passed_to_the_handler():
    seen = []
    PolledQueue("one").deliver(lambda event, context: seen.append(context), context="context")
    assert seen == ["context"]
