"""Starting a run: the producer is invoked once, whatever times out, and found again by what it was told."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

from ops.errors import CommandError
from ops.runs.failures import in_words, next_command
from producer.request import parse_request
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

type Event = dict[str, Any]
type Body = dict[str, Any]


class AnswerLost(Exception):  # noqa: N818 - not known to be an error: the producer may be at work
    """The producer was invoked and its answer did not arrive."""


class ProducerFailed(CommandError):
    """The producer raised. `run_id` is None where nobody knows of a run that it began."""

    def __init__(self, error_type: str, message: str, run_id: str | None = None) -> None:
        whose = f"run {run_id}" if run_id else "the producer"
        command = next_command(error_type, run_id)
        super().__init__(f"{whose} failed: {in_words(error_type, message)}; next: {command}")
        self.error_type = error_type
        self.message = message


def build_event(
    now: int,
    *,
    lookback_hours: int | None = None,
    max_sessions: int | None = None,
    dry_run: bool = False,
    period: tuple[str | None, str | None] = (None, None),
) -> Event:
    """The event of a run by hand, named after this moment. Raises InvalidRequest, in the producer's own
    words, for what it would refuse; so nothing is sent that is wrong."""
    event = {
        "requestedAt": to_iso(now),
        "lookbackHours": lookback_hours,
        "maxSessions": max_sessions,
        "dryRun": dry_run or None,
        "from": period[0],
        "to": period[1],
    }
    event = {name: value for name, value in event.items() if value is not None}
    parse_request(event)
    return event


def hand_over(client: "LambdaClient", producer: str, event: Event) -> None:
    """Lambda takes the event and invokes the producer by itself, and again if that fails: it is one run."""
    client.invoke(FunctionName=producer, InvocationType="Event", Payload=json.dumps(event))


def invoke(client: "LambdaClient", producer: str, event: Event) -> Body:
    """The body of the producer's answer. Raises CannotRun where the producer refused or failed, AnswerLost
    where nobody knows."""
    try:
        answer = client.invoke(FunctionName=producer, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read())
    except (EndpointConnectionError, ConnectTimeoutError):
        raise  # nothing was sent
    except HTTPClientError as exc:
        raise AnswerLost(type(exc).__name__) from exc
    if answer.get("FunctionError"):
        # Class and message, which are ours and hold nothing secret.
        raise ProducerFailed(payload.get("errorType", "unknown"), payload.get("errorMessage", ""))
    if payload["statusCode"] != 200:  # noqa: PLR2004 - HTTP's word for fine
        raise CommandError(f"the producer refused: {payload['body']['message']}")
    body: Body = payload["body"]
    return body


def in_background(call: Callable[[], Body]) -> "Future[Body]":
    """A thread that does not keep the program from ending: the run goes on without it."""
    future: Future[Body] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
