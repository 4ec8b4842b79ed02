"""The contract of SQS, tested with the in-memory queue and with the emulator's.

The in-memory queue has to pass every test: it follows AWS where the emulator does not. There the test must
fail on the emulator, so that a change of the emulator is noticed.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from testkit.engines.engine import EMULATOR, MEMORY, Engine, EngineUnavailable, start_sqs

NO_MOVE_TASKS = "has no StartMessageMoveTask"
DEVIATIONS = {
    MEMORY: {},
    EMULATOR: {
        "test_deleting_twice_is_no_error": "forgets the handle of a deleted message and refuses it",
        "test_stale_handle_deletes_nothing": "refuses a stale handle instead of ignoring it",
        "test_refused_visibility": "accepts any number, and has another error for a deleted message",
        "test_move_task_returns_dead_letters_as_new_messages": NO_MOVE_TASKS,
        "test_queue_has_one_running_move_task": NO_MOVE_TASKS,
        "test_cancelled_move_task_leaves_the_rest": NO_MOVE_TASKS,
        "test_move_task_needs_a_destination_for_sent_messages": NO_MOVE_TASKS,
        "test_move_tasks_are_listed_latest_first": NO_MOVE_TASKS,
        "test_unknown_attribute_is_refused": "leaves it out of the answer",
    },
}
PREFIX = "AWS.SimpleQueueService."


@pytest.fixture(scope="module", params=[MEMORY, EMULATOR])
def engine(request) -> Iterator[Engine]:
    try:
        started = start_sqs(request.param)
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def expect_known_deviations(request, engine):
    engine.expect(request, DEVIATIONS)


class ContractQueue:
    """A new queue, and short forms of the requests."""

    def __init__(self, engine, attributes=None):
        self.client = engine.client
        self.name = f"queue-{uuid.uuid4().hex[:12]}"
        self.url = self.client.create_queue(QueueName=self.name, Attributes=attributes or {})["QueueUrl"]

    @property
    def arn(self):
        return self.attributes("QueueArn")["QueueArn"]

    def attributes(self, *names):
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names or ["All"]))
        return answer["Attributes"]

    def counts(self):
        """Return the numbers of visible messages and of messages in flight."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        known = self.attributes(*names)
        return tuple(int(known[name]) for name in names)

    def send(self, *bodies):
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        return self.client.send_message_batch(QueueUrl=self.url, Entries=entries)

    def receive(self, most=10, **request):
        answer = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=most, MessageSystemAttributeNames=["All"], **request
        )
        return answer.get("Messages", [])

    def delete(self, *messages):
        return self.client.delete_message_batch(QueueUrl=self.url, Entries=entries_for(messages))

    def hide(self, seconds, *messages):
        entries = [{**entry, "VisibilityTimeout": seconds} for entry in entries_for(messages)]
        return self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def start_move(self, **request):
        return self.client.start_message_move_task(SourceArn=self.arn, **request)["TaskHandle"]

    def move_tasks(self, most=1):
        return self.client.list_message_move_tasks(SourceArn=self.arn, MaxResults=most)["Results"]


def entries_for(messages):
    return [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]


@pytest.fixture
def queue(engine):
    return ContractQueue(engine)


@pytest.fixture
def dead(engine):
    return ContractQueue(engine)


@pytest.fixture
def fragile(engine, dead):
    """Return a queue that moves a message to `dead` after two receives."""
    policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2}
    return ContractQueue(engine, {"RedrivePolicy": json.dumps(policy)})


@contextmanager
def refused(code):
    with pytest.raises(ClientError) as raised:
        yield
    assert raised.value.response["Error"]["Code"] == code


def bodies(messages):
    return sorted(message["Body"] for message in messages)


def receives(message):
    return int(message["Attributes"]["ApproximateReceiveCount"])


def ids(answer, key="Successful"):
    return [entry["Id"] for entry in answer.get(key, [])]


# Sending and receiving


def test_sent_messages_are_received(queue):
    answer = queue.send("one", "zwei ☕ 🎁")
    assert ids(answer) == ["0", "1"]
    assert not answer.get("Failed")
    received = queue.receive()
    assert bodies(received) == ["one", "zwei ☕ 🎁"]
    for name, sent in (("MessageId", "MessageId"), ("MD5OfBody", "MD5OfMessageBody")):
        assert {one[name] for one in received} == {entry[sent] for entry in answer["Successful"]}


def test_single_message_is_sent(queue):
    answer = queue.client.send_message(QueueUrl=queue.url, MessageBody="one")
    [message] = queue.client.receive_message(QueueUrl=queue.url)["Messages"]
    assert message["MessageId"] == answer["MessageId"]
    assert "Attributes" not in message


def test_empty_queue_answers_without_messages(queue):
    assert "Messages" not in queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)


