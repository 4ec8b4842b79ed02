"""The producer's event: each valid form, and a clear refusal of every other one."""

import pytest

from producer.request import Continuation, Request, parse_request
from recon.domain.run import Trigger
from recon.errors import InvalidRequest
from testkit.builders import NOW

SCHEDULED, MANUAL = Trigger
TIME = "2024-11-27T02:00:00Z"
SCHEDULER = {"trigger": "scheduled", "scheduledTime": TIME}
EVENTBRIDGE = {
    "version": "0",
    "id": "53dc4d37",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": TIME,
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/nightly"],
    "detail": {},
}
JANUARY, FEBRUARY = "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"
CONTINUATION = {"trigger": "continue", "runId": "20241127T020000Z", "hop": 3}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, Request(MANUAL)),
        (SCHEDULER, Request(SCHEDULED, at=NOW)),
        (EVENTBRIDGE, Request(SCHEDULED, at=NOW)),
        ({"lookbackHours": 1}, Request(MANUAL, lookback_hours=1)),
        ({"lookbackHours": 720}, Request(MANUAL, lookback_hours=720)),
        ({"maxSessions": 1}, Request(MANUAL, max_sessions=1)),
        ({"maxSessions": 10**9}, Request(MANUAL, max_sessions=10**9)),
        ({"dryRun": True}, Request(MANUAL, dry_run=True)),
        ({"dryRun": False}, Request(MANUAL, dry_run=False)),
        ({"from": JANUARY, "to": FEBRUARY}, Request(MANUAL, period=(1_704_067_200, 1_706_745_600))),
        ({**SCHEDULER, "lookbackHours": 48}, Request(SCHEDULED, at=NOW, lookback_hours=48)),
        (CONTINUATION, Continuation("20241127T020000Z", 3)),
        ({"requestedAt": "2024-11-27T03:00:00+01:00"}, Request(MANUAL, at=NOW)),
        # The longest form of a time, and the first and last valid times.
        ({"requestedAt": "2024-11-27T02:00:00.00000000000000+00:00"}, Request(MANUAL, at=NOW)),
        ({"requestedAt": "2001-09-09T01:46:40Z"}, Request(MANUAL, at=1_000_000_000)),
        ({"requestedAt": "2099-12-31T23:59:59Z"}, Request(MANUAL, at=4_102_444_799)),
    ],
)
def test_valid_event_is_parsed(event, expected):
    assert parse_request(event) == expected


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        *((event, r"^the event must be an object such as \{\}$") for event in (None, [], "{}", 5, True)),
        *(
            ({name: value}, f"^{name} must be an integer from 1")
            for name in ("lookbackHours", "maxSessions")
            for value in ("48", True, False, None, 1.5, 24.0, 0, -1, [], {})
        ),
        ({"lookbackHours": 721}, "^lookbackHours must be an integer from 1 to 720$"),
        *(({"dryRun": value}, "^dryRun must be true or false$") for value in ("true", 1, 0, None, [])),
        ({"lookbackhours": 48}, "^unknown lookbackhours; known are lookbackHours, "),
        ({"dry_run": True, "x": 1}, "^unknown dry_run, x; "),
        ({"x" * 300: 1}, f"^unknown {'x' * 200}; "),
        ({"scheduledTime": TIME}, "^unknown scheduledTime; "),
        ({"source": "aws.s3"}, "^unknown source; "),
        ({**SCHEDULER, "requestedAt": TIME}, "^unknown requestedAt; "),
        ({"trigger": "manual"}, '^trigger must be "scheduled", or absent for a manual run$'),
        ({"trigger": None}, '^trigger must be "scheduled", or absent for a manual run$'),
        ({"from": JANUARY}, "^to must be a UTC time"),
        ({"from": JANUARY, "to": None}, "^to must be a UTC time"),
        ({"to": JANUARY}, "^from must be a UTC time"),
        ({"from": JANUARY, "to": JANUARY}, "^from must be before to$"),
        ({"from": FEBRUARY, "to": JANUARY}, "^from must be before to$"),
        (
            {"from": JANUARY, "to": FEBRUARY, "lookbackHours": 5},
            "^lookbackHours cannot be combined with from and to$",
        ),
        *(
            (CONTINUATION | {"runId": run_id}, "^runId must be the id of a run$")
            for run_id in (None, 7, "no run", "x" * 65)
        ),
        (CONTINUATION | {"hop": 0}, "^hop must be an integer from 1$"),
        (CONTINUATION | {"hop": True}, "^hop must be an integer from 1$"),
        (CONTINUATION | {"more": 1}, "^unknown more; known are trigger, runId, hop$"),
        ({"trigger": "continue", "runId": "20241127T020000Z"}, "^hop must be an integer from 1$"),
    ],
)
def test_invalid_event_is_refused_by_name(event, reason):
    with pytest.raises(InvalidRequest, match=reason):
        parse_request(event)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({}, "requestedAt"),
        ({"trigger": "scheduled"}, "scheduledTime"),
        ({"source": "aws.events"}, "time"),
        ({"to": "2099-01-01T00:00:00Z"}, "from"),
    ],
)
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
        "2001-09-09T01:46:39Z",
        "2100-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "x" * 99,
        "<aws.scheduler.scheduled-time>",
    ],
)
def test_invalid_time_is_refused_by_name(event, name, value):
    with pytest.raises(InvalidRequest, match=f"^{name} must be a UTC time such as {TIME}$"):
        parse_request({**event, name: value})


@pytest.mark.parametrize("event", [{"trigger": "scheduled"}, {"source": "aws.events"}])
def test_scheduled_event_needs_its_time(event):
    with pytest.raises(InvalidRequest, match="ime must be a UTC time"):
        parse_request(event)


def test_scheduled_run_is_named_after_its_time_alone():
    request = Request(SCHEDULED, at=NOW)
    assert request.run_id(NOW + 5, "aaaa") == request.run_id(NOW + 99, "bbbb") == "20241127T020000Z"


def test_manual_run_is_named_after_its_time_and_request():
    assert Request(MANUAL).run_id(NOW, "8f-3c1-d2e7") == "20241127T020000Z-8f3c1d"
    assert Request(MANUAL, at=NOW).run_id(NOW + 60, "8f3c1d2e") == "20241127T020000Z-8f3c1d"


def test_continuation_is_written_as_it_is_parsed():
    assert Continuation("20241127T020000Z", 3).to_event() == CONTINUATION
