"""The measuring harness: transports that take as long as the services, Lambda's poller, and its checks."""

import json
import threading
import time

import boto3
import pytest
import stripe
from botocore.config import Config
from botocore.session import Session

from bench.harness.doubles import TABLE, FakeCloud
from bench.harness.event_source import WINDOW_SECONDS, BatchWindow, poll_queue
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
from bench.night import BATCH
from bench.shops import UniformShop
from recon.timestamps import to_run_id
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import LineSpec, RateLimits, SessionSpec

ACCESS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
KEY = {"PK": {"S": "a"}, "SK": {"S": "b"}}


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def cloud(clock):
    cloud = FakeCloud(RateLimits(None, 2))
    cloud.sqs._clock = clock
    return cloud


@pytest.fixture
def transport(cloud, clock):
    return DelayedTransport(cloud.handle, clock=clock, sleep=clock.sleep)


@pytest.fixture
def client(transport):
    """Return a function that creates a boto3 client over the transport, or over another one."""

    def make_client(service, over=transport, **config):
        session = Session()
        install_in_botocore(session, over)
        return boto3.Session(botocore_session=session, **ACCESS).client(service, config=Config(**config))

    return make_client


def stripe_client(transport):
    return stripe.StripeClient("sk_test_1", http_client=StripeTransport(transport), max_network_retries=0)


# --- waiting ------------------------------------------------------------------------------------------------


def test_each_call_takes_the_latency_of_its_service(cloud, client, transport, clock):
    cloud.stripe.store.add(SessionSpec("cs_1", NOW, lines=(LineSpec(),)))
    client("dynamodb").get_item(TableName=TABLE, Key=KEY)
    client("sqs").send_message(QueueUrl=cloud.queue, MessageBody="hello")
    client("lambda").invoke(FunctionName="producer", InvocationType="Event", Payload="{}")
    stripe_client(transport).v1.checkout.sessions.retrieve("cs_1")
    assert clock.slept == pytest.approx([LATENCY[name] for name in ("dynamodb", "sqs", "lambda", "stripe")])


def test_thread_sends_all_its_requests_over_one_connection(tmp_path):
    path, opened = tmp_path / "socket", []

    def take_over(connection, frame):
        opened.append(connection)
        return False

    server = FrameServer(path, lambda frame: frame, take_over)
    serving = threading.Thread(target=server.serve)
    serving.start()
    connections = ThreadConnections(path)
    assert [connections.request(Frame(name, b"")).name for name in "ab"] == ["a", "b"]
    connections.close()
    server.close()
    serving.join()
    assert len({id(connection) for connection in opened}) == 1


def test_time_of_the_response_counts_towards_the_latency(clock):
    def handle(frame):
        clock.now += 0.004 if frame.body else 0.5
        return Frame("200", b"{}")

    transport = DelayedTransport(handle, clock=clock, sleep=clock.sleep)
    transport.call("dynamodb.Query", b"quick")
    transport.call("dynamodb.Query", b"")
    assert clock.slept == pytest.approx([0.001])


def test_overlapping_calls_are_waited_for_once():
    calls = [TimedCall("a.X", 0, 2), TimedCall("a.Y", 1, 3), TimedCall("b.X", 1, 9), TimedCall("a.X", 5, 6)]
    assert waiting_seconds(calls, "a.") == 4
    assert waiting_seconds(calls, "") == 9


# --- responses and faults -----------------------------------------------------------------------------------


def test_failed_condition_is_the_clients_own_exception(client):
    dynamodb = client("dynamodb")
    item = KEY | {"n": {"N": "7"}, "names": {"L": [{"S": "ä"}]}}
    put = {"TableName": TABLE, "Item": item, "ConditionExpression": "attribute_not_exists(PK)"}
    dynamodb.put_item(**put)
    assert dynamodb.get_item(TableName=TABLE, Key=KEY)["Item"] == item
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(**put)
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(
            TransactItems=[{"Put": put | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}]
        )
    [reason] = cancelled.value.response["CancellationReasons"]
    assert (reason["Code"], reason["Item"]) == ("ConditionalCheckFailed", item)


def test_retry_of_botocore_takes_the_latency_again(client, clock):
    responses = [Frame("500", b'{"__type": "InternalServerError"}'), Frame("200", b"{}")]
    failing = DelayedTransport(lambda _: responses.pop(0), clock=clock, sleep=clock.sleep)
    dynamodb = client("dynamodb", failing, retries={"total_max_attempts": 2, "mode": "standard"})
    assert "Item" not in dynamodb.get_item(TableName=TABLE, Key=KEY)
    assert len(clock.slept) == 2