def test_system_attributes_of_two_receives(queue):
    queue.send("one")
    [first] = queue.receive(VisibilityTimeout=0)
    [second] = queue.receive()
    assert (receives(first), receives(second)) == (1, 2)
    assert set(second["Attributes"]) >= {"SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp"}
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert first["Attributes"][name] == second["Attributes"][name]
        assert len(first["Attributes"][name]) == 13  # milliseconds
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]


@pytest.mark.parametrize(
    ("code", "entry_ids"),
    [
        ("EmptyBatchRequest", []),
        ("TooManyEntriesInBatchRequest", [str(number) for number in range(11)]),
        ("BatchEntryIdsNotDistinct", ["same", "same"]),
        ("InvalidBatchEntryId", ["a b"]),
    ],
)
def test_wrong_batch_is_refused(queue, code, entry_ids):
    entries = [{"Id": one, "MessageBody": "x"} for one in entry_ids]
    with refused(PREFIX + code):
        queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert queue.counts() == (0, 0)


def test_errors_have_their_class(queue):
    with pytest.raises(queue.client.exceptions.TooManyEntriesInBatchRequest):
        queue.send(*map(str, range(11)))
    with pytest.raises(queue.client.exceptions.QueueDoesNotExist):
        queue.client.receive_message(QueueUrl=f"{queue.url}-not")


def test_batch_holds_one_mebibyte(queue):
    half = "x" * (512 * 1024)
    queue.send(half, half)
    with refused(f"{PREFIX}BatchRequestTooLong"):
        queue.send(half, half + "x")


def test_bad_entry_does_not_stop_the_others(queue):
    answer = queue.send("good", "bad \x00", "good too")
    assert ids(answer) == ["0", "2"]
    [failure] = answer["Failed"]
    assert (failure["Id"], failure["SenderFault"], failure["Code"]) == ("1", True, "InvalidMessageContents")
    assert bodies(queue.receive()) == ["good", "good too"]


def test_receive_takes_at_most_ten(queue):
    for _ in range(2):
        queue.send(*map(str, range(10)))
    assert len(queue.receive(10)) == 10
    for wrong in (0, 11):
        with refused("InvalidParameterValue"):
            queue.receive(wrong)


# After a receive


@pytest.mark.parametrize("request_", [{"VisibilityTimeout": 1}, {}], ids=["of the request", "of the queue"])
def test_received_message_is_hidden_until_its_timeout(engine, request_):
    queue = ContractQueue(engine, {"VisibilityTimeout": "30" if request_ else "1"})
    queue.send("one")
    assert len(queue.receive(**request_)) == 1
    assert queue.receive() == []
    assert queue.counts() == (0, 1)
    engine.wait(1.2)
    assert queue.counts() == (1, 0)
    assert [receives(message) for message in queue.receive()] == [2]


def test_deleted_message_does_not_return(queue, engine):
    queue.send("one", "two")
    messages = queue.receive(VisibilityTimeout=1)
    queue.delete(next(message for message in messages if message["Body"] == "one"))
    engine.wait(1.2)
    assert bodies(queue.receive()) == ["two"]


def test_deleting_twice_is_no_error(queue):
    queue.send("one")
    messages = queue.receive()
    for _ in range(2):
        assert ids(queue.delete(*messages)) == ["0"]
    assert queue.counts() == (0, 0)


def test_handle_deletes_after_its_timeout(queue):
    queue.send("one")
    queue.delete(*queue.receive(VisibilityTimeout=0))
    assert queue.receive() == []


def test_stale_handle_deletes_nothing(queue):
    queue.send("one")
    stale = queue.receive(VisibilityTimeout=0)
    fresh = queue.receive()
    assert ids(queue.delete(*stale)) == ["0"]
    assert queue.counts() == (0, 1)
    queue.delete(*fresh)
    assert queue.counts() == (0, 0)


def test_batch_delete_lists_failures(queue):
    queue.send("one", "two")
    answer = queue.delete(*queue.receive(), {"ReceiptHandle": "nonsense"})
    assert ids(answer) == ["0", "1"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("2", "ReceiptHandleIsInvalid")]
    assert queue.counts() == (0, 0)


def test_visibility_is_changed_from_now_on(queue, engine):
    queue.send("soon", "later")
    by_body = {message["Body"]: message for message in queue.receive(VisibilityTimeout=600)}
    queue.hide(1, by_body["soon"])
    queue.hide(900, by_body["later"])
    assert queue.receive() == []
    engine.wait(1.2)
    assert bodies(queue.receive()) == ["soon"]


def test_visibility_batch_lists_failures(queue):
    queue.send("one", "two")
    first, second = queue.receive()
    queue.delete(second)
    answer = queue.hide(0, first, second)
    assert (ids(answer), ids(answer, "Failed")) == (["0"], ["1"])
    assert queue.counts() == (1, 0)
    assert [receives(again) for again in queue.receive()] == [2]


