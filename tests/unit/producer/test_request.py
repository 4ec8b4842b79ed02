"""The producer's event: every form that is right, and a clear refusal for every form that is not."""

import pytest

from producer.request import Continuation, Request, parse_request
from recon.domain.run import Trigger
from recon.errors import InvalidRequest
from testkit.builders import NOW

SCHEDULED, MANUAL = Trigger

SCHEDULER = {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"}
EVENTBRIDGE = {
    "version": "0",
    "id": "53dc4d37",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2024-11-27T02:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/nightly"],
    "detail": {},
}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, Request(MANUAL)),
        (SCHEDULER, Request(SCHEDULED, at=NOW)),
        (EVENTBRIDGE, Request(SCHEDULED, at=NOW)),
        ({"lookbackHours": 48}, Request(MANUAL, lookback_hours=48)),
        ({"lookbackHours": 1}, Request(MANUAL, lookback_hours=1)),
        ({"lookbackHours": 720}, Request(MANUAL, lookback_hours=720)),
        ({"maxSessions": 1}, Request(MANUAL, max_sessions=1)),
        ({"maxSessions": 10**9}, Request(MANUAL, max_sessions=10**9)),
        ({"dryRun": True}, Request(MANUAL, dry_run=True)),
        ({"dryRun": False}, Request(MANUAL, dry_run=False)),
        ({"requestedAt": "2024-11-27T03:00:00+01:00"}, Request(MANUAL, at=NOW)),
        ({**SCHEDULER, "lookbackHours": 48}, Request(SCHEDULED, at=NOW, lookback_hours=48)),
    ],
)
def test_every_right_event_is_understood(event, expected):
    assert parse_request(event) == expected


@pytest.mark.parametrize("name", ["lookbackHours", "maxSessions"])
@pytest.mark.parametrize("value", ["48", True, False, None, 1.5, 24.0, 0, -1, [], {}])
def test_a_number_that_is_no_integer_in_range_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest, match=f"{name} must be an integer from 1"):
        parse_request({name: value})


def test_a_lookback_of_more_than_thirty_days_is_refused():
    with pytest.raises(InvalidRequest, match="lookbackHours must be an integer from 1 to 720"):
        parse_request({"lookbackHours": 721})


@pytest.mark.parametrize("value", ["true", 1, 0, None, []])
def test_a_dry_run_is_true_or_false(value):
    with pytest.raises(InvalidRequest, match="dryRun must be true or false"):
        parse_request({"dryRun": value})


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        5,
        None,
        "2024-11-27",
        "2024-11-27T02:00:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "x" * 99,
    ],
)
@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({}, "requestedAt"),
        ({"trigger": "scheduled"}, "scheduledTime"),
        ({"source": "aws.events"}, "time"),
    ],
)
def test_a_time_is_an_iso_time_with_a_zone(event, name, value):
    with pytest.raises(InvalidRequest, match=f"{name} must be a UTC time"):
        parse_request({**event, name: value})


@pytest.mark.parametrize(
    ("value", "epoch"),
    [
        ("2001-09-09T01:46:40Z", 1_000_000_000),
        ("2099-12-31T23:59:59Z", 4_102_444_799),
        ("2024-11-27T02:00:00.00000000000000+00:00", NOW),  # of forty characters
    ],
)
def test_a_time_up_to_the_edges_of_what_stripe_may_have_is_taken(value, epoch):
    assert parse_request({"requestedAt": value}) == Request(MANUAL, at=epoch)


@pytest.mark.parametrize("value", ["2001-09-09T01:46:39Z", "2100-01-01T00:00:00Z"])
def test_a_time_beyond_the_edges_is_refused(value):
    with pytest.raises(InvalidRequest, match="requestedAt must be a UTC time"):
        parse_request({"requestedAt": value})


JANUARY, FEBRUARY = "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"from": JANUARY, "to": JANUARY}, "from must be before to"),
        (
            {"from": JANUARY, "to": FEBRUARY, "lookbackHours": 5},
            "lookbackHours cannot stand beside from and to",
        ),
    ],
)
def test_a_period_that_contradicts_itself_is_refused(event, told):
    with pytest.raises(InvalidRequest) as caught:
        parse_request(event)
    assert str(caught.value) == told


@pytest.mark.parametrize("event", [{"trigger": "scheduled"}, {"source": "aws.events"}])
def test_a_scheduled_run_needs_its_time(event):
    with pytest.raises(InvalidRequest, match="ime must be a UTC time"):
        parse_request(event)


def test_the_schedulers_unfilled_placeholder_is_refused():
    with pytest.raises(InvalidRequest, match="scheduledTime"):
        parse_request({"trigger": "scheduled", "scheduledTime": "<aws.scheduler.scheduled-time>"})


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"lookbackhours": 48}, "unknown lookbackhours"),
        ({"dry_run": True, "x": 1}, "unknown dry_run, x"),
        ({"scheduledTime": "2024-11-27T02:00:00Z"}, "unknown scheduledTime"),
        ({"trigger": "manual"}, "trigger"),
        ({"trigger": None}, "trigger"),
        ({"source": "aws.s3"}, "unknown source"),
        ({**SCHEDULER, "requestedAt": "2024-11-27T02:00:00Z"}, "requestedAt"),
    ],
)
def test_what_is_not_known_is_named(event, named):
    with pytest.raises(InvalidRequest, match=named):
        parse_request(event)


def test_of_what_is_not_known_no_more_is_repeated_than_a_line_holds():
    with pytest.raises(InvalidRequest) as caught:
        parse_request({"x" * 300: 1})
    assert str(caught.value).startswith(f"unknown {'x' * 200}; known are lookbackHours, ")


@pytest.mark.parametrize("event", [None, [], "{}", 5, True])
def test_an_event_is_an_object(event):
    with pytest.raises(InvalidRequest, match=r"^the event must be an object such as \{\}$"):
        parse_request(event)


def test_a_scheduled_run_is_named_after_its_schedule_alone():
    request = Request(SCHEDULED, at=NOW)
    assert request.run_id(NOW + 5, "aaaa") == request.run_id(NOW + 99, "bbbb") == "20241127T020000Z"


def test_a_manual_run_is_named_after_its_moment_and_its_request():
    assert Request(MANUAL).run_id(NOW, "8f-3c1-d2e7") == "20241127T020000Z-8f3c1d"
    assert Request(MANUAL, at=NOW).run_id(NOW + 60, "8f3c1d2e") == "20241127T020000Z-8f3c1d"


HOP = {"trigger": "continue", "runId": "20241127T020000Z", "hop": 3}


def test_a_hop_says_which_run_goes_on_and_which_time_it_is():
    assert parse_request(HOP) == Continuation("20241127T020000Z", 3)
    assert Continuation("20241127T020000Z", 3).event() == HOP


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"runId": None}, "runId must be a run's id"),
        ({"runId": 7}, "runId must be a run's id"),
        ({"runId": "no run"}, "runId must be a run's id"),
        ({"runId": "x" * 65}, "runId must be a run's id"),
        ({"hop": 0}, "hop must be an integer from 1"),
        ({"hop": True}, "hop must be an integer from 1"),
        ({"more": 1}, "unknown more; known are trigger, runId, hop"),
    ],
)
def test_a_hop_that_says_something_else_is_refused(changes, told):
    with pytest.raises(InvalidRequest) as caught:
        parse_request(HOP | changes)
    assert str(caught.value) == told


def test_a_hop_without_its_number_is_refused():
    with pytest.raises(InvalidRequest, match=r"^hop must be an integer from 1$"):
        parse_request({name: value for name, value in HOP.items() if name != "hop"})
