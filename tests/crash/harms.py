"""Everything that can happen at an external call, derived: from botocore's model of the operation, from the
pinned stripe library's own error classes, from the list of HTTP statuses.

Nothing here names a call of the product. A call that is new is harmed like all others.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import stripe
from stripe import oauth_error  # noqa: F401 - defines error classes that are found below

from testkit.doubles.faults import (
    ClientCall,
    Fault,
    cancelled,
    connect_timeout,
    entries_rejected,
    internal_error,
    keys_unprocessed,
    killed_after,
    killed_before,
    list_faults,
    service_error,
    timed_out,
)

# What any AWS service may answer to any operation, whatever its model lists.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html
COMMON = (
    "AccessDeniedException",
    "ExpiredTokenException",
    "InternalFailure",
    "InternalServerError",
    "RequestExpired",
    "RequestTimeout",
    "ServiceUnavailable",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
)
# Of one action of a transaction, a condition that does not hold apart: that one is true or it is not.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
REASONS = (
    "ItemCollectionSizeLimitExceeded",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
    "ValidationError",
)
# What a 200 may hold that is no answer.
BODIES = {
    "nothing": b"",
    "broken JSON": b'{"object": "list", "data": [',
    "a page of HTML": b"<html><body>Service unavailable</body></html>",
    "no UTF-8": b'{"id": "\xff\xfe"}',
    "null": b"null",
    "a list": b"[]",
    "a text": b'"ok"',
    "an empty object": b"{}",
    "an error without a body": b'{"error": null}',
    "very deep JSON": b"[" * 100_000,
}
# Stripe's own words quote the key and the customer: whatever repeats them shows in a log.
TELLTALE = "Invalid API Key provided: sk_test_right, customer buyer@example.com"


def harms_of(client: Any, call: ClientCall) -> list[Fault]:
    """Each one once, deaths first."""
    found = _of_stripe() if _is_stripe(call) else _of_aws(client, call)
    return list({fault.name + str(fault.after): fault for fault in found}.values())


def is_death(fault: Fault) -> bool:
    return fault.name.startswith("killed")


def _is_stripe(call: ClientCall) -> bool:
    return call.service == "Stripe"


def _of_aws(client: Any, call: ClientCall) -> Iterator[Fault]:
    listed = list_faults(client, call.method)
    yield from (fault for fault in listed if is_death(fault))
    yield from (fault for fault in listed if not is_death(fault))
    yield from (service_error(code) for code in COMMON)
    yield from (connect_timeout(), timed_out(after=False), internal_error())
    if call.method == "transact_write_items":
        yield service_error("TransactionCanceledException")  # with no reason at all
        for position in range(len(call.arguments["TransactItems"])):
            yield from (cancelled(code, "said by the service", position) for code in REASONS)
    if call.method == "batch_get_item":
        yield keys_unprocessed()
    if call.method.endswith("_batch"):
        yield from (entries_rejected(), entries_rejected(1))


def _of_stripe() -> Iterator[Fault]:
    yield from (killed_before(), killed_after())
    for error in _errors(stripe.StripeError):
        yield _raising(error)
    yield replace(_raising(stripe.APIConnectionError), name="answer lost", after=True)
    for status in HTTPStatus:
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            yield _answering(f"HTTP {status.value}", status, _refusal(status))
    for name, body in BODIES.items():
        yield _answering(f"200 with {name}", HTTPStatus.OK, body)
    yield _answering("500 with a page of HTML", HTTPStatus.INTERNAL_SERVER_ERROR, BODIES["a page of HTML"])


def _errors(root: type[stripe.StripeError]) -> Iterator[type[stripe.StripeError]]:
    yield root
    for error in sorted(root.__subclasses__(), key=lambda error: error.__name__):
        if error.__module__.startswith("stripe"):
            yield from _errors(error)


def _raising(error: type[stripe.StripeError]) -> Fault:
    # Made anew each time: an error keeps the frames that it went through.
    return Fault(f"{error.__module__}.{error.__name__}", lambda client, call: _made(error))


def _made(error: type[stripe.StripeError]) -> stripe.StripeError:
    """With as much of Stripe's own text in it as its constructor takes."""
    needed = inspect.signature(error.__init__).parameters.values()
    given = {
        one.name: TELLTALE
        for one in needed
        if one.default is inspect.Parameter.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    }
    given.pop("self")
    return error(**{"message": TELLTALE} | given) if "message" in given or not given else error(**given)


def _answering(name: str, status: HTTPStatus, body: bytes) -> Fault:
    def instead(method: Callable[..., Any], call: ClientCall) -> Any:
        return body, int(status), {"Request-Id": "req_harm"}

    return Fault(name, _unused, instead=instead)


def _unused(client: Any, call: ClientCall) -> BaseException:
    raise AssertionError("an answer raises nothing")


def _refusal(status: HTTPStatus) -> bytes:
    error = {"type": "invalid_request_error", "message": TELLTALE, "param": "id", "code": "made_up"}
    return json.dumps({"error": error}).encode()
