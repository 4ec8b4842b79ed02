"""Everything that can happen at an external call, derived from botocore's model of the operation, from the
pinned stripe library's error classes, and from the list of HTTP statuses.

No call of the product is named here, so a new call is covered like all others.
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
    possible_faults,
    service_error,
    timed_out,
)

# Any AWS service may answer any operation with these, whatever its model lists.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html
COMMON_ERRORS = (
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
# Of one action of a transaction. A failed condition is left out: it is true or it is not.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
CANCELLATION_REASONS = (
    "ItemCollectionSizeLimitExceeded",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
    "ValidationError",
)
# Bodies of a 200 that are no answer.
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
# Stripe's own messages quote the key and the customer: a log line that repeats one contains them.
TELLTALE = "Invalid API Key provided: sk_test_right, customer buyer@example.com"


def list_faults(client: Any, call: ClientCall) -> list[Fault]:
    """Return every fault of a call once, deaths first."""
    found = _stripe_faults() if call.service == "Stripe" else _aws_faults(client, call)
    return list({fault.name + str(fault.after): fault for fault in found}.values())


def is_death(fault: Fault) -> bool:
    return fault.name.startswith("killed")


def _aws_faults(client: Any, call: ClientCall) -> Iterator[Fault]:
    yield from sorted(possible_faults(client, call.method), key=lambda fault: not is_death(fault))
    yield from (service_error(code) for code in COMMON_ERRORS)
    yield from (connect_timeout(), timed_out(after=False), internal_error())
    if call.method == "transact_write_items":
        yield service_error("TransactionCanceledException")  # with no reason at all
        for position in range(len(call.arguments["TransactItems"])):
            yield from (cancelled(code, "said by the service", position) for code in CANCELLATION_REASONS)
    if call.method == "batch_get_item":
        yield keys_unprocessed()
    if call.method.endswith("_batch"):
        yield from (entries_rejected(), entries_rejected(1))


def _stripe_faults() -> Iterator[Fault]:
    yield from (killed_before(), killed_after())
    yield from map(_raise_error, list_error_classes(stripe.StripeError))
    yield replace(_raise_error(stripe.APIConnectionError), name="answer lost", after=True)
    for status in HTTPStatus:
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            error = {"type": "invalid_request_error", "message": TELLTALE, "param": "id", "code": "made_up"}
            yield _answer(f"HTTP {status.value}", status, json.dumps({"error": error}).encode())
    for name, body in BODIES.items():
        yield _answer(f"200 with {name}", HTTPStatus.OK, body)
    yield _answer("500 with a page of HTML", HTTPStatus.INTERNAL_SERVER_ERROR, BODIES["a page of HTML"])


def list_error_classes(root: type[stripe.StripeError]) -> Iterator[type[stripe.StripeError]]:
    """Yield a class and all its subclasses in the stripe library."""
    yield root
    for error in sorted(root.__subclasses__(), key=lambda error: error.__name__):
        if error.__module__.startswith("stripe"):
            yield from list_error_classes(error)


def _raise_error(error: type[stripe.StripeError]) -> Fault:
    # Constructed for each call: an exception keeps the frames that it passed through.
    return Fault(f"{error.__module__}.{error.__name__}", lambda client, call: _construct(error))


def _construct(error: type[stripe.StripeError]) -> stripe.StripeError:
    """Return an error with the telltale in every text that its constructor takes."""
    parameters = inspect.signature(error.__init__).parameters.values()
    given = {
        one.name: TELLTALE
        for one in parameters
        if one.default is inspect.Parameter.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    }
    del given["self"]
    return error(**{"message": TELLTALE} | given) if "message" in given or not given else error(**given)


def _answer(name: str, status: HTTPStatus, body: bytes) -> Fault:
    def instead(method: Callable[..., Any], call: ClientCall) -> Any:
        return body, int(status), {"Request-Id": "req_harm"}

    def error(client: Any, call: ClientCall) -> BaseException:
        raise AssertionError("an answer raises nothing")

    return Fault(name, error, instead=instead)