def test_stripe_errors_and_limits_reach_its_library(cloud, transport):
    cloud.stripe.store.add(SessionSpec("cs_1", NOW))
    sessions = stripe_client(transport).v1.checkout.sessions
    with pytest.raises(stripe.InvalidRequestError):
        sessions.retrieve("cs_2")
    assert sessions.retrieve("cs_1").id == "cs_1"
    with pytest.raises(stripe.RateLimitError):
        sessions.retrieve("cs_1")


# --- Lambda's poller ----------------------------------------------------------------------------------------


class InstantEvent(threading.Event):
    """An event for which waiting only advances a clock."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def wait(self, timeout=None):
        self.clock.now += timeout
        return self.is_set()


class LocalFunction(FrameConnection):
    """A connection to a function in this process, which is stopped after `count` batches."""

    def __init__(self, respond, stopped, count):
        self.batches = []
        self._respond, self._stopped, self._count = respond, stopped, count

    def request(self, frame):
        self.batches.append(json.loads(frame.body)["Records"])
        if len(self.batches) == self._count:
            self._stopped.set()
        return Frame("answer", json.dumps(self._respond(self.batches[-1])).encode())


def poll(cloud, clock, respond, count):
    """Return the sizes of the first `count` batches, and the failures."""
    stopped, failed = InstantEvent(clock), []
    function = LocalFunction(respond, stopped, count)
    poll_queue(function, BatchWindow(cloud.sqs, 0.01, stopped, clock=clock), cloud.queue, failed)
    return [len(batch) for batch in function.batches], failed


def send_messages(cloud, count):
    for n in range(count):
        cloud.sqs.send_message(QueueUrl=cloud.queue, MessageBody=str(n))


def test_partial_batch_is_sent_when_its_window_is_over(cloud, clock):
    send_messages(cloud, BATCH + 5)
    began = clock.now
    assert poll(cloud, clock, lambda _: {}, count=2) == ([BATCH, 5], [])
    assert WINDOW_SECONDS < clock.now - began < WINDOW_SECONDS + 0.5
    assert cloud.sqs.messages(cloud.queue) == []


def test_failed_message_stays_in_the_queue_and_is_reported(cloud, clock):
    def fail_second(records):
        kept.append(records[1]["body"])
        return {"batchItemFailures": [{"itemIdentifier": records[1]["messageId"]}]}

    kept = []
    send_messages(cloud, 3)
    _, failed = poll(cloud, clock, fail_second, count=1)
    assert [message.body for message in cloud.sqs.messages(cloud.queue)] == kept
    assert len(failed) == 1


# --- a whole run --------------------------------------------------------------------------------------------


def test_pipeline_completes_a_small_run_in_separate_processes():
    """Fifty sessions fill two batches; the measurement raises if the table is wrong."""
    shop = UniformShop(50, missing=0.2, now=int(time.time()))
    measurement = measure_pipeline(shop, RateLimits(None, None), {"STRIPE_MAX_RPS": "100"}, consumers=2)
    assert sorted(report.role for report in measurement.reports) == ["consumer", "consumer", "producer"]
    assert sum(report.invocations for report in measurement.reports) >= 3
    assert len(measurement.queue_seconds) == 50
    assert 0 < measurement.first_batch < measurement.seconds
    # 50 sessions never fill a batch, so that the last one waits for its window.
    assert max(batch.gathered for batch in measurement.late_batches) >= WINDOW_SECONDS


def test_missing_doubled_and_changed_orders_are_found():
    shop = UniformShop(4, missing=0.5)
    first, second = orders = list(shop.webhook_orders())
    doubled = first | {"SK": {"S": f"ORDER#1#{first['orderId']['S']}"}}
    changed = second | {"amount": {"N": "1"}}
    assert len(find_wrong_orders(shop, orders)) == 2
    problems = find_wrong_orders(shop, [first, doubled, changed])
    assert sum("has 2 orders" in problem for problem in problems) == 1
    assert sum("was changed" in problem for problem in problems) == 1


def test_wrong_counters_of_a_run_are_found():
    assert "status is None, not done" in find_miscounts(UniformShop(4, missing=0.5), [], to_run_id(NOW))
