import pytest

from testkit.doubles.clock import Clock
from testkit.doubles.faults import Killed
from testkit.doubles.poller import LambdaPoller, MalformedResponse
from testkit.doubles.sqs import MemorySQS


class Polled:
    """A queue, its clock and its poller."""

    def __init__(self, *bodies: str, partial: bool = True) -> None:
        self.clock = Clock()
        self.sqs = MemorySQS(self.clock)
        self.url = self.sqs.add_queue("sessions", visibility=30)
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)
        self.poller = LambdaPoller(self.sqs, self.url, partial=partial)

    def left(self) -> list[str]:
        return sorted(self.sqs.bodies(self.url))


def failing(*bodies: str):
    """A handler that reports the messages with these bodies as failed."""

    def handler(event, context):
        failed = [record["messageId"] for record in event["Records"] if record["body"] in bodies]
        return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}

    return handler


def answering(response):
    return lambda event, context: response


def test_an_event_is_what_lambda_sends():
    polled = Polled("one")
    delivery = polled.poller.deliver(failing())
    (record,) = delivery.event["Records"]
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


def test_what_succeeded_is_deleted_and_what_failed_comes_back_after_its_timeout():
    polled = Polled("good", "bad", "fine")
    delivery = polled.poller.deliver(failing("bad"))
    assert (len(delivery.deleted), len(delivery.returned), delivery.error) == (2, 1, None)
    assert polled.left() == ["bad"]
    assert polled.poller.deliver(failing()) is None
    polled.clock.advance(30)
    again = polled.poller.deliver(failing())
    assert again.event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert polled.left() == []


def test_a_batch_may_be_larger_than_one_receive():
    polled = Polled(*map(str, range(30)))
    assert polled.poller.deliver(failing(), batch_size=25).size == 25
    assert len(polled.left()) == 5


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_empty_answers_are_success(response):
    polled = Polled("one", "two")
    assert polled.poller.deliver(answering(response)).error is None
    assert polled.left() == []


@pytest.mark.parametrize(
    "response",
    [
        "text",
        {"batchItemFailures": [{"itemIdentifier": "stranger"}]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"wrongKey": "x"}]},
        {"batchItemFailures": ["x"]},
    ],
)
def test_an_answer_that_lambda_does_not_understand_fails_the_batch(response):
    polled = Polled("one", "two")
    delivery = polled.poller.deliver(answering(response))
    assert isinstance(delivery.error, MalformedResponse)
    assert (delivery.deleted, len(delivery.returned)) == ((), 2)
    assert polled.left() == ["one", "two"]


def test_an_answer_that_is_no_json_fails_the_batch():
    polled = Polled("one")
    assert isinstance(polled.poller.deliver(answering({1, 2})).error, TypeError)
    assert polled.left() == ["one"]


@pytest.mark.parametrize("error", [ValueError("broken"), Killed("gone")])
def test_a_handler_that_raises_or_dies_returns_its_batch(error):
    def handler(event, context):
        raise error

    polled = Polled("one", "two")
    assert polled.poller.deliver(handler).error is error
    assert polled.left() == ["one", "two"]


def test_an_interrupted_test_run_is_not_taken_for_a_dead_function():
    def handler(event, context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Polled("one").poller.deliver(handler)


def test_without_partial_responses_any_answer_is_success():
    polled = Polled("one", partial=False)
    polled.poller.deliver(failing("one"))
    assert polled.left() == []


def test_the_context_is_handed_on():
    seen = []
    Polled("one").poller.deliver(lambda event, context: seen.append(context), context="context")
    assert seen == ["context"]
