"""A run is requested once and then found by the moment of the request or by the answer."""

import io
import json
from concurrent.futures import Future

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from ops.errors import CommandError
from ops.runs.failures import DOCTOR
from ops.runs.follow import RunProgress
from ops.runs.invocation import AnswerLost, ProducerError, build_event, invoke, run_in_background
from ops.runs.run_tracker import COLD_START_SECONDS, LOST_SECONDS, STUCK_SECONDS, RunTracker
from recon.dynamodb.records import Failure, Run
from testkit.builders import NOW, FakeTime

MOMENT = "2024-11-27T02:00:00Z"
URL = "https://lambda.example.invalid"
RUN_ID, OTHER_ID = "20241127T020000Z-abc123", "20241127T020000Z-def456"


class Lambda:
    """A Lambda client that returns a payload or raises, and counts the invocations."""

    def __init__(self, payload, **answer):
        self.payload, self.answer = payload, answer
        self.events = []

    def invoke(self, **request):
        self.events.append((request["FunctionName"], json.loads(request["Payload"])))
        if isinstance(self.payload, Exception):
            raise self.payload
        return self.answer | {"Payload": io.BytesIO(json.dumps(self.payload).encode())}


def test_event_has_the_moment_and_the_given_options_only():
    assert build_event(NOW) == {"requestedAt": MOMENT}
    options = {"lookbackHours": 48, "maxSessions": 5, "dryRun": True}
    event = build_event(NOW, lookback_hours=48, max_sessions=5, dry_run=True)
    assert event == {"requestedAt": MOMENT} | options


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"lookback_hours": 721}, "^--lookback-hours must be an integer from 1 to 720$"),
        ({"max_sessions": 0}, "^--limit must be an integer from 1$"),
        ({"period": (0, NOW)}, "^--from must be a UTC time"),
        ({"period": (NOW, NOW - 1)}, "^--from must be before --to$"),
        (
            {"lookback_hours": 1, "period": (NOW - 1, NOW)},
            "^--lookback-hours cannot be combined with --from and --to$",
        ),
    ],
)
def test_event_that_the_producer_would_refuse_is_named_by_its_option(wrong, name):
    with pytest.raises(CommandError, match=name):
        build_event(NOW, **wrong)


def test_invoke_returns_the_body():
    client = Lambda({"statusCode": 200, "body": {"runId": "r"}})
    assert invoke(client, "producer", {}) == {"runId": "r"}
    assert client.events == [("producer", {})]


@pytest.mark.parametrize(
    ("client", "error", "message"),
    [
        (
            Lambda({"errorType": "KeyRejected", "errorMessage": "Stripe: 401"}, FunctionError="Unhandled"),
            ProducerError,
            f"^the producer failed: KeyRejected: Stripe: 401; check the Stripe key .*; next: {DOCTOR}$",
        ),
        (
            Lambda({"statusCode": 400, "body": {"message": "from must be before to"}}),
            CommandError,
            "^the producer refused: --from must be before --to$",
        ),
        (Lambda(ReadTimeoutError(endpoint_url=URL)), AnswerLost, "ReadTimeoutError"),
        (Lambda(ConnectionClosedError(endpoint_url=URL)), AnswerLost, "ConnectionClosedError"),
        # Nothing was sent, so no answer is lost.
        (Lambda(EndpointConnectionError(endpoint_url=URL)), EndpointConnectionError, "Could not connect"),
    ],
)
def test_invoke_raises_the_failure_and_never_retries(client, error, message):
    with pytest.raises(error, match=message):
        invoke(client, "producer", {})
    assert len(client.events) == 1


def test_background_call_passes_on_result_and_error():
    def fail():
        raise CommandError("no")

    assert run_in_background(lambda: {"runId": "r"}).result(timeout=5) == {"runId": "r"}
    with pytest.raises(CommandError):
        run_in_background(fail).result(timeout=5)


# Tracking


