"""A run is asked for once, and found again by what it was told."""

import io
import json
from concurrent.futures import Future

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from ops.errors import CommandError
from ops.runs.follow import Progress
from ops.runs.invocation import AnswerLost, ProducerFailed, build_event, in_background, invoke
from ops.runs.run_tracker import COLD_START_SECONDS, LOST_SECONDS, STUCK_SECONDS, RunTracker
from recon.dynamodb.records import Failure, Run
from recon.errors import InvalidRequest

NOW = 1_732_672_800  # 2024-11-27T02:00:00Z
URL = "https://lambda.example.invalid"


class Lambda:
    """Answers what it is told to, and counts."""

    def __init__(self, answer):
        self.answer = answer
        self.events = []

    def invoke(self, **request):
        self.events.append((request["FunctionName"], json.loads(request["Payload"])))
        if isinstance(self.answer, Exception):
            raise self.answer
        return {name: value for name, value in self.answer.items() if name != "Payload"} | {
            "Payload": io.BytesIO(json.dumps(self.answer["Payload"]).encode())
        }


def test_an_event_names_the_moment_and_nothing_that_was_not_asked_for():
    assert build_event(NOW) == {"requestedAt": "2024-11-27T02:00:00Z"}
    assert build_event(NOW, lookback_hours=48, max_sessions=5, dry_run=True) == {
        "requestedAt": "2024-11-27T02:00:00Z",
        "lookbackHours": 48,
        "maxSessions": 5,
        "dryRun": True,
    }


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lookback_hours": 721}, "lookbackHours"),
        ({"max_sessions": 0}, "maxSessions"),
        ({"period": ("2024-11-01T00:00:00Z", None)}, "to"),
        ({"period": ("2024-11-02T00:00:00Z", "2024-11-01T00:00:00Z")}, "from must be before to"),
        ({"lookback_hours": 1, "period": ("2024-11-01T00:00:00Z", "2024-11-02T00:00:00Z")}, "lookbackHours"),
    ],
)
def test_what_the_producer_would_refuse_is_refused_before_it_is_sent(wrong, named):
    with pytest.raises(InvalidRequest, match=named):
        build_event(NOW, **wrong)


def test_the_body_of_the_answer_is_handed_on():
    client = Lambda({"Payload": {"statusCode": 200, "body": {"runId": "r"}}})
    assert invoke(client, "producer", {}) == {"runId": "r"}
    assert client.events == [("producer", {})]


def test_a_producer_that_fails_or_refuses_says_why():
    failing = Lambda(
        {"FunctionError": "Unhandled", "Payload": {"errorType": "KeyRejected", "errorMessage": "Stripe: 401"}}
    )
    with pytest.raises(CommandError) as raised:
        invoke(failing, "producer", {})
    assert str(raised.value) == (
        "the producer failed: KeyRejected: Stripe: 401; check the Stripe key in its SSM parameter: "
        "its value, its account, its permissions; next: nightly-sync doctor"
    )
    refusing = Lambda({"Payload": {"statusCode": 400, "body": {"message": "from must be before to"}}})
    with pytest.raises(CommandError, match="from must be before to"):
        invoke(refusing, "producer", {})


@pytest.mark.parametrize(
    "lost", [ReadTimeoutError(endpoint_url=URL), ConnectionClosedError(endpoint_url=URL)]
)
def test_an_answer_that_is_lost_is_no_failure_and_nothing_is_sent_again(lost):
    client = Lambda(lost)
    with pytest.raises(AnswerLost):
        invoke(client, "producer", {})
    assert len(client.events) == 1


def test_where_nothing_was_sent_nothing_was_lost():
    with pytest.raises(EndpointConnectionError):
        invoke(Lambda(EndpointConnectionError(endpoint_url=URL)), "producer", {})


def test_what_happens_in_the_background_is_handed_over():
    assert in_background(lambda: {"runId": "r"}).result(timeout=5) == {"runId": "r"}
    with pytest.raises(CommandError):
        in_background(failing_call).result(timeout=5)


def failing_call():
    raise CommandError("no")


