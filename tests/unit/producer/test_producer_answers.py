"""The producer's handler: what it answers and logs for each kind of end, and what it makes of its context."""

import json

import pytest

from producer.dry_run import TRUNCATED
from producer.response import build_response
from recon.dynamodb.records import Run
from recon.errors import InvalidRequest, OutOfTime, Unexpected
from recon.timestamps import HOUR, to_iso
from testkit.builders import NOW, RUN
from testkit.doubles.faults import on, throttled
from testkit.fake_stripe import SessionSpec
from testkit.world import SCHEDULED

MANUAL = "20241127T020000Z-8f3c1d"


def sells(world, count):
    for n in range(count):
        world.sells(SessionSpec(f"cs_test_session{n}", NOW - HOUR - n, metadata={"userId": f"u{n}"}))


def lines(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def said(capfd):
    """(level, text, run) of each line, metrics apart."""
    return [(line["level"], line["message"], line["run_id"]) for line in lines(capfd) if "_aws" not in line]


# Refused, failed


def test_a_refusal_says_what_is_wrong(world):
    assert world.produce({"dryRun": 1}) == {
        "statusCode": 400,
        "body": {"status": "error", "error": "InvalidRequest", "message": "dryRun must be true or false"},
    }


def test_an_event_for_a_run_that_is_not_there_names_it(capfd, make_world):
    world = make_world()
    told = "runId must be that of a run; there is no 20200101T000000Z"
    with pytest.raises(InvalidRequest, match=told):
        world.produce({"trigger": "continue", "runId": "20200101T000000Z", "hop": 1})
    [line] = lines(capfd)
    assert (line["level"], line["message"], line["run_id"]) == (
        "ERROR",
        f"Refused: {told}",
        "20200101T000000Z",
    )


def test_a_bug_is_told_by_its_kind_and_its_place(capfd, make_world, monkeypatch):
    world = make_world()

    def breaks(*_):
        raise ValueError("secret@example.com")

    monkeypatch.setattr("producer.lambda_function.plan", breaks)
    with pytest.raises(Unexpected, match=r"^ValueError$"):
        world.produce()
    [line] = lines(capfd)
    told = (line["level"], line["message"], line["run_id"], line["error_type"])
    assert told == ("ERROR", "Unexpected ValueError", RUN, "ValueError")
    assert line["frames"][-1].endswith(" breaks")


# The invocation's time and place


def test_a_request_that_could_outlast_the_invocation_is_not_begun(world):
    """Half of a short life is kept for handing over; the other half has to hold a whole request."""
    with pytest.raises(OutOfTime):
        world.produce(timeout=2 * world.stripe_timeout - 0.01)
    assert world.produce(timeout=2 * world.stripe_timeout + 0.01)["statusCode"] == 200


# Runs


def test_a_run_by_hand_is_answered_with_the_hours_it_was_asked_for(world):
    assert world.body({"lookbackHours": 48})["lookbackHours"] == 48
    assert world.body({"requestedAt": to_iso(NOW + HOUR)})["lookbackHours"] == 25


def test_a_run_whose_moment_is_given_is_named_after_it_whatever_the_request_began_before(world):
    assert world.body({})["runId"] == MANUAL
    assert world.body({"requestedAt": to_iso(NOW + HOUR)})["runId"] == "20241127T030000Z-8f3c1d"
    assert world.body({})["runId"] == MANUAL


def test_a_run_by_hand_that_lambda_repeats_later_is_the_one_that_the_request_began(world):
    world.body({})
    world.clock.now += 60
    assert world.body({})["runId"] == MANUAL


def test_only_a_scheduled_run_tells_of_the_watermark_when_it_begins(capfd, make_world):
    world = make_world()
    world.body()
    sells(world, 1)
    capfd.readouterr()
    world.body({"requestedAt": to_iso(NOW + HOUR)})
    assert "WatermarkAgeSeconds" not in capfd.readouterr().out


def test_a_run_that_has_created_nothing_asks_for_no_orders(world):
    world.body()
    before = len(world.history.calls)
    world.body()
    queries = [str(call.arguments) for call in world.history.calls[before:] if call.method == "query"]
    assert queries
    assert not any(f"SYNC_RUN#{RUN}" in query for query in queries)


def test_the_orders_of_a_run_are_read_also_while_the_table_throttles(world):
    sells(world, 2)
    world.night()
    queries = world.history.count("query")
    world.dynamodb.plan = on("query", throttled(), nth=queries + 2)
    body = world.body()
    assert sorted(body["createdOrders"]) == ["BC-SESSION0", "BC-SESSION1"]
    hop = {"trigger": "continue", "runId": RUN, "hop": 1}
    world.dynamodb.plan = on("query", throttled(), nth=world.history.count("query") + 1)
    assert sorted(world.body(hop)["createdOrders"]) == ["BC-SESSION0", "BC-SESSION1"]
    assert world.history.faults().total() == 2


@pytest.mark.parametrize(
    ("status", "errors", "said_as"),
    [
        ("done", 0, "success"),
        ("done", 1, "completed_with_errors"),
        ("running", 1, "running"),
        ("failed", 0, "running"),
    ],
)
def test_a_run_is_called_by_how_it_ended(status, errors, said_as):
    run = Run(RUN, "scheduled", to_iso(NOW), 25, NOW - HOUR, NOW, status=status, errors=errors)
    assert build_response(run, [])["status"] == said_as


# Previews


def test_a_preview_reads_the_table_also_while_it_throttles(world):
    sells(world, 1)
    # The first asks for the run that the request began before, the second for the customer's orders.
    world.dynamodb.plan = on("query", throttled(), nth=2)
    assert world.body({"dryRun": True})["created"] == 1
    assert world.history.faults().total() == 1


def test_a_preview_adds_up_what_it_skips_over_all_pages(world):
    for n in range(150):
        world.sells(SessionSpec(f"cs_test_{n:03}", NOW - HOUR - n, payment_status="unpaid"))
    body = world.body({"dryRun": True})
    assert (body["processed"], body["skipped"]) == (150, 150)


def test_a_preview_by_hand_leaves_nothing_to_the_next_run_and_a_scheduled_one_does(make_world):
    world = make_world(SYNC_DRY_RUN="true")
    world.sells(SessionSpec("cs_test_young", NOW - HOUR, completed_at=NOW - 60, metadata={"userId": "u1"}))
    assert world.body({"from": to_iso(NOW - 2 * HOUR), "to": to_iso(NOW - 600)})["created"] == 1
    assert world.body(SCHEDULED)["created"] == 0


def test_a_scheduled_preview_is_all_in_the_log_with_its_warnings(capfd, make_world):
    world = make_world(SYNC_DRY_RUN="true")
    sells(world, 3)
    build_response = world.produce({**SCHEDULED, "maxSessions": 2})
    assert (build_response["body"]["dryRun"], build_response["body"]["warnings"]) == (True, [TRUNCATED])
    assert said(capfd) == [
        ("INFO", "Preview: processed=2, created=2, skipped=0, errors=0", RUN),
        ("WARNING", TRUNCATED, RUN),
    ]
