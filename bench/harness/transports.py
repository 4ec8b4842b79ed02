"""Transports below botocore and Stripe's library that take as long as the real service.

Everything above is unchanged: both libraries build, sign and parse their requests and retry as usual, so
their CPU time counts as the program's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import stripe
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import Session

from bench.harness.framing import Frame

# Seconds of one answer, of services in the same region and of Stripe from there.
LATENCY: Mapping[str, float] = {"dynamodb": 0.005, "sqs": 0.010, "lambda": 0.010, "stripe": 0.100}
# Seconds more for each session of a list whose line items are expanded.
EXPANDED_SESSION = 0.008
# What each service's requests say their operation in; Lambda's says it in its path.
_TARGET = "X-Amz-Target"
_SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs"}


@dataclass(frozen=True)
class TimedCall:
    """One call, with its times on the monotonic clock."""

    name: str
    began: float
    ended: float


@dataclass
class DelayedTransport:
    """Sends requests and returns no sooner than the service would. Thread-safe.

    The time that `send` takes counts towards the latency. `calls` are all calls so far, if `keep_calls`.
    """

    send: Callable[[Frame], Frame]
    latency: Mapping[str, float] = field(default_factory=lambda: LATENCY)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    calls: list[TimedCall] = field(default_factory=list)
    keep_calls: bool = True

    def call(
        self, name: str, body: bytes, extra: Callable[[bytes], float] = lambda _: 0.0
    ) -> tuple[int, bytes]:
        """Send a request. `extra` returns what its answer takes beyond the service's latency."""
        began = self.clock()
        answer = self.send(Frame(name, body))
        latency = self.latency[name.partition(".")[0]] + extra(answer.body)
        left = began + latency - self.clock()
        if left > 0:
            self.sleep(left)
        if self.keep_calls:
            self.calls.append(TimedCall(name, began, self.clock()))
        return int(answer.name), answer.body


class _Body:
    """The part of urllib3's response that botocore reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> Any:  # noqa: ANN401 - botocore's own
        yield self._content


def install_in_botocore(session: Session, transport: DelayedTransport) -> None:
    """Use the transport for every client that this session creates from now on."""

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        content: Any = request.body or b""
        status, body = transport.call(
            _operation(request), content.encode() if isinstance(content, str) else content
        )
        headers: Any = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(body))}
        return AWSResponse(request.url, status, headers, _Body(body))

    handler: Any = send  # what it answers is documented and missing in the stubs
    session.register("before-send", handler)


def _operation(request: AWSPreparedRequest) -> str:
    """Return `dynamodb.Query` or the like; `lambda.Invoke` is the only one without a target header."""
    target: Any = request.headers.get(_TARGET)
    if target is None:
        return "lambda.Invoke"
    prefix, _, operation = (target.decode() if isinstance(target, bytes) else target).partition(".")
    return f"{_SERVICES[prefix]}.{operation}"


class StripeTransport(stripe.HTTPClient):
    name = "bench"

    def __init__(self, transport: DelayedTransport) -> None:
        super().__init__()
        self._transport = transport

    def request(self, method: str, url: str, *_: object, **__: object) -> Any:  # noqa: ANN401 - as there
        """Return the content, status and headers, as the library's own transports do."""
        assert method.lower() == "get"  # noqa: S101 - nothing here writes to Stripe
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}".encode()
        status, body = self._transport.call("stripe", target, list_seconds)
        return body, status, {}

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def install_in_stripe(transport: DelayedTransport) -> None:
    """Use the transport for every Stripe connection of this process from now on."""
    stripe.RequestsClient = lambda **_: StripeTransport(transport)  # type: ignore[misc, assignment]


def list_seconds(answer: bytes) -> float:
    """Return the seconds that the expanded sessions of a list take, 0 for every other answer."""
    is_list = answer.startswith(b'{"object":"list"')
    return EXPANDED_SESSION * answer.count(b'"line_items":{"object":"list"') if is_list else 0.0


def waiting_seconds(calls: list[TimedCall], *prefixes: str) -> float:
    """Return the seconds in which at least one call with such a name was pending."""
    spans = sorted((wait.began, wait.ended) for wait in calls if wait.name.startswith(prefixes))
    total, until = 0.0, float("-inf")
    for began, ended in spans:
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