class StartedReader:
    """A progress reader whose runs the test starts."""

    def __init__(self):
        self.run_ids = []
        self.processed = 0
        self.failure = None
        self.runs = self

    def find_by_time(self, moment):
        assert moment == NOW
        return self.run_ids

    def get(self, run_id):
        return Run(run_id, "manual", "", 25, 0, 1, failure=self.failure)

    def read_queues(self):
        return RunProgress(None, 0, 0, 0)

    def read(self, run_id):
        return RunProgress(Run(run_id, "manual", "", 25, 0, 1, processed=self.processed), 0, 0, 0)


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def reader():
    return StartedReader()


@pytest.fixture
def answer():
    return Future()


@pytest.fixture
def tracker(reader, answer, clock):
    return RunTracker(reader, NOW, answer, clock)


@pytest.mark.parametrize("is_lost", [False, True])
def test_run_is_found_by_its_moment_without_an_answer(tracker, reader, answer, is_lost):
    if is_lost:
        answer.set_exception(AnswerLost("ReadTimeoutError"))
    assert tracker.poll().run is None
    reader.run_ids = [RUN_ID]
    assert tracker.poll().run.run_id == RUN_ID


def test_runs_of_the_same_second_are_told_apart_by_the_answer(tracker, reader, answer):
    reader.run_ids = [RUN_ID, OTHER_ID]
    assert tracker.poll().run is None
    answer.set_result({"runId": OTHER_ID})
    assert tracker.poll().run.run_id == OTHER_ID


KEY_FAILURE = Failure("KeyRejected", "Stripe: 401", MOMENT, 1, "8f3c")
STRIPE_ERROR, NO_TABLE = ("StripeUnavailable", "Stripe: 500"), ("ConfigError", "missing: X")
STRIPE_MESSAGE = f"run {RUN_ID} failed: StripeUnavailable: Stripe: 500; next: nightly-sync logs {RUN_ID}"
NO_TABLE_MESSAGE = (
    f"the producer failed: ConfigError: missing: X; correct the producer's settings; next: {DOCTOR}"
)
KEY_MESSAGE = f"run {RUN_ID} failed: KeyRejected: Stripe: 401; check the Stripe key"


@pytest.mark.parametrize(
    ("run_ids", "recorded", "error", "message"),
    [
        ([RUN_ID], None, STRIPE_ERROR, STRIPE_MESSAGE),
        # Lambda's answer may name another class than the record.
        ([RUN_ID], KEY_FAILURE, ("Runtime.HandlerError", "Stripe: 401"), KEY_MESSAGE),
        ([], None, NO_TABLE, NO_TABLE_MESSAGE),
        ([RUN_ID, OTHER_ID], KEY_FAILURE, NO_TABLE, NO_TABLE_MESSAGE),
    ],
)
def test_failure_of_the_producer_names_run_and_cause(
    tracker, reader, answer, run_ids, recorded, error, message
):
    reader.run_ids, reader.failure = run_ids, recorded
    answer.set_exception(ProducerError(*error))
    with pytest.raises(ProducerError, match=f"^{message}"):
        tracker.poll()


def test_lost_answer_without_a_run_is_raised_in_the_end(tracker, answer, clock):
    answer.set_exception(AnswerLost("ReadTimeoutError"))
    clock.now += LOST_SECONDS + 1
    with pytest.raises(CommandError, match="safe"):
        tracker.poll()


def test_run_is_stuck_until_a_counter_changes(tracker, reader, clock):
    reader.run_ids = [RUN_ID]
    tracker.poll()
    clock.now += STUCK_SECONDS + 1
    tracker.poll()
    assert tracker.is_stuck
    reader.processed = 1
    tracker.poll()
    assert not tracker.is_stuck


def test_wait_for_run_id_ends_after_a_cold_start(tracker, reader, clock):
    started = clock.now
    assert tracker.wait_for_run_id(clock.sleep) is None
    assert clock.now - started >= COLD_START_SECONDS
    reader.run_ids = [RUN_ID]
    assert tracker.wait_for_run_id(clock.sleep) == RUN_ID
