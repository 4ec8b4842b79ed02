"""What only the in-memory SQS has; what it shares with the service is in the contract suite."""

import random

import pytest
from botocore.exceptions import ClientError

from testkit.doubles.clock import ManualClock
from testkit.doubles.sqs import MemorySQS


@pytest.fixture
def clock():
    return ManualClock(1000)


@pytest.fixture
def sqs(clock):
    return MemorySQS(clock.time)


@pytest.fixture
def url(sqs):
    return sqs.add_queue("sessions")


@pytest.fixture
def dead(sqs):
    """Return the URL of the dead-letter queue of a queue `fragile` with one receive per message."""
    dead = sqs.add_queue("dead")
    sqs.add_queue("fragile", visibility=0, dead_letters=dead, max_receives=1)
    return dead


def receive(sqs, url, most=10):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most).get("Messages", [])


def send(sqs, url, *bodies):
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    return sqs.send_message_batch(QueueUrl=url, Entries=entries)


def arn_of_queue(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def test_entries_can_be_rejected_in_a_successful_batch(sqs, url):
    sqs.rejects = lambda operation, entry: entry["Id"] == "1"
    answer = send(sqs, url, "a", "b", "c")
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "2"]
    [failure] = answer["Failed"]
    assert (failure["Id"], failure["SenderFault"]) == ("1", False)
    assert sqs.bodies(url) == ["a", "c"]


def test_duplicate_has_the_same_id_and_remains(sqs, url):
    send(sqs, url, "a")
    [first] = receive(sqs, url)
    sqs.duplicate(url, first["MessageId"])
    [second] = receive(sqs, url)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    entry = {"Id": "0", "ReceiptHandle": first["ReceiptHandle"]}
    sqs.delete_message_batch(QueueUrl=url, Entries=[entry])
    assert sqs.bodies(url) == ["a"]


def test_order_is_random_and_determined_by_the_seed():
    orders = []
    for seed in (1, 1, 2):
        sqs = MemorySQS(rng=random.Random(seed))
        url = sqs.add_queue("sessions")
        send(sqs, url, *"abcdefgh")
        orders.append([message["Body"] for message in receive(sqs, url)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list("abcdefgh") != orders[0]


def test_message_is_lost_after_its_retention(sqs, clock):
    url = sqs.create_queue(QueueName="short", Attributes={"MessageRetentionPeriod": "60"})["QueueUrl"]
    send(sqs, url, "a")
    clock.advance(60)
    assert sqs.bodies(url) == ["a"]
    clock.advance(1)
    assert sqs.bodies(url) == []


def test_visibility_ends_twelve_hours_after_the_receive(sqs, url, clock):
    send(sqs, url, "a")
    [message] = receive(sqs, url)

    def change(seconds):
        entry = {"Id": "0", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": seconds}
        return sqs.change_message_visibility_batch(QueueUrl=url, Entries=[entry])

    assert "Failed" not in change(43_200)
    clock.advance(60)
    assert change(43_200)["Failed"][0]["Code"] == "InvalidParameterValue"
    assert "Failed" not in change(43_140)


def test_service_without_move_tasks_refuses_them(sqs, dead):
    sqs.move_tasks = False
    with pytest.raises(ClientError) as raised:
        sqs.start_message_move_task(SourceArn=arn_of_queue(sqs, dead))
    assert raised.value.response["Error"]["Code"] == "InvalidAction"


def test_move_task_needs_a_dead_letter_queue(sqs, url):
    arn = arn_of_queue(sqs, url)
    with pytest.raises(ClientError, match="must be configured as a Dead Letter Queue"):
        sqs.start_message_move_task(SourceArn=arn)
    with pytest.raises(sqs.exceptions.ResourceNotFoundException):
        sqs.start_message_move_task(SourceArn=f"{arn}-not")


def test_move_task_leaves_messages_in_flight(sqs, dead):
    fragile = dead.replace("/dead", "/fragile")
    send(sqs, fragile, "a", "b")
    assert len(receive(sqs, fragile)) == 2
    assert receive(sqs, fragile) == []
    [held] = receive(sqs, dead, most=1)
    sqs.start_message_move_task(SourceArn=arn_of_queue(sqs, dead))
    assert sqs.bodies(dead) == [held["Body"]]
    assert sorted([*sqs.bodies(dead), *sqs.bodies(fragile)]) == ["a", "b"]


def test_next_visible_at(sqs, url):
    assert sqs.next_visible_at(url) is None
    send(sqs, url, "a")
    assert sqs.next_visible_at(url) == 1000
    receive(sqs, url)
    assert sqs.next_visible_at(url) == 1030


def test_equal_queues_have_equal_dumps():
    dumps = []
    for bodies in ("ab", "ab", "ac"):
        sqs = MemorySQS(ManualClock().time)
        send(sqs, sqs.add_queue("sessions"), *bodies)
        dumps.append(sqs.dump())
    assert dumps[0] == dumps[1] != dumps[2]
