"""Starting a run: the producer is invoked once, whatever times out, and found again by what it was told."""

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

from ops.errors import CommandError
from producer.request import parse_request
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

type Event = dict[str, Any]
type Body = dict[str, Any]


class AnswerLost(Exception):  # noqa: N818 - not known to be an error: the producer may be at work
    """The producer was invoked and its answer did not arrive."""


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
        raise CommandError(f"the producer failed: {_failure(payload)}")
    if payload["statusCode"] != 200:  # noqa: PLR2004 - HTTP's word for fine
        raise CommandError(f"the producer refused: {payload['body']['message']}")
    body: Body = payload["body"]
    return body


def _failure(payload: Mapping[str, Any]) -> str:
    """What a function that raised answers: class and message, which are ours and hold nothing secret."""
    kind, text = payload.get("errorType", "unknown"), payload.get("errorMessage", "")
    return f"{kind}: {text}" if text else str(kind)


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
