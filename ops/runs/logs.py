"""The log lines of one run, from both functions, in the order in which they were written."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ops.errors import CommandError
from recon.dynamodb.records import OUTCOME_DAYS
from recon.telemetry import NONE
from recon.timestamps import DAY, parse_epoch

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

# What Lambda itself says of an invocation that did not end by itself; such a line has no run id.
PLATFORM_LINES = ("Task timed out", "Runtime exited")
# Between the clocks of the functions, of the log service and of this machine.
SLACK_SECONDS = 60
_TIME = "%Y-%m-%d %H:%M:%S,%f%z"
_OWN = {"level", "location", "message", "timestamp", "service", "run_id", "session_id"}


class Level(StrEnum):
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


LEVELS = list(Level)


@dataclass(frozen=True)
class LogLine:
    """`function` is producer or consumer, `facts` what the line says beside its message. `of_this_run` is
    False for what Lambda itself said while the run was going on: that names no run."""

    at: datetime
    level: str
    function: str
    session_id: str | None
    message: str
    facts: Mapping[str, Any]
    of_this_run: bool = True


@dataclass(frozen=True)
class Filter:
    """`level`: this one and what is worse."""

    level: Level = Level.INFO
    session_id: str | None = None

    def takes(self, line: LogLine) -> bool:
        severe = line.level not in LEVELS or LEVELS.index(Level(line.level)) >= LEVELS.index(self.level)
        return severe and self.session_id in (None, line.session_id)


@dataclass(frozen=True)
class Period:
    """Of a run, in epoch seconds. Dead letters that are redriven later still log under its id, for as long as
    its outcomes are there to be corrected."""

    began: int
    ended: int
    last_redrive: int


def period_of(started_at: str, completed_at: str | None, now: int) -> Period:
    """Times as the run's record has them; a record that does not say when it began is sought everywhere."""
    try:
        began = parse_epoch(started_at)
    except ValueError:
        return Period(0, now, now)
    return Period(
        began, parse_epoch(completed_at) if completed_at else now, min(now, began + OUTCOME_DAYS * DAY)
    )


def read_lines(
    client: "CloudWatchLogsClient", groups: Mapping[str, str], run_id: str, period: Period
) -> list[LogLine]:
    """`groups`: each function's log group, by `producer` and `consumer`. Raises CannotRun if one is gone."""
    found: list[LogLine] = []
    for function, group in groups.items():
        for event in _events(client, group, run_id, period.began, period.last_redrive):
            found += _lines_of_run(event, function, run_id)
        for text in PLATFORM_LINES:
            for event in _events(client, group, text, period.began, period.ended):
                found += _platform_lines(event, function, text)
    return sorted(found, key=lambda line: line.at)


def kept_days(client: "CloudWatchLogsClient", group: str) -> int | None:
    """How long the group keeps its lines; None: for ever."""
    for found in client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        if found.get("logGroupName") == group:
            return found.get("retentionInDays")
    return None


def log_group(configuration: Mapping[str, Any]) -> str:
    """The log group of a function, from its configuration."""
    default = f"/aws/lambda/{configuration['FunctionName']}"
    return str(configuration.get("LoggingConfig", {}).get("LogGroup") or default)


def _events(
    client: "CloudWatchLogsClient", group: str, text: str, since: int, until: int
) -> Iterator[Mapping[str, Any]]:
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        filterPattern=f'"{text}"',
        startTime=max(0, since - SLACK_SECONDS) * 1000,
        endTime=(until + SLACK_SECONDS) * 1000,
    )
    try:
        for page in pages:
            yield from page["events"]
    except client.exceptions.ResourceNotFoundException:
        raise CommandError(
            f"there is no log group {group}: the stack has lost it, or has another name"
        ) from None


def _lines_of_run(event: Mapping[str, Any], function: str, run_id: str) -> Iterator[LogLine]:
    """The filter only finds the id anywhere in the text, a metric's line or another run's included."""
    for entry in _structured(event["message"].splitlines()):
        if entry.get("run_id") == run_id and "level" in entry:
            session = entry.get("session_id")
            yield LogLine(
                at=_written_at(entry.get("timestamp"), event["timestamp"]),
                level=str(entry["level"]),
                function=function,
                session_id=None if session == NONE else session,
                message=str(entry.get("message", "")),
                facts={name: value for name, value in entry.items() if name not in _OWN},
            )


def _structured(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            entry = json.loads(text)
        except ValueError:  # Lambda's own, or cut short by a kill
            continue
        if isinstance(entry, dict):
            yield entry


def _platform_lines(event: Mapping[str, Any], function: str, text: str) -> Iterator[LogLine]:
    for line in event["message"].splitlines():
        if text in line and not line.startswith("{"):
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield LogLine(at, Level.ERROR, function, None, " ".join(line.split()), {}, of_this_run=False)


def _written_at(said: object, received_ms: int) -> datetime:
    """The line's own time; Lambda may deliver many lines of one moment."""
    try:
        return datetime.strptime(str(said), _TIME)  # noqa: DTZ007 - the format has a zone
    except ValueError:
        return datetime.fromtimestamp(received_ms / 1000, UTC)