# Following


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Watched:
    """A watch whose runs begin when they are told to."""

    def __init__(self):
        self.begun = []
        self.processed = 0
        self.failure = None
        self.runs = self

    def find_by_time(self, moment):
        assert moment == NOW
        return self.begun

    def get(self, run_id):
        return Run(run_id, "manual", "", 25, 0, 1, failure=self.failure)

    def nothing_yet(self):
        return Progress(None, 0, 0, 0)

    def progress(self, run_id):
        return Progress(Run(run_id, "manual", "", 25, 0, 1, processed=self.processed), 0, 0, 0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def answer():
    return Future()


@pytest.fixture
def started(watched, answer, clock):
    return RunTracker(watched, NOW, answer, clock)


def test_a_run_is_found_by_its_moment_before_the_answer_comes(started, watched):
    assert started.look().run is None
    watched.begun = ["20241127T020000Z-abc123"]
    assert started.look().run.run_id == "20241127T020000Z-abc123"


def test_two_runs_of_one_second_are_told_apart_by_the_answer(started, watched, answer):
    watched.begun = ["20241127T020000Z-abc123", "20241127T020000Z-def456"]
    assert started.look().run is None
    answer.set_result({"runId": "20241127T020000Z-def456"})
    assert started.look().run.run_id == "20241127T020000Z-def456"


def test_a_failure_of_the_producer_ends_the_following(started, answer):
    answer.set_exception(CommandError("the producer failed"))
    with pytest.raises(CommandError, match="failed"):
        started.look()


def test_a_failure_names_the_run_that_it_left(started, watched, answer):
    watched.begun = ["20241127T020000Z-abc123"]
    answer.set_exception(ProducerFailed("StripeUnavailable", "Stripe: 500"))
    with pytest.raises(ProducerFailed) as raised:
        started.look()
    assert str(raised.value) == (
        "run 20241127T020000Z-abc123 failed: StripeUnavailable: Stripe: 500; "
        "next: nightly-sync logs 20241127T020000Z-abc123"
    )


def test_a_failure_is_told_by_the_record_of_the_run(started, watched, answer):
    """Lambda answers with the name of the class, or with one of its own."""
    watched.begun = ["20241127T020000Z-abc123"]
    watched.failure = Failure("KeyRejected", "Stripe: 401", "2024-11-27T02:00:09Z", 1, "8f3c")
    answer.set_exception(ProducerFailed("Runtime.HandlerError", "Stripe: 401"))
    with pytest.raises(ProducerFailed, match="abc123 failed: KeyRejected: Stripe: 401; check the Stripe key"):
        started.look()


@pytest.mark.parametrize("begun", [[], ["20241127T020000Z-abc123", "20241127T020000Z-def456"]])
def test_a_failure_without_a_run_leads_to_doctor(started, watched, answer, begun):
    watched.begun = begun
    answer.set_exception(ProducerFailed("ConfigError", "missing environment variables: COMMERCE_TABLE"))
    with pytest.raises(ProducerFailed) as raised:
        started.look()
    assert str(raised.value) == (
        "the producer failed: ConfigError: missing environment variables: COMMERCE_TABLE; "
        "correct the producer's settings; next: nightly-sync doctor"
    )


def test_a_lost_answer_does_not_end_it(started, watched, answer):
    answer.set_exception(AnswerLost("ReadTimeoutError"))
    assert started.look().run is None
    watched.begun = ["20241127T020000Z-abc123"]
    assert started.look().run is not None


def test_a_lost_answer_without_a_run_ends_it_in_the_end(started, answer, clock):
    answer.set_exception(AnswerLost("ReadTimeoutError"))
    clock.now = LOST_SECONDS + 1
    with pytest.raises(CommandError, match="safe"):
        started.look()


def test_a_run_that_does_not_move_is_stuck_until_it_moves(started, watched, clock):
    watched.begun = ["20241127T020000Z-abc123"]
    started.look()
    clock.now = STUCK_SECONDS + 1
    started.look()
    assert started.is_stuck
    watched.processed = 1
    started.look()
    assert not started.is_stuck


def test_nobody_waits_longer_for_a_name_than_a_cold_start_takes(started, watched, clock):
    assert started.name(clock.sleep) is None
    assert clock.now >= COLD_START_SECONDS
    watched.begun = ["20241127T020000Z-abc123"]
    assert started.name(clock.sleep) == "20241127T020000Z-abc123"
