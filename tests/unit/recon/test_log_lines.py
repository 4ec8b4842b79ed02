"""What the log says when something fails: the words of saved queries and of the runbook, and every id."""

import json
import uuid
from types import SimpleNamespace

import pytest

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from recon.errors import ConfigError
from recon.telemetry import Telemetry, frames
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import entries_rejected, on, throttled
from testkit.fake_stripe import SessionSpec
from testkit.world import SCHEDULED

FACTS = ("level", "message", "run_id", "session_id")


def said(capfd, level=None):
    """The log's lines, metrics apart."""
    lines = map(json.loads, capfd.readouterr().out.splitlines())
    return [line for line in lines if "_aws" not in line and level in (None, line["level"])]


def told(line, *facts):
    return tuple(line[name] for name in (*FACTS, *facts))


@pytest.fixture
def name():
    """Of a logger that nobody made before: one keeps the standard output it found when it was made, and
    mutmut runs the tests several times in a process."""
    return uuid.uuid4().hex


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_line_names_run_session_and_facts(level, name, capfd):
    getattr(Telemetry(name), level)("text", run_id="r", session_id="s", seconds=7)
    [line] = said(capfd)
    assert told(line, "seconds") == (level.upper(), "text", "r", "s", 7)
    assert line["service"] == f"stripe-nightly-sync-{name}"


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_line_names_the_place_that_said_it(level, name, capfd):
    getattr(Telemetry(name), level)("text", run_id="r")
    assert said(capfd)[0]["location"].startswith("test_a_line_names_the_place_that_said_it:")


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_line_of_no_session_says_so(level, name, capfd):
    getattr(Telemetry(name), level)("text", run_id="r")
    assert said(capfd)[0]["session_id"] == "-"


def test_what_saved_queries_look_for_is_said_whatever_level_the_environment_asks_for(
    name, capfd, monkeypatch
):
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "ERROR")
    Telemetry(name).info("text", run_id="r")
    assert said(capfd)[0]["message"] == "text"


def test_frames_say_where_and_not_what():
    try:
        raise ValueError("a secret")
    except ValueError as error:
        [frame] = frames(error)
    assert frame.endswith(" test_frames_say_where_and_not_what")
    assert frame.startswith(__file__)


def test_a_message_that_cannot_be_read_is_named(capfd, make_world):
    world = make_world()
    world.sends("no JSON")
    message_id = world.memory_sqs.messages(world.queue)[0].message_id
    world.deliver()
    [line] = said(capfd, "ERROR")
    assert told(line, "message_id") == (
        "ERROR",
        "Message cannot be read: the body is not JSON",
        "-",
        "-",
        message_id,
    )


def test_a_session_that_is_tried_again_later_says_why_and_how_often_it_was(capfd, make_world):
    world = make_world()
    world.sends(a_message())
    world.dynamodb.plan = on("transact_write_items", throttled())
    world.stripe.store.add(SessionSpec("cs_1", NOW - 3600))
    world.deliver()
    line = next(line for line in said(capfd, "WARNING") if line["message"].startswith("Session is tried"))
    assert line["message"].startswith("Session is tried again later: DynamoDB: ")
    assert (line["run_id"], line["session_id"]) == (RUN, "cs_1")
    assert (line["error_type"], line["receive_count"]) == ("TableUnavailable", 1)


def test_a_session_that_failed_for_good_says_why(capfd, make_world):
    world = make_world()
    world.sends(a_message(session_id="cs_unknown"))
    world.deliver()
    line = next(line for line in said(capfd, "ERROR") if line["message"].startswith("Session failed"))
    assert line["message"].startswith("Session failed: Stripe: InvalidRequestError")
    assert (line["run_id"], line["session_id"]) == (RUN, "cs_unknown")
    assert (line["error_type"], line["receive_count"]) == ("SessionNotFound", 1)


