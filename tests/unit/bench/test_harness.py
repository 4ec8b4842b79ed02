"""The transports under boto3 and Stripe's library: they wait like the services, and lie about nothing."""

import json
import threading
import time

import boto3
import pytest
import stripe
from botocore.config import Config
from botocore.session import Session
from cfnlint.decode import decode_str

from bench.cost import TEMPLATE
from bench.harness import event_source
from bench.harness.cloud import TABLE, FakeCloud
from bench.harness.event_source import BatchWindow, poll_queue
from bench.harness.framing import Frame, FrameConnection, FrameServer, ThreadConnections
from bench.harness.runner import measure_pipeline
from bench.harness.table_checks import find_miscounts, find_wrong_orders
from bench.harness.transports import (
    LATENCY,
    DelayedTransport,
    StripeTransport,
    TimedCall,
    install_in_botocore,
    waiting_seconds,
)
from bench.shops import UniformShop
from recon.timestamps import to_run_id
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import LineSpec, RateLimits, SessionSpec

KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
NO_LIMITS = RateLimits(None, None)


@pytest.fixture
def cloud():
    return FakeCloud(RateLimits(None, 2))


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def transport(cloud, clock):
    return DelayedTransport(cloud.handle, clock=clock, sleep=clock.sleep)


@pytest.fixture
def session(transport):
    return session_over(transport)


def session_over(transport):
    bare = Session()
    install_in_botocore(bare, transport)
    return boto3.Session(botocore_session=bare, **KEYS)


def stripe_client(transport):
    return stripe.StripeClient("sk_test_1", http_client=StripeTransport(transport), max_network_retries=0)


# --- waiting ------------------------------------------------------------------------------------------------


def test_each_call_takes_as_long_as_its_service_would(cloud, session, transport, clock):
    cloud.stripe.store.add(SessionSpec("cs_1", NOW, connections=(LineSpec(),)))
    session.client("dynamodb").get_item(TableName=TABLE, Key={"PK": {"S": "a"}, "SK": {"S": "b"}})
    session.client("sqs").send_message(QueueUrl=cloud.queue, MessageBody="hello")
    session.client("lambda").invoke(FunctionName="producer", InvocationType="Event", Payload="{}")
    stripe_client(transport).v1.checkout.sessions.retrieve("cs_1")
    assert clock.slept == pytest.approx([LATENCY[name] for name in ("dynamodb", "sqs", "lambda", "stripe")])


def test_what_the_answer_took_is_not_slept_again():
    clock = FakeTime()

    def handle(frame):
        clock.now += 0.004 if frame.body else 0.5
        return Frame("200", b"{}")

    transport = DelayedTransport(handle, clock=clock, sleep=clock.sleep)
    transport("dynamodb.Query", b"quick")
    transport("dynamodb.Query", b"")
    assert clock.slept == pytest.approx([0.001])


def test_time_in_which_several_calls_are_waited_for_counts_once():
    calls = [TimedCall("a.X", 0, 2), TimedCall("a.Y", 1, 3), TimedCall("b.X", 1, 9), TimedCall("a.X", 5, 6)]
    assert waiting_seconds(calls, "a.") == 4
    assert waiting_seconds(calls, "") == 9


# --- answers and faults -------------------------------------------------------------------------------------


def test_what_boto3_writes_is_read_back_through_the_double(session):
    dynamodb = session.client("dynamodb")
    item = {"PK": {"S": "a"}, "SK": {"S": "b"}, "n": {"N": "7"}, "names": {"L": [{"S": "ä"}]}}
    dynamodb.put_item(TableName=TABLE, Item=item)
    answer = dynamodb.get_item(TableName=TABLE, Key={"PK": {"S": "a"}, "SK": {"S": "b"}})
    assert answer["Item"] == item


def test_a_refusal_of_the_double_is_the_clients_own_exception(session):
    dynamodb = session.client("dynamodb")
    item = {"PK": {"S": "a"}, "SK": {"S": "b"}}
    free = {"TableName": TABLE, "Item": item, "ConditionExpression": "attribute_not_exists(PK)"}
    dynamodb.put_item(**free)
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(**free)
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(
            TransactItems=[{"Put": free | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}]
        )
    [reason] = cancelled.value.response["CancellationReasons"]
    assert (reason["Code"], reason["Item"]) == ("ConditionalCheckFailed", item)


def test_an_answer_of_the_service_that_botocore_retries_is_retried_and_waited_for(clock):
    handle = [Frame("500", b'{"__type": "InternalServerError"}'), Frame("200", b"{}")]
    session = session_over(DelayedTransport(lambda _: handle.pop(0), clock=clock, sleep=clock.sleep))
    config = Config(retries={"total_max_attempts": 2, "mode": "standard"})
    client = session.client("dynamodb", config=config)
    assert "Item" not in client.get_item(TableName=TABLE, Key={"PK": {"S": "a"}, "SK": {"S": "b"}})
    assert len(clock.slept) == 2


