"""The base of the in-memory clients: parameter validation, one lock, request ids and boto3's errors."""

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, Concatenate

from testkit.doubles.errors import (
    ClientMeta,
    ServiceRefusal,
    check_parameters,
    client_error,
    client_exceptions,
    response_metadata,
)
from testkit.shapes import JsonObject


class MemoryClient:
    """A boto3 client without a network. Each operation is atomic.

    `clock` returns epoch seconds. `validate=False` skips botocore's validation, which takes most of a call's
    time.
    """

    def __init__(self, service: str, clock: Callable[[], float], *, validate: bool) -> None:
        self.exceptions = client_exceptions(service)
        self.meta = ClientMeta(service)
        self._service = service
        self._clock = clock
        self._validate = validate
        self._lock = RLock()
        self._numbers = 0

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _client_error(self, operation_name: str, error: ServiceRefusal) -> Exception:
        return client_error(self.exceptions, operation_name, error.code, error.message, members=error.members)

    def _run_background_work(self) -> None:
        """Do what the service does between two requests."""

    def close(self) -> None:
        """Do nothing, since there is no connection."""


def operation[Client: MemoryClient, **P](
    name: str,
) -> Callable[[Callable[Concatenate[Client, P], JsonObject]], Callable[Concatenate[Client, P], JsonObject]]:
    """Decorate a method that implements the operation `name`. Its service errors become ClientErrors."""

    def decorate(
        method: Callable[Concatenate[Client, P], JsonObject],
    ) -> Callable[Concatenate[Client, P], JsonObject]:
        @wraps(method)
        def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> JsonObject:
            if self._validate:
                check_parameters(self._service, name, kwargs)
            with self._lock:
                self._run_background_work()
                try:
                    response: dict[str, Any] = method(self, *args, **kwargs)
                except ServiceRefusal as error:
                    raise self._client_error(name, error) from None
                finally:
                    self._run_background_work()
                return {**response, "ResponseMetadata": response_metadata(self._next_number())}

        return call

    return decorate