@pytest.mark.parametrize(("seconds", "deleted"), [(43_201, False), (10, True)])
def test_refused_visibility(queue, seconds, deleted):
    queue.send("one")
    messages = queue.receive()
    if deleted:
        queue.delete(*messages)
    assert queue.hide(seconds, *messages)["Failed"][0]["Code"] == "InvalidParameterValue"


# Dead letters


def test_message_moves_to_the_dead_letters_instead_of_a_third_receive(fragile, dead):
    answer = fragile.send("one")
    for count in (1, 2):
        [message] = fragile.receive()
        assert receives(message) == count
        fragile.hide(0, message)
    assert dead.counts() == (0, 0)
    assert fragile.receive() == []
    assert fragile.counts() == (0, 0)
    [lost] = dead.receive()
    assert lost["Body"] == "one"
    assert lost["MessageId"] == answer["Successful"][0]["MessageId"]
    assert lost["Attributes"]["SentTimestamp"] == message["Attributes"]["SentTimestamp"]
    assert lost["Attributes"]["DeadLetterQueueSourceArn"] == fragile.arn


def make_dead_letters(queue, *texts):
    queue.send(*texts)
    for _ in range(2):
        queue.receive(VisibilityTimeout=0)
    assert queue.receive() == []


def test_move_task_returns_dead_letters_as_new_messages(fragile, dead, engine):
    make_dead_letters(fragile, "one")
    [lost] = dead.receive(VisibilityTimeout=0)
    assert dead.start_move()
    engine.wait(0.1)
    [back] = fragile.receive()
    assert (back["Body"], receives(back)) == ("one", 1)
    assert back["MessageId"] != lost["MessageId"]
    [listed] = dead.move_tasks()
    assert (listed["Status"], listed["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert "TaskHandle" not in listed
    assert dead.counts() == (0, 0)


def test_queue_has_one_running_move_task(fragile, dead):
    make_dead_letters(fragile, "one", "two", "three")
    handle = dead.start_move(MaxNumberOfMessagesPerSecond=1)
    with refused("InvalidParameterValue"):
        dead.start_move()
    [listed] = dead.move_tasks()
    assert (listed["Status"], listed["TaskHandle"]) == ("RUNNING", handle)
    assert listed["ApproximateNumberOfMessagesToMove"] == 3


def test_cancelled_move_task_leaves_the_rest(fragile, dead, engine):
    make_dead_letters(fragile, "one", "two", "three")
    handle = dead.start_move(MaxNumberOfMessagesPerSecond=1)
    dead.client.cancel_message_move_task(TaskHandle=handle)
    engine.wait(5)
    [listed] = dead.move_tasks()
    assert listed["Status"] == "CANCELLED"
    assert dead.counts()[0] == 3 - listed["ApproximateNumberOfMessagesMoved"] > 0
    with refused("InvalidParameterValue"):
        dead.client.cancel_message_move_task(TaskHandle=handle)


def test_move_task_needs_a_destination_for_sent_messages(fragile, dead, engine):
    dead.send("sent to the dead letters")
    dead.start_move()
    engine.wait(0.1)
    [listed] = dead.move_tasks()
    assert (listed["Status"], listed["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    dead.start_move(DestinationArn=fragile.arn)
    engine.wait(0.1)
    assert bodies(fragile.receive()) == ["sent to the dead letters"]


def test_move_tasks_are_listed_latest_first(fragile, dead, engine):
    for _ in range(11):
        dead.start_move()
        engine.wait(1)
    starts = [task["StartedTimestamp"] for task in dead.move_tasks(10)]
    assert len(starts) == 10
    assert starts == sorted(starts, reverse=True)
    with refused("InvalidParameterValue"):
        dead.move_tasks(11)


# Queues


def test_attributes_are_strings(fragile, dead):
    known = fragile.attributes()
    assert known["QueueArn"].endswith(f":{fragile.name}")
    assert (known["VisibilityTimeout"], known["MessageRetentionPeriod"]) == ("30", "345600")
    policy = json.loads(known["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (dead.arn, 2)


def test_attributes_can_be_set(queue):
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "7"})
    assert queue.attributes("VisibilityTimeout") == {"VisibilityTimeout": "7"}


def test_unknown_attribute_is_refused(queue):
    with refused("InvalidAttributeName"):
        queue.attributes("Colour")


def test_purged_queue_is_empty(queue):
    queue.send("one", "two")
    queue.receive(1)
    queue.client.purge_queue(QueueUrl=queue.url)
    assert queue.counts() == (0, 0)


def test_deleted_queue_does_not_exist(queue):
    queue.client.delete_queue(QueueUrl=queue.url)
    with refused(f"{PREFIX}NonExistentQueue"):
        queue.send("one")
