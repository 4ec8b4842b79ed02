"""What stands in for HTTP under botocore and Stripe's library: it waits as long as the service would take.

Everything above stays as it is: botocore and Stripe's library write their requests, sign them and parse the
answers, and their own retries see what comes back. So their CPU time counts as the program's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import stripe
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import Session

from bench.stage.wire import Frame

# Seconds of one answer, of services in the same region and of Stripe from there.
LATENCY: Mapping[str, float] = {"dynamodb": 0.005, "sqs": 0.010, "lambda": 0.010, "stripe": 0.100}
# What each service's requests say their operation in; Lambda's says it in its path.
_TARGET = "X-Amz-Target"
_SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs"}


@dataclass(frozen=True)
class Wait:
    """One call that was waited for, in seconds of the monotonic clock."""

    name: str
    began: float
    ended: float


@dataclass
class Slow:
    """Asks, and answers no sooner than the service would. What the answer itself took counts towards it.

    `waits` are all calls so far. Thread-safe.
    """

    asks: Callable[[Frame], Frame]
    latency: Mapping[str, float] = field(default_factory=lambda: LATENCY)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    waits: list[Wait] = field(default_factory=list)

    def __call__(self, name: str, body: bytes) -> tuple[int, bytes]:
        began = self.clock()
        answer = self.asks(Frame(name, body))
        left = began + self.latency[name.partition(".")[0]] - self.clock()
        if left > 0:
            self.sleep(left)
        self.waits.append(Wait(name, began, self.clock()))
        return int(answer.name), answer.body


class _Body:
    """As much of urllib3's answer as botocore reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> Any:  # noqa: ANN401 - botocore's own
        yield self._content


def under_botocore(session: Session, slow: Slow) -> None:
    """Every client that this session makes from now on."""

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        content: Any = request.body or b""
        status, body = slow(_operation(request), content.encode() if isinstance(content, str) else content)
        headers: Any = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(body))}
        return AWSResponse(request.url, status, headers, _Body(body))

    handler: Any = send  # what it answers is documented and missing in the stubs
    session.register("before-send", handler)


def _operation(request: AWSPreparedRequest) -> str:
    """`dynamodb.Query`; `lambda.Invoke`, which alone has no such header."""
    target: Any = request.headers.get(_TARGET)
    if target is None:
        return "lambda.Invoke"
    prefix, _, operation = (target.decode() if isinstance(target, bytes) else target).partition(".")
    return f"{_SERVICES[prefix]}.{operation}"


class StripeTransport(stripe.HTTPClient):
    name = "bench"

    def __init__(self, slow: Slow) -> None:
        super().__init__()
        self._slow = slow

    def request(self, method: str, url: str, *_: object, **__: object) -> Any:  # noqa: ANN401 - as there
        """The content, the status and the headers, as the library's own transports answer them."""
        assert method.lower() == "get"  # noqa: S101 - nothing here writes to Stripe
        parts = urlsplit(url)
        status, body = self._slow("stripe", f"{parts.path}?{parts.query}".encode())
        return body, status, {}

    def close(self) -> None:
        """Holds nothing."""


def under_stripe(slow: Slow) -> None:
    """Every connection of this process from now on."""
    stripe.RequestsClient = lambda **_: StripeTransport(slow)  # type: ignore[misc, assignment]


def waited(waits: list[Wait], *prefixes: str) -> float:
    """Seconds in which at least one call of these names was waited for."""
    spans = sorted((wait.began, wait.ended) for wait in waits if wait.name.startswith(prefixes))
    total, until = 0.0, float("-inf")
    for began, ended in spans:
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