def test_stripes_limits_and_refusals_reach_its_library(cloud, transport):
    cloud.stripe.store.add(SessionSpec("cs_1", NOW))
    client = stripe_client(transport)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.retrieve("cs_2")
    assert client.v1.checkout.sessions.retrieve("cs_1").id == "cs_1"
    with pytest.raises(stripe.RateLimitError):
        client.v1.checkout.sessions.retrieve("cs_1")


def test_a_line_carries_any_number_of_questions_of_any_size(tmp_path):
    def handle(frame):
        return Frame("200", frame.name.encode() + frame.body)

    server = FrameServer(tmp_path / "socket", handle, lambda *_: False)
    serving = threading.Thread(target=server.serve)
    serving.start()
    connections = ThreadConnections(tmp_path / "socket")
    for size in (0, 1, 10_000, 3_000_000):
        assert connections.request(Frame("name", b"x" * size)) == Frame("200", b"name" + b"x" * size)
    connections.close()
    server.close()
    serving.join()


# --- Lambda's poller ----------------------------------------------------------------------------------------


class AtOnce(threading.Event):
    """Whoever waits for it lets a clock go on instead."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def wait(self, timeout=None):
        self.clock.now += timeout
        return self.is_set()


def test_the_mapping_is_the_templates():
    properties = decode_str(TEMPLATE.read_text())[0]["Resources"]["ConsumerMapping"]["Properties"]
    said = (properties["BatchSize"], properties["MaximumBatchingWindowInSeconds"])
    assert said == (event_source.BATCH_SIZE, event_source.WINDOW_SECONDS)
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


class Function(FrameConnection):
    """The other end of a line, answered here."""

    def __init__(self, handle):
        self.events = []
        self._handle = handle

    def request(self, frame):
        self.events.append(json.loads(frame.body)["Records"])
        return Frame("answer", json.dumps(self._handle(self.events[-1])).encode())


def polled(cloud, clock, handle, until):
    """The sizes of the batches until so many came, and what failed."""
    stopped, failed = AtOnce(clock), []

    def answered(records):
        if len(function.events) == until:
            stopped.set()
        return handle(records)

    function = Function(answered)
    poll_queue(function, BatchWindow(cloud.sqs, 0.01, stopped, clock=clock), cloud.queue, failed)
    return function.events, failed


def sends(cloud, count):
    for n in range(count):
        cloud.sqs.send_message(QueueUrl=cloud.queue, MessageBody=str(n))


def test_a_full_batch_goes_at_once_and_the_rest_when_its_window_is_over(cloud, clock):
    cloud.sqs._clock = clock
    sends(cloud, 30)
    began = clock.now
    batches, failed = polled(cloud, clock, lambda _: {}, until=2)
    assert [len(batch) for batch in batches] == [25, 5]
    assert event_source.WINDOW_SECONDS < clock.now - began < event_source.WINDOW_SECONDS + 0.5
    assert (cloud.sqs.messages(cloud.queue), failed) == ([], [])


def test_what_the_function_gives_back_stays_in_the_queue_and_is_told(cloud, clock):
    cloud.sqs._clock = clock
    sends(cloud, 3)
    partly = lambda records: {"batchItemFailures": [{"itemIdentifier": records[1]["messageId"]}]}  # noqa: E731
    _, failed = polled(cloud, clock, partly, until=1)
    assert [message.body for message in cloud.sqs.messages(cloud.queue)] == ["1"]
    assert len(failed) == 1


# --- the whole, small ---------------------------------------------------------------------------------------


def test_the_pipeline_comes_through_a_small_night_in_processes_of_its_own():
    """It checks what it left, so that to come back is to be right. Full batches, which wait for no window."""
    measurement = measure_pipeline(
        UniformShop(50, 5, int(time.time())), NO_LIMITS, {"STRIPE_MAX_RPS": "100"}, consumers=2
    )
    assert sorted(report.role for report in measurement.reports) == ["consumer", "consumer", "producer"]
    assert sum(report.invocations for report in measurement.reports) >= 3
    assert len(measurement.waiting_seconds) == 50


def test_a_doubled_a_lost_and_a_touched_order_are_each_found():
    shop = UniformShop(4, 2, NOW)
    first, second = list(shop.webhook_orders())
    orders = [first, second | {"amount": {"N": "1"}}]
    doubled = first | {"SK": {"S": f"ORDER#1#{first['orderId']['S']}"}}
    assert len(find_wrong_orders(shop, list(shop.webhook_orders()))) == 2
    assert sum("has 2 orders" in problems for problems in find_wrong_orders(shop, [*orders, doubled])) == 1
    assert sum("was touched" in problems for problems in find_wrong_orders(shop, orders)) == 1


def test_a_run_that_counts_wrong_is_told():
    shop = UniformShop(4, 2, NOW)
    assert "status is None and not done" in find_miscounts(shop, [], to_run_id(NOW))
