"""The log lines of one run from both functions, in the order in which they were written."""

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

# Lambda's own messages about an invocation that it ended; they contain no run id.
PLATFORM_LINES = ("Task timed out", "Runtime exited")
# Tolerance between the clocks of the functions, of CloudWatch Logs and of this machine.
SLACK_SECONDS = 60
_TIME = "%Y-%m-%d %H:%M:%S,%f%z"
# Keys of a structured line that are not among its facts.
_STANDARD_KEYS = {"level", "location", "message", "timestamp", "service", "run_id", "session_id"}


class Level(StrEnum):
    """The values of `--level`."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


LEVELS = list(Level)


@dataclass(frozen=True)
class LogLine:
    """A log line of the producer or consumer. `facts` are its additional keys.

    `of_this_run` is False for Lambda's own messages during the run, which name no run.
    """

    at: datetime
    level: str
    function: str
    session_id: str | None
    message: str
    facts: Mapping[str, Any]
    of_this_run: bool = True


@dataclass(frozen=True)
class LogFilter:
    """A condition on log lines: at least this level, and this session and this time if they are given.

    `since` is in epoch seconds.
    """

    level: Level = Level.INFO
    session_id: str | None = None
    since: int | None = None

    def matches(self, line: LogLine) -> bool:
        """Return True if the line meets the condition. An unknown level counts as the highest."""
        severe = line.level not in LEVELS or LEVELS.index(Level(line.level)) >= LEVELS.index(self.level)
        recent = self.since is None or line.at.timestamp() >= self.since
        return severe and recent and self.session_id in (None, line.session_id)


@dataclass(frozen=True)
class SearchPeriod:
    """The period of a run's log lines, in epoch seconds.

    Dead letters that are redriven log under the run's id until its outcomes expire at `last_redrive`.
    """

    began: int
    ended: int
    last_redrive: int


def search_period(started_at: str | None, completed_at: str | None, now: int) -> SearchPeriod:
    """Return the period to search from the times of the run's record; all time if it has no valid one."""
    try:
        began = parse_epoch(started_at or "")
    except ValueError:
        return SearchPeriod(0, now, now)
    ended = parse_epoch(completed_at) if completed_at else now
    return SearchPeriod(began, ended, min(now, began + OUTCOME_DAYS * DAY))


def read_lines(
    client: "CloudWatchLogsClient", groups: Mapping[str, str], run_id: str, period: SearchPeriod
) -> list[LogLine]:
    """Read the lines of a run. `groups` maps `producer` and `consumer` to their log groups.

    Raise CommandError if a log group does not exist.
    """
    lines: list[LogLine] = []
    for function, group in groups.items():
        for event in _find_events(client, group, run_id, period.began, period.last_redrive):
            lines += _parse_run_lines(event, function, run_id)
        for text in PLATFORM_LINES:
            for event in _find_events(client, group, text, period.began, period.ended):
                lines += _parse_platform_lines(event, function, text)
    return sorted(lines, key=lambda line: line.at)


def read_retention_days(client: "CloudWatchLogsClient", group: str) -> int | None:
    """Return how many days a log group keeps its lines, or None if they do not expire."""
    for description in client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        if description.get("logGroupName") == group:
            return description.get("retentionInDays")
    return None


def log_group(configuration: Mapping[str, Any]) -> str:
    """Return the log group from a function's configuration."""
    default = f"/aws/lambda/{configuration['FunctionName']}"
    return str(configuration.get("LoggingConfig", {}).get("LogGroup") or default)


def _find_events(
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
        raise CommandError(f"there is no log group {group}: it was deleted or renamed") from None


def _parse_run_lines(event: Mapping[str, Any], function: str, run_id: str) -> Iterator[LogLine]:
    """Yield the lines of the run; the filter also matches metrics and lines that only mention the id."""
    for entry in _parse_json_lines(event["message"].splitlines()):
        if entry.get("run_id") == run_id and "level" in entry:
            session = entry.get("session_id")
            yield LogLine(
                at=_parse_time(entry.get("timestamp"), event["timestamp"]),
                level=str(entry["level"]),
                function=function,
                session_id=None if session == NONE else session,
                message=str(entry.get("message", "")),
                facts={name: value for name, value in entry.items() if name not in _STANDARD_KEYS},
            )


def _parse_json_lines(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            entry = json.loads(text)
        except ValueError:  # Lambda's own line, or one that a kill cut short
            continue
        if isinstance(entry, dict):
            yield entry


def _parse_platform_lines(event: Mapping[str, Any], function: str, text: str) -> Iterator[LogLine]:
    for line in event["message"].splitlines():
        if text in line and not line.startswith("{"):
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield LogLine(at, Level.ERROR, function, None, " ".join(line.split()), {}, of_this_run=False)


def _parse_time(timestamp: object, received_ms: int) -> datetime:
    """Return the line's own time, because Lambda delivers many lines at once; otherwise its arrival."""
    try:
        return datetime.strptime(str(timestamp), _TIME)  # noqa: DTZ007 - the format has a zone
    except ValueError:
        return datetime.fromtimestamp(received_ms / 1000, UTC)
