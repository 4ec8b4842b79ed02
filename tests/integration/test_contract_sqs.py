"""What this project relies on of SQS, asked of the in-memory queue and of the emulator's.

The in-memory queue has to pass all of it: it follows AWS where the emulator does not, and there the test must
fail on the emulator, so that an emulator that learns it is noticed.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testkit.engines.dynamodb_local import Unavailable
from testkit.engines.engine import EMULATOR, MEMORY, Engine, sqs_engine

DEVIATIONS: dict[str, dict[str, str]] = {
    EMULATOR: {
        "test_deleting_twice_is_no_error": "forgets the handle of a deleted message and refuses it",
        "test_a_stale_handle_deletes_nothing": "refuses a stale handle instead of ignoring it",
        "test_visibility_is_at_most_twelve_hours": "takes any number",
        "test_the_visibility_of_a_message_that_is_gone_cannot_be_changed": "calls the handle invalid",
        "test_a_move_task_sends_dead_letters_back_as_new_messages": "has no StartMessageMoveTask",
        "test_a_queue_has_one_move_task_at_a_time_whose_handle_is_told_while_it_runs": (
            "has no StartMessageMoveTask"
        ),
        "test_a_cancelled_move_task_leaves_what_it_has_not_moved": "has no StartMessageMoveTask",
        "test_a_move_task_fails_at_a_message_that_came_from_no_queue_unless_told_where_to": (
            "has no StartMessageMoveTask"
        ),
        "test_move_tasks_are_listed_latest_first_and_ten_at_most": "has no StartMessageMoveTask",
        "test_an_unknown_attribute_is_refused": "leaves it out of the answer",
    },
}


@pytest.fixture(scope="module", params=[MEMORY, EMULATOR])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    try:
        started = sqs_engine(request.param, DEVIATIONS)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def known_deviation(request: pytest.FixtureRequest, engine: Engine) -> None:
    engine.expect(request)


class Line:
    """A queue in the words of the tests."""

    def __init__(self, engine: Engine, attributes: dict[str, str] | None = None) -> None:
        self.client = engine.client
        name = f"queue-{uuid.uuid4().hex[:12]}"
        self.name = name
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes or {})["QueueUrl"]

    @property
    def arn(self) -> str:
        return self.attributes("QueueArn")["QueueArn"]

    def attributes(self, *names: str) -> dict[str, str]:
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names or ["All"]))
        found: dict[str, str] = answer["Attributes"]
        return found

    def counts(self) -> tuple[int, int]:
        """Visible and in flight."""
        known = self.attributes("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return int(known["ApproximateNumberOfMessages"]), int(known["ApproximateNumberOfMessagesNotVisible"])

    def send(self, *bodies: str) -> Any:
        return self.client.send_message_batch(
            QueueUrl=self.url,
            Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
        )

    def receive(self, most: int = 10, **request: Any) -> list[Any]:
        answer = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=most, MessageSystemAttributeNames=["All"], **request
        )
        return list(answer.get("Messages", []))

    def delete(self, message: Any) -> Any:
        return self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def hide(self, message: Any, seconds: int) -> Any:
        return self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )


@pytest.fixture
def line(engine: Engine) -> Line:
    return Line(engine)


@pytest.fixture
def dead(engine: Engine) -> Line:
    return Line(engine)


@pytest.fixture
def fragile(engine: Engine, dead: Line) -> Line:
    """A queue that gives a message up after two receives."""
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    return Line(engine, {"RedrivePolicy": policy})


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[ClientError]]:
    with pytest.raises(ClientError) as raised:
        yield raised
    assert raised.value.response["Error"]["Code"] == code


def bodies(messages: list[Any]) -> list[str]:
    return sorted(message["Body"] for message in messages)


def receives(message: Any) -> int:
    return int(message["Attributes"]["ApproximateReceiveCount"])


# Sending and receiving


def test_what_is_sent_is_received(line: Line) -> None:
    answer = line.send("one", "zwei ☕ 🎁")
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "1"]
    assert not answer.get("Failed")
    received = line.receive()
    assert bodies(received) == ["one", "zwei ☕ 🎁"]
    assert {message["MessageId"] for message in received} == {
        entry["MessageId"] for entry in answer["Successful"]
    }
    assert {message["MD5OfBody"] for message in received} == {
        entry["MD5OfMessageBody"] for entry in answer["Successful"]
    }


def test_a_single_message_is_sent(line: Line) -> None:
    answer = line.client.send_message(QueueUrl=line.url, MessageBody="one")
    assert line.receive()[0]["MessageId"] == answer["MessageId"]


def test_an_empty_queue_answers_without_messages(line: Line) -> None:
    answer = line.client.receive_message(QueueUrl=line.url, MaxNumberOfMessages=10)
    assert "Messages" not in answer


def test_system_attributes_count_receives_and_keep_the_first_one(line: Line) -> None:
    line.send("one")
    (first,) = line.receive(VisibilityTimeout=0)
    (second,) = line.receive()
    assert (receives(first), receives(second)) == (1, 2)
    assert set(second["Attributes"]) >= {"SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp"}
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert first["Attributes"][name] == second["Attributes"][name]
        assert len(first["Attributes"][name]) == 13  # milliseconds
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]


def test_system_attributes_come_only_when_asked_for(line: Line) -> None:
    line.send("one")
    (message,) = line.client.receive_message(QueueUrl=line.url)["Messages"]
    assert "Attributes" not in message


def test_a_batch_has_one_to_ten_entries_with_different_ids(line: Line) -> None:
    prefix = "AWS.SimpleQueueService."
    with refused(f"{prefix}EmptyBatchRequest"):
        line.send()
    with refused(f"{prefix}TooManyEntriesInBatchRequest"):
        line.send(*map(str, range(11)))
    with refused(f"{prefix}BatchEntryIdsNotDistinct"):
        entry = {"Id": "same", "MessageBody": "x"}
        line.client.send_message_batch(QueueUrl=line.url, Entries=[entry, entry])
    with refused(f"{prefix}InvalidBatchEntryId"):
        line.client.send_message_batch(QueueUrl=line.url, Entries=[{"Id": "a b", "MessageBody": "x"}])
    assert line.counts() == (0, 0)


def test_batch_errors_have_their_class(line: Line) -> None:
    with pytest.raises(line.client.exceptions.TooManyEntriesInBatchRequest):
        line.send(*map(str, range(11)))
    with pytest.raises(line.client.exceptions.QueueDoesNotExist):
        line.client.receive_message(QueueUrl=f"{line.url}-not")


def test_a_batch_of_one_mebibyte_fits_and_one_byte_more_does_not(line: Line) -> None:
    half = "x" * (512 * 1024)
    line.send(half, half)
    with refused("AWS.SimpleQueueService.BatchRequestTooLong"):
        line.send(half, half + "x")


def test_one_bad_entry_does_not_stop_its_neighbours(line: Line) -> None:
    answer = line.send("good", "bad \x00", "good too")
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "2"]
    (failure,) = answer["Failed"]
    assert (failure["Id"], failure["SenderFault"], failure["Code"]) == ("1", True, "InvalidMessageContents")
    assert bodies(line.receive()) == ["good", "good too"]


def test_a_receive_takes_at_most_ten(line: Line) -> None:
    line.send(*map(str, range(10)))
    line.send(*map(str, range(10)))
    assert len(line.receive(10)) == 10
    for wrong in (0, 11):
        with refused("InvalidParameterValue"):
            line.receive(wrong)


def test_a_delayed_message_arrives_late(line: Line, engine: Engine) -> None:
    line.client.send_message(QueueUrl=line.url, MessageBody="late", DelaySeconds=1)
    assert line.receive() == []
    engine.wait(1.2)
    assert bodies(line.receive()) == ["late"]


def test_message_attributes_travel_when_asked_for(line: Line) -> None:
    given = {"kind": {"DataType": "String", "StringValue": "session"}}
    line.client.send_message(QueueUrl=line.url, MessageBody="one", MessageAttributes=given)
    (message,) = line.receive(VisibilityTimeout=0)
    assert "MessageAttributes" not in message
    (message,) = line.receive(MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == given


# After a receive


def test_a_received_message_is_hidden_until_its_timeout(line: Line, engine: Engine) -> None:
    line.send("one")
    assert len(line.receive(VisibilityTimeout=1)) == 1
    assert line.receive() == []
    assert line.counts() == (0, 1)
    engine.wait(1.2)
    assert line.counts() == (1, 0)
    assert [receives(message) for message in line.receive()] == [2]


def test_the_queues_own_timeout_is_the_default(engine: Engine) -> None:
    line = Line(engine, {"VisibilityTimeout": "1"})
    line.send("one")
    assert len(line.receive()) == 1
    assert line.receive() == []
    engine.wait(1.2)
    assert len(line.receive()) == 1


def test_a_deleted_message_does_not_come_back(line: Line, engine: Engine) -> None:
    line.send("one", "two")
    messages = line.receive(VisibilityTimeout=1)
    line.delete(next(message for message in messages if message["Body"] == "one"))
    engine.wait(1.2)
    assert bodies(line.receive()) == ["two"]


def test_deleting_twice_is_no_error(line: Line) -> None:
    line.send("one")
    (message,) = line.receive()
    line.delete(message)
    line.delete(message)
    assert line.counts() == (0, 0)


def test_a_handle_whose_timeout_is_over_still_deletes(line: Line) -> None:
    line.send("one")
    (message,) = line.receive(VisibilityTimeout=0)
    line.delete(message)
    assert line.receive() == []


def test_a_stale_handle_deletes_nothing(line: Line) -> None:
    line.send("one")
    (stale,) = line.receive(VisibilityTimeout=0)
    (fresh,) = line.receive()
    line.delete(stale)
    assert line.counts() == (0, 1)
    line.delete(fresh)
    assert line.counts() == (0, 0)


def test_a_handle_of_nothing_is_refused(line: Line) -> None:
    with refused("ReceiptHandleIsInvalid"):
        line.delete({"ReceiptHandle": "nonsense"})


def test_a_batch_delete_names_what_failed(line: Line) -> None:
    line.send("one", "two")
    entries = [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(line.receive())
    ]
    answer = line.client.delete_message_batch(
        QueueUrl=line.url, Entries=[*entries, {"Id": "bad", "ReceiptHandle": "nonsense"}]
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "1"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]
    assert line.counts() == (0, 0)


def test_visibility_is_changed_from_now_on(line: Line, engine: Engine) -> None:
    line.send("soon", "later")
    by_body = {message["Body"]: message for message in line.receive(VisibilityTimeout=600)}
    line.hide(by_body["soon"], 1)
    line.hide(by_body["later"], 900)
    assert line.receive() == []
    engine.wait(1.2)
    assert bodies(line.receive()) == ["soon"]


def test_visibility_zero_brings_a_message_back_at_once(line: Line) -> None:
    line.send("one")
    (message,) = line.receive()
    line.hide(message, 0)
    assert [receives(again) for again in line.receive()] == [2]


def test_visibility_is_at_most_twelve_hours(line: Line) -> None:
    line.send("one")
    (message,) = line.receive()
    with refused("InvalidParameterValue"):
        line.hide(message, 43_201)


def test_the_visibility_of_a_message_that_is_gone_cannot_be_changed(line: Line) -> None:
    line.send("one")
    (message,) = line.receive()
    line.delete(message)
    with refused("InvalidParameterValue"):
        line.hide(message, 10)


def test_a_batch_of_visibilities_names_what_failed(line: Line) -> None:
    line.send("one", "two")
    first, second = line.receive()
    line.delete(second)
    answer = line.client.change_message_visibility_batch(
        QueueUrl=line.url,
        Entries=[
            {"Id": "0", "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "1", "ReceiptHandle": second["ReceiptHandle"], "VisibilityTimeout": 0},
        ],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["0"]
    assert [entry["Id"] for entry in answer["Failed"]] == ["1"]
    assert line.counts() == (1, 0)


# Dead letters


def test_one_receive_too_many_sends_a_message_to_the_dead_letters(fragile: Line, dead: Line) -> None:
    answer = fragile.send("one")
    for count in (1, 2):
        (message,) = fragile.receive()
        assert receives(message) == count
        fragile.hide(message, 0)
    assert dead.counts() == (0, 0)
    assert fragile.receive() == []
    assert fragile.counts() == (0, 0)
    (lost,) = dead.receive()
    assert lost["Body"] == "one"
    assert lost["MessageId"] == answer["Successful"][0]["MessageId"]
    assert lost["Attributes"]["SentTimestamp"] == message["Attributes"]["SentTimestamp"]


def test_dead_letters_name_the_queue_they_come_from(fragile: Line, dead: Line) -> None:
    _kill(fragile)
    (lost,) = dead.receive()
    assert lost["Attributes"]["DeadLetterQueueSourceArn"] == fragile.arn


def test_a_move_task_sends_dead_letters_back_as_new_messages(
    fragile: Line, dead: Line, engine: Engine
) -> None:
    _kill(fragile)
    (lost,) = dead.receive(VisibilityTimeout=0)
    task = dead.client.start_message_move_task(SourceArn=dead.arn)
    assert task["TaskHandle"]
    engine.wait(0.1)
    (back,) = fragile.receive()
    assert (back["Body"], receives(back)) == ("one", 1)
    assert back["MessageId"] != lost["MessageId"]
    (listed,) = dead.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    assert (listed["Status"], listed["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert "TaskHandle" not in listed
    assert dead.counts() == (0, 0)


def test_a_queue_has_one_move_task_at_a_time_whose_handle_is_told_while_it_runs(
    fragile: Line, dead: Line
) -> None:
    _kill(fragile, "one", "two", "three")
    task = dead.client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=1)
    with refused("InvalidParameterValue"):
        dead.client.start_message_move_task(SourceArn=dead.arn)
    (listed,) = dead.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    assert (listed["Status"], listed["TaskHandle"]) == ("RUNNING", task["TaskHandle"])
    assert listed["ApproximateNumberOfMessagesToMove"] == 3


def test_a_cancelled_move_task_leaves_what_it_has_not_moved(
    fragile: Line, dead: Line, engine: Engine
) -> None:
    _kill(fragile, "one", "two", "three")
    task = dead.client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=1)
    dead.client.cancel_message_move_task(TaskHandle=task["TaskHandle"])
    engine.wait(5)
    (listed,) = dead.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    assert listed["Status"] == "CANCELLED"
    assert dead.counts()[0] == 3 - listed["ApproximateNumberOfMessagesMoved"] > 0
    with refused("InvalidParameterValue"):
        dead.client.cancel_message_move_task(TaskHandle=task["TaskHandle"])


def test_a_move_task_fails_at_a_message_that_came_from_no_queue_unless_told_where_to(
    fragile: Line, dead: Line, engine: Engine
) -> None:
    dead.send("by hand")
    dead.client.start_message_move_task(SourceArn=dead.arn)
    engine.wait(0.1)
    (listed,) = dead.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    assert (listed["Status"], listed["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    dead.client.start_message_move_task(SourceArn=dead.arn, DestinationArn=fragile.arn)
    engine.wait(0.1)
    assert bodies(fragile.receive()) == ["by hand"]


def test_move_tasks_are_listed_latest_first_and_ten_at_most(
    fragile: Line, dead: Line, engine: Engine
) -> None:
    for _ in range(11):
        dead.client.start_message_move_task(SourceArn=dead.arn)
        engine.wait(1)
    listed = dead.client.list_message_move_tasks(SourceArn=dead.arn, MaxResults=10)["Results"]
    starts = [task["StartedTimestamp"] for task in listed]
    assert len(starts) == 10
    assert starts == sorted(starts, reverse=True)
    with refused("InvalidParameterValue"):
        dead.client.list_message_move_tasks(SourceArn=dead.arn, MaxResults=11)


def _kill(line: Line, *bodies: str) -> None:
    line.send(*(bodies or ("one",)))
    for _ in range(2):
        line.receive(VisibilityTimeout=0)
    assert line.receive() == []


# Queues


def test_a_queue_is_found_by_its_name(line: Line) -> None:
    assert line.client.get_queue_url(QueueName=line.name)["QueueUrl"] == line.url
    with refused("AWS.SimpleQueueService.NonExistentQueue"):
        line.client.get_queue_url(QueueName=f"{line.name}-not")


def test_attributes_are_strings(fragile: Line, dead: Line) -> None:
    known = fragile.attributes()
    assert known["QueueArn"].endswith(f":{fragile.name}")
    assert (known["VisibilityTimeout"], known["MessageRetentionPeriod"]) == ("30", "345600")
    policy = json.loads(known["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (dead.arn, 2)


def test_attributes_can_be_set(line: Line) -> None:
    line.client.set_queue_attributes(QueueUrl=line.url, Attributes={"VisibilityTimeout": "7"})
    assert line.attributes("VisibilityTimeout") == {"VisibilityTimeout": "7"}


def test_an_unknown_attribute_is_refused(line: Line) -> None:
    with refused("InvalidAttributeName"):
        line.attributes("Colour")


def test_a_purged_queue_is_empty(line: Line) -> None:
    line.send("one", "two")
    line.receive(1)
    line.client.purge_queue(QueueUrl=line.url)
    assert line.counts() == (0, 0)


def test_a_deleted_queue_is_gone(line: Line) -> None:
    line.client.delete_queue(QueueUrl=line.url)
    with refused("AWS.SimpleQueueService.NonExistentQueue"):
        line.send("one")
