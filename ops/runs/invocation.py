"""Starting a run: the producer is invoked exactly once, even if its answer is lost."""

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

from ops.errors import CommandError
from ops.runs.failures import describe_cause, next_command
from producer.request import parse_request
from recon.errors import InvalidRequest
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# The fields of the event by the option that sets them.
_OPTIONS = {
    "lookbackHours": "--lookback-hours",
    "maxSessions": "--limit",
    "dryRun": "--dry-run",
    "confirmEmpty": "--confirm-empty",
    "from": "--from",
    "to": "--to",
}
# `from` and `to` are also English words; as fields they end the sentence or come before these words.
_FIELD = re.compile(r"\b(?:lookbackHours|maxSessions|dryRun|confirmEmpty|(?:from|to)(?= (?:must|and)\b|$))")

type RunEvent = dict[str, Any]
type ProducerAnswer = dict[str, Any]


class AnswerLost(Exception):  # noqa: N818 - not necessarily an error: the producer may be running
    """The producer was invoked and its answer did not arrive."""


class ProducerError(CommandError):
    """The producer raised an exception. `run_id` is None if no run is known."""

    def __init__(self, error_type: str, message: str, run_id: str | None = None) -> None:
        subject = f"run {run_id}" if run_id else "the producer"
        command = next_command(error_type, run_id)
        super().__init__(f"{subject} failed: {describe_cause(error_type, message)}; next: {command}")
        self.error_type = error_type
        self.message = message


def build_event(
    now: int,
    *,
    lookback_hours: int | None = None,
    max_sessions: int | None = None,
    dry_run: bool = False,
    confirm_empty: bool = False,
    period: tuple[int, int] | None = None,
) -> RunEvent:
    """Build the event of a manual run that is named after the moment `now`.

    `now` and the period of a backfill are in epoch seconds. Raise CommandError, which names the option, for
    an event that the producer would refuse.
    """
    event = {
        "requestedAt": to_iso(now),
        "lookbackHours": lookback_hours,
        "maxSessions": max_sessions,
        "dryRun": dry_run or None,
        "confirmEmpty": confirm_empty or None,
        "from": to_iso(period[0]) if period else None,
        "to": to_iso(period[1]) if period else None,
    }
    event = {name: value for name, value in event.items() if value is not None}
    try:
        parse_request(event)
    except InvalidRequest as error:
        raise CommandError(_name_options(str(error))) from None
    return event


def invoke_async(client: "LambdaClient", producer: str, event: RunEvent) -> None:
    """Queue the event at Lambda, which retries a failed invocation as the same run."""
    client.invoke(FunctionName=producer, InvocationType="Event", Payload=json.dumps(event))


def invoke(client: "LambdaClient", producer: str, event: RunEvent) -> ProducerAnswer:
    """Invoke the producer and return the body of its answer.

    Raise CommandError if the producer refused or failed, and AnswerLost if that is unknown.
    """
    try:
        answer = client.invoke(FunctionName=producer, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read())
    except (EndpointConnectionError, ConnectTimeoutError):
        raise  # nothing was sent
    except HTTPClientError as exc:
        raise AnswerLost(type(exc).__name__) from exc
    if answer.get("FunctionError"):
        # The class and message of an exception contain no secrets.
        raise ProducerError(payload.get("errorType", "unknown"), payload.get("errorMessage", ""))
    if payload["statusCode"] != 200:  # noqa: PLR2004 - HTTP's OK
        raise CommandError(f"the producer refused: {_name_options(payload['body']['message'])}")
    body: ProducerAnswer = payload["body"]
    return body


def _name_options(message: str) -> str:
    """Return the producer's refusal with the command's options in place of the event's fields."""
    return _FIELD.sub(lambda field: _OPTIONS[field[0]], message)


def run_in_background(call: Callable[[], ProducerAnswer]) -> "Future[ProducerAnswer]":
    """Call in a daemon thread, so that the program can exit while the run continues."""
    future: Future[ProducerAnswer] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - re-raised by the future's result
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
