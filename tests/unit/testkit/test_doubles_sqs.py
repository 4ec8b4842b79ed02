"""What only the in-memory SQS has; what it shares with the service is in the contract suite."""

import random

import pytest
from botocore.exceptions import ClientError

from testkit.doubles.clock import Clock
from testkit.doubles.sqs import MemorySQS


def received(sqs: MemorySQS, url: str, most: int = 10) -> list[dict]:
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most).get("Messages", [])


def sent(sqs: MemorySQS, url: str, *bodies: str) -> dict:
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    return sqs.send_message_batch(QueueUrl=url, Entries=entries)


def test_entries_can_be_rejected_while_their_batch_succeeds():
    sqs = MemorySQS(rejects=lambda operation, entry: entry["Id"] == "1")
    url = sqs.add_queue("sessions")
    answer = sent(sqs, url, "a", "b", "c")
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "2"]
    (failure,) = answer["Failed"]
    assert (failure["Id"], failure["SenderFault"]) == ("1", False)
    assert sqs.bodies(url) == ["a", "c"]


def test_a_duplicate_comes_under_the_same_id_and_outlives_the_original():
    sqs = MemorySQS(Clock())
    url = sqs.add_queue("sessions")
    sent(sqs, url, "a")
    (first,) = received(sqs, url)
    sqs.duplicate(url, first["MessageId"])
    (second,) = received(sqs, url)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert sqs.bodies(url) == ["a"]


def test_messages_come_in_any_order_but_always_the_same_for_a_seed():
    orders = []
    for seed in (1, 1, 2):
        sqs = MemorySQS(Clock(), rng=random.Random(seed))
        url = sqs.add_queue("sessions")
        sent(sqs, url, *"abcdefgh")
        orders.append([message["Body"] for message in received(sqs, url)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list("abcdefgh") != orders[0]


def test_messages_are_lost_after_their_retention():
    clock = Clock()
    sqs = MemorySQS(clock)
    url = sqs.create_queue(QueueName="short", Attributes={"MessageRetentionPeriod": "60"})["QueueUrl"]
    sent(sqs, url, "a")
    clock.advance(60)
    assert sqs.bodies(url) == ["a"]
    clock.advance(1)
    assert sqs.bodies(url) == []


def test_a_visibility_cannot_be_prolonged_beyond_twelve_hours_of_the_receive():
    clock = Clock()
    sqs = MemorySQS(clock)
    url = sqs.add_queue("sessions")
    sent(sqs, url, "a")
    (message,) = received(sqs, url)
    change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    sqs.change_message_visibility(**change, VisibilityTimeout=43_200)
    clock.advance(60)
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        sqs.change_message_visibility(**change, VisibilityTimeout=43_200)
    sqs.change_message_visibility(**change, VisibilityTimeout=43_140)


def test_a_service_without_move_tasks_says_so():
    sqs = MemorySQS(move_tasks=False)
    dead = sqs.add_queue("dead")
    sqs.add_queue("sessions", dead_letters=dead)
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    with pytest.raises(ClientError) as raised:
        sqs.start_message_move_task(SourceArn=arn)
    assert raised.value.response["Error"]["Code"] == "InvalidAction"


def test_only_a_dead_letter_queue_can_be_moved_back():
    sqs = MemorySQS()
    url = sqs.add_queue("sessions")
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    with pytest.raises(ClientError, match="must be configured as a Dead Letter Queue"):
        sqs.start_message_move_task(SourceArn=arn)
    with pytest.raises(sqs.exceptions.ResourceNotFoundException):
        sqs.start_message_move_task(SourceArn=f"{arn}-not")


def test_a_move_task_leaves_what_is_in_flight():
    clock = Clock()
    sqs = MemorySQS(clock)
    dead = sqs.add_queue("dead")
    url = sqs.add_queue("sessions", visibility=0, dead_letters=dead, max_receives=1)
    sent(sqs, url, "a", "b")
    received(sqs, url)
    assert received(sqs, url) == []
    (held,) = received(sqs, dead, most=1)
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.start_message_move_task(SourceArn=arn)
    assert sqs.bodies(dead) == [held["Body"]]
    assert sorted([*sqs.bodies(dead), *sqs.bodies(url)]) == ["a", "b"]


def test_the_time_of_the_next_message_is_known():
    clock = Clock(1000)
    sqs = MemorySQS(clock)
    url = sqs.add_queue("sessions", visibility=30)
    assert sqs.next_visible_at(url) is None
    sent(sqs, url, "a")
    assert sqs.next_visible_at(url) == 1000
    received(sqs, url)
    assert sqs.next_visible_at(url) == 1030


def test_equal_queues_have_equal_dumps():
    dumps = []
    for bodies in ("ab", "ab", "ac"):
        sqs = MemorySQS(Clock())
        sent(sqs, sqs.add_queue("sessions"), *bodies)
        dumps.append(sqs.dump())
    assert dumps[0] == dumps[1] != dumps[2]
