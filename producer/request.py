"""The producer's event, parsed and checked before anything else happens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recon.config import MAX_LOOKBACK_HOURS
from recon.domain.run import Trigger
from recon.errors import InvalidRequest
from recon.timestamps import parse_epoch, to_run_id

CONTINUE = "continue"
EVENTBRIDGE = "aws.events"
_OPTIONS = ("lookbackHours", "maxSessions", "dryRun", "requestedAt", "from", "to", "confirmEmpty")
_SCHEDULED_OPTIONS = ("trigger", "scheduledTime", "lookbackHours", "maxSessions", "dryRun")
_CONTINUE_KEYS = ("trigger", "runId", "hop")
_EXAMPLE_TIME = "a UTC time such as 2024-11-27T02:00:00Z"
# 2001-09-09 to 2100: Stripe has no sessions outside this span, and sort keys compare as text.
_EARLIEST, _LATEST = 1_000_000_000, 4_102_444_800
_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_TIME_LENGTH = 40  # far longer than any form of a time, and short enough to print


@dataclass(frozen=True)
class Request:
    """A request to start a run. None means the value of the settings.

    `at` is the end of the window and the time in the run's id: the scheduled time, `requestedAt`, or None for
    the start of the invocation. `at_field` is its field in the event. `period` is the window of a backfill,
    with both ends inclusive. All times are in epoch seconds. `confirm_empty` accepts a table in which no
    order proves the key's account and mode.
    """

    trigger: str
    at: int | None = None
    lookback_hours: int | None = None
    max_sessions: int | None = None
    dry_run: bool | None = None
    period: tuple[int, int] | None = None
    confirm_empty: bool = False
    at_field: str = field(default="requestedAt", compare=False)

    def run_id(self, started: int, request_id: str) -> str:
        """Return the run's id, which is the same for all invocations of one scheduled time.

        A manual run's id contains a part of the request id, since two may start in the same second.
        """
        if self.trigger == Trigger.SCHEDULED and self.at is not None:
            return to_run_id(self.at)
        return f"{to_run_id(self.at or started)}-{request_id.replace('-', '')[:6]}"


@dataclass(frozen=True)
class Continuation:
    """A request to continue a run, which the producer sends to itself. `number` counts from 1 per run."""

    run_id: str
    number: int

    def to_event(self) -> dict[str, Any]:
        return {"trigger": CONTINUE, "runId": self.run_id, "hop": self.number}


def parse_request(event: object) -> Request | Continuation:
    """Return the request in an event. Raise InvalidRequest, which names the field and its valid values."""
    if not isinstance(event, Mapping):
        raise InvalidRequest("the event must be an object such as {}")
    if event.get("source") == EVENTBRIDGE:
        return Request(Trigger.SCHEDULED, at=read_time(event.get("time"), "time"), at_field="time")
    if event.get("trigger") == CONTINUE:
        return _parse_continuation(event)
    scheduled = "trigger" in event
    if scheduled and event["trigger"] != Trigger.SCHEDULED:
        raise InvalidRequest(f'trigger must be "{Trigger.SCHEDULED}", or absent for a manual run')
    _refuse_unknown(event, _SCHEDULED_OPTIONS if scheduled else _OPTIONS)
    dry_run, confirm_empty = _parse_boolean(event, "dryRun"), _parse_boolean(event, "confirmEmpty")
    if dry_run and confirm_empty:
        raise InvalidRequest("confirmEmpty cannot be combined with dryRun, which stores nothing")
    return Request(
        trigger=Trigger.SCHEDULED if scheduled else Trigger.MANUAL,
        at=_parse_time(event),
        lookback_hours=_parse_integer(event, "lookbackHours", 1, MAX_LOOKBACK_HOURS),
        max_sessions=_parse_integer(event, "maxSessions", 1, None),
        dry_run=dry_run,
        period=_parse_period(event),
        confirm_empty=confirm_empty or False,
        at_field="scheduledTime" if scheduled else "requestedAt",
    )


def has_caller(event: object) -> bool:
    """Return True if a caller may read the response: neither a schedule nor the producer sent the event."""
    if not isinstance(event, Mapping):
        return True
    return event.get("source") != EVENTBRIDGE and event.get("trigger") not in (Trigger.SCHEDULED, CONTINUE)


def _refuse_unknown(event: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(str(key) for key in event if key not in known):
        raise InvalidRequest(f"unknown {', '.join(unknown)[:200]}; known are {', '.join(known)}")


def _parse_continuation(event: Mapping[Any, Any]) -> Continuation:
    _refuse_unknown(event, _CONTINUE_KEYS)
    run_id, number = event.get("runId"), _parse_integer(event, "hop", 1, None)
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise InvalidRequest("runId must be the id of a run")
    if number is None:
        raise InvalidRequest("hop must be an integer from 1")
    return Continuation(run_id, number)


def _parse_time(event: Mapping[Any, Any]) -> int | None:
    if "trigger" in event:
        return read_time(event.get("scheduledTime"), "scheduledTime")
    return read_time(event["requestedAt"], "requestedAt") if "requestedAt" in event else None


def _parse_period(event: Mapping[Any, Any]) -> tuple[int, int] | None:
    if "from" not in event and "to" not in event:
        return None
    if "lookbackHours" in event:
        raise InvalidRequest("lookbackHours cannot be combined with from and to")
    start, end = read_time(event.get("from"), "from"), read_time(event.get("to"), "to")
    if start >= end:
        raise InvalidRequest("from must be before to")
    return start, end


def read_time(value: object, name: str) -> int:
    """Return epoch seconds. Raise InvalidRequest that calls the value `name`."""
    if not isinstance(value, str) or len(value) > _TIME_LENGTH:
        raise InvalidRequest(f"{name} must be {_EXAMPLE_TIME}")
    try:
        moment = parse_epoch(value)
    except ValueError as exc:
        raise InvalidRequest(f"{name} must be {_EXAMPLE_TIME}") from exc
    if not _EARLIEST <= moment < _LATEST:
        raise InvalidRequest(f"{name} must be {_EXAMPLE_TIME}")
    return moment


def _parse_integer(event: Mapping[Any, Any], name: str, low: int, high: int | None) -> int | None:
    if name not in event:
        return None
    value = event[name]
    # type() and not isinstance(), since a JSON boolean is not an integer.
    if type(value) is int and value >= low and (high is None or value <= high):
        return value
    span = f"from {low}" if high is None else f"from {low} to {high}"
    raise InvalidRequest(f"{name} must be an integer {span}")


def _parse_boolean(event: Mapping[Any, Any], name: str) -> bool | None:
    if name not in event:
        return None
    if isinstance(event[name], bool):
        return bool(event[name])
    raise InvalidRequest(f"{name} must be true or false")