def test_a_session_that_is_skipped_says_why(capfd, make_world):
    world = make_world()
    world.sends(a_message(payment_status="unpaid"))
    world.deliver()
    line = next(line for line in said(capfd, "INFO") if line["message"].startswith("Skipped"))
    assert told(line, "reason") == ("INFO", "Skipped session: unpaid", RUN, "cs_1", "unpaid")


def test_a_message_whose_visibility_sqs_does_not_set_is_named(capfd, make_world):
    world = make_world()
    world.sends("no JSON")
    world.sqs.plan = on("change_message_visibility_batch", entries_rejected())
    world.deliver()
    [line] = said(capfd, "WARNING")
    assert told(line)[:3] == (
        "WARNING",
        "A message comes back with the queue's own visibility timeout: SQS rejected it",
        "-",
    )
    assert len(line["receipt"]) <= 20


@pytest.fixture
def broken_settings(make_world, monkeypatch):
    """A function whose environment lacks something; its telemetry is all there is."""

    def make(function):
        world = make_world()

        def clients():
            raise ConfigError("missing environment variables: COMMERCE_TABLE")

        monkeypatch.setattr(function, "clients", clients)
        monkeypatch.setattr(function, "telemetry", lambda: world.telemetry)
        return SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000, aws_request_id="8f3c1d2e-0000")

    return make


def test_a_batch_that_is_refused_says_why(capfd, broken_settings):
    context = broken_settings(consumer_function)
    with pytest.raises(ConfigError):
        consumer_function.lambda_handler({"Records": []}, context)
    [line] = said(capfd)
    assert told(line, "error_type") == (
        "ERROR",
        "Batch refused: missing environment variables: COMMERCE_TABLE",
        "-",
        "-",
        "ConfigError",
    )


def test_a_run_that_fails_says_why(capfd, broken_settings):
    context = broken_settings(producer_function)
    with pytest.raises(ConfigError):
        producer_function.lambda_handler(SCHEDULED, context)
    [line] = said(capfd)
    assert told(line, "error_type") == (
        "ERROR",
        "Sync failed: missing environment variables: COMMERCE_TABLE",
        RUN,
        "-",
        "ConfigError",
    )


def test_an_event_that_is_refused_says_why(capfd, make_world):
    world = make_world()
    assert world.produce({"trigger": "?"})["statusCode"] == 400
    [line] = said(capfd)
    assert told(line) == (
        "WARNING",
        'Refused: trigger must be "scheduled", or absent for a manual run',
        "-",
        "-",
    )


def test_a_bug_of_one_session_is_named_by_kind_and_place(capfd, make_world, monkeypatch):
    world = make_world()

    def bug(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("consumer.session_group.decide_from_stripe", bug)
    world.sends(a_message())
    world.deliver()
    lines = said(capfd)
    line = next(line for line in lines if line["message"] == "Unexpected ZeroDivisionError")
    assert (line["level"], line["run_id"], line["session_id"]) == ("ERROR", RUN, "cs_1")
    assert line["frames"][-1].endswith(" bug")
    later = next(line for line in lines if line["message"].startswith("Session is tried again later"))
    assert later["message"] == "Session is tried again later: ZeroDivisionError while the order was built"
    assert "a secret" not in str(lines)


def test_a_created_order_is_named_by_its_number(capfd, make_world):
    world = make_world()
    world.stripe.store.add(SessionSpec("cs_test_session1", NOW - 3600, metadata={"userId": "u1"}))
    world.night()
    lines = said(capfd)
    line = next(line for line in lines if line["message"].startswith("Created"))
    assert line["message"] == "Created order snapshot BC-SESSION1 via sync"
    assert (line["run_id"], line["session_id"]) == (RUN, "cs_test_session1")
    enqueued = next(line for line in lines if line["message"].startswith("Enqueued"))
    assert (enqueued["message"], enqueued["run_id"], enqueued["enqueued"]) == ("Enqueued 1 sessions", RUN, 1)
    done = next(line for line in lines if line["message"].startswith("Sync completed"))
    assert done["message"] == "Sync completed: processed=1, created=1, skipped=0, errors=0"
    assert (done["run_id"], done["seconds"]) == (RUN, 0)
