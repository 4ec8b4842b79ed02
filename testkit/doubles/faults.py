"""Faults of calls to a service: before a call, after it took effect, or the end of the process.

    history = CallHistory()
    table = Faulty(client, on("transact_write_items", conflict(0), nth=1), history)
    queue = Faulty(sqs, randomly(Random(7), {throttled(): 0.05, lost_response(): 0.05}), history)

A plan is a function from a call to a fault or None. Plans compose (`first_of`), and tests can write their
own. It works for the in-memory doubles, for boto3's clients, and for any object whose methods are its calls.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import wraps
from threading import Lock
from typing import Any

from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from testkit.doubles.errors import client_error
from testkit.doubles.transactions import transaction_cancelled

_ENDPOINT = "https://service.test"
_STATUS = {"InternalServerError": 500, "InternalFailure": 500, "ServiceUnavailable": 503}


class Killed(BaseException):
    """The end of the process at a call. No `except Exception` catches it, since a dead process would not."""


@dataclass(frozen=True, slots=True)
class ClientCall:
    """The `number`th call of a history (from 1), which is the `nth` of this method of this service."""

    number: int
    nth: int
    service: str
    method: str
    arguments: Mapping[str, Any] = field(repr=False)
    positional: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that a call raises instead of, or with `after` in addition to, its effect.

    `instead` replaces the call: it can make a part of it, and returns a response instead of an error.
    """

    name: str
    error: "Callable[[Any, ClientCall], BaseException]" = field(repr=False)
    after: bool = False
    instead: "Callable[[Callable[..., Any], ClientCall], Any] | None" = field(default=None, repr=False)

    # Two equal faults are one key in a table of rates.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and (self.name, self.after) == (other.name, other.after)

    def __hash__(self) -> int:
        return hash((self.name, self.after))


type FaultPlan = Callable[[ClientCall], Fault | None]


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A call, and the name of the fault that it met."""

    call: ClientCall
    fault: str | None

    def __str__(self) -> str:
        fault = "" if self.fault is None else f"  !! {self.fault}"
        return f"{self.call.number:4} {self.call.service}.{self.call.method} #{self.call.nth}{fault}"


class CallHistory:
    """Every call in order, of all clients that share it. As text, it is the trace of a failure."""

    def __init__(self) -> None:
        self.events: list[CallEvent] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._total = 0
        self._lock = Lock()

    def number_call(
        self, service: str, method: str, arguments: Mapping[str, Any], args: tuple[Any, ...]
    ) -> ClientCall:
        with self._lock:
            self._total += 1
            self._counts[service, method] += 1
            return ClientCall(self._total, self._counts[service, method], service, method, arguments, args)

    def record(self, call: ClientCall, fault: Fault | None) -> None:
        with self._lock:
            self.events.append(CallEvent(call, None if fault is None else fault.name))

    @property
    def calls(self) -> list[ClientCall]:
        return [event.call for event in self.events]

    def faults(self) -> Counter[str]:
        """Count the injected faults by name."""
        return Counter(event.fault for event in self.events if event.fault is not None)

    def count(self, method: str) -> int:
        return sum(1 for call in self.calls if call.method == method)

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))


# Plans


def never(_call: ClientCall) -> None:
    """Plan no fault, which makes a Faulty a recorder."""


def on(method: str, fault: Fault, *, nth: int | Collection[int] | None = None) -> FaultPlan:
    """Plan a fault for the nth call (from 1) of a method, for several calls, or for each."""
    wanted = {nth} if isinstance(nth, int) else nth

    def plan(call: ClientCall) -> Fault | None:
        return fault if call.method == method and (wanted is None or call.nth in wanted) else None

    return plan


def at_call(number: int, fault: Fault) -> FaultPlan:
    """Plan a fault for one call of the whole history."""
    return lambda call: fault if call.number == number else None


def randomly(
    rng: random.Random, rates: Mapping[Fault, float], *, methods: Collection[str] | None = None
) -> FaultPlan:
    """Plan each fault at its rate, with one draw per call, so that a seed determines a history."""

    def plan(call: ClientCall) -> Fault | None:
        if methods is not None and call.method not in methods:
            return None
        draw = rng.random()
        for fault, rate in rates.items():
            if draw < rate:
                return fault
            draw -= rate
        return None

    return plan


def first_of(*plans: FaultPlan) -> FaultPlan:
    """Plan the fault of the first plan that has one."""

    def plan(call: ClientCall) -> Fault | None:
        return next((fault for one in plans if (fault := one(call)) is not None), None)

    return plan


# Faults


def service_error(
    code: str, message: str = "injected", *, after: bool = False, members: Mapping[str, Any] | None = None
) -> Fault:
    """Return an error answer of the service. With `after` the call took effect nevertheless."""

    def error(client: Any, call: ClientCall) -> BaseException:
        return client_error(
            client.exceptions,
            _operation_name(client, call.method),
            code,
            message,
            status=_STATUS.get(code, 400),
            members=members,
        )

    return Fault(code, error, after)


def throttled(code: str | None = None) -> Fault:
    """Return a throttling error, by default with the code of the called service."""
    codes = {"dynamodb": "ProvisionedThroughputExceededException", "sqs": "RequestThrottled"}

    def error(client: Any, call: ClientCall) -> BaseException:
        chosen = code or codes.get(call.service, "ThrottlingException")
        return service_error(chosen, "Rate exceeded").error(client, call)

    return Fault(code or "throttled", error)


def internal_error(*, after: bool = False) -> Fault:
    return service_error("InternalServerError", "Internal server error", after=after)


def conflict(*positions: int) -> Fault:
    """Return a conflict with another transaction at these positions of the request (default: 0)."""
    return cancelled("TransactionConflict", "Transaction is ongoing for the item", *positions)


def cancelled(code: str, message: str, *positions: int) -> Fault:
    """Return the cancellation of a transaction with this reason at these positions (default: 0)."""
    hit = positions or (0,)
    innocent = {"Code": "None"}

    def error(client: Any, call: ClientCall) -> BaseException:
        count = len(call.arguments["TransactItems"])
        reasons = [{"Code": code, "Message": message} if at in hit else innocent for at in range(count)]
        refusal = transaction_cancelled(reasons)
        fault = service_error(refusal.code, refusal.message, members=refusal.members)
        return fault.error(client, call)

    return Fault(code if hit == (0,) else f"{code} at {', '.join(map(str, hit))}", error)


def entries_rejected(last: int | None = None) -> Fault:
    """Return a successful SQS batch in which the `last` entries failed, or all of them."""

    def instead(method: Callable[..., Any], call: ClientCall) -> Any:
        entries = list(call.arguments["Entries"])
        cut = len(entries) - last if last is not None else 0
        taken = method(**{**call.arguments, "Entries": entries[:cut]}) if cut else {"Successful": []}
        failed = [{"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in entries[cut:]]
        return {**taken, "Failed": [*taken.get("Failed", []), *failed]}

    name = "entries rejected" if last is None else f"last {last} entries rejected"
    return Fault(name, _no_error, instead=instead)


def keys_unprocessed() -> Fault:
    """Return half of the items of a BatchGetItem, and the keys of the rest as unprocessed."""

    def instead(method: Callable[..., Any], call: ClientCall) -> Any:
        asked, left = {}, {}
        for table, request in call.arguments["RequestItems"].items():
            cut = len(request["Keys"]) // 2
            left[table] = {**request, "Keys": request["Keys"][cut:]}
            if cut:
                asked[table] = {**request, "Keys": request["Keys"][:cut]}
        answer = method(RequestItems=asked) if asked else {"Responses": {}}
        return answer | {"UnprocessedKeys": left}

    return Fault("half unprocessed", _no_error, instead=instead)


def _no_error(_client: Any, _call: ClientCall) -> BaseException:
    raise AssertionError("a fault with `instead` raises no error")


def connection_refused() -> Fault:
    return Fault("connection refused", lambda _client, _call: EndpointConnectionError(endpoint_url=_ENDPOINT))


def connect_timeout() -> Fault:
    return Fault("connect timeout", lambda _client, _call: ConnectTimeoutError(endpoint_url=_ENDPOINT))


def connection_closed() -> Fault:
    """Return a connection that closed before the request arrived."""
    return Fault("connection closed", lambda _client, _call: ConnectionClosedError(endpoint_url=_ENDPOINT))


def lost_response() -> Fault:
    """Return a connection that closed after the call took effect."""
    return Fault(
        "lost response", lambda _client, _call: ConnectionClosedError(endpoint_url=_ENDPOINT), after=True
    )


def timed_out(*, after: bool = True) -> Fault:
    """Return a read timeout. With `after`, the default, the call took effect."""
    return Fault(
        "timed out" if after else "timed out before",
        lambda _client, _call: ReadTimeoutError(endpoint_url=_ENDPOINT),
        after,
    )


def killed_before() -> Fault:
    return Fault("killed before", lambda _client, call: Killed(call))


def killed_after() -> Fault:
    return Fault("killed after", lambda _client, call: Killed(call), after=True)


def raising(error: BaseException, *, after: bool = False) -> Fault:
    """Return any other error, for clients that are not botocore's."""
    return Fault(f"{type(error).__name__}{' after' if after else ''}", lambda _client, _call: error, after)


def possible_faults(client: Any, method: str) -> list[Fault]:
    """Return everything that can happen at a call.

    These are the errors that the service's model lists for the operation, those of every AWS operation, a
    lost connection or answer, and the end of the process before and after the call.
    """
    operation = client.meta.service_model.operation_model(_operation_name(client, method))
    listed = [shape.error_code for shape in operation.error_shapes]
    codes = [code for code in listed if code != "TransactionCanceledException"]
    transport = [connection_refused(), connection_closed(), lost_response(), timed_out()]
    deaths = [killed_before(), killed_after()]
    contended = [conflict()] if method == "transact_write_items" else []
    answers = [service_error(code) for code in dict.fromkeys([*codes, "ThrottlingException"])]
    return [*answers, *contended, internal_error(after=True), *transport, *deaths]


class Faulty:
    """A client whose operations meet the faults of a plan. Its other attributes are the client's own."""

    def __init__(self, client: Any, plan: FaultPlan = never, history: CallHistory | None = None) -> None:
        self._client = client
        self.plan = plan
        self.history = history or CallHistory()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return self._guarded(name, attribute) if self._is_operation(name, attribute) else attribute

    def get_paginator(self, operation_name: str) -> Any:
        """Return a paginator whose pages are calls of this object."""
        return type(self._client).get_paginator(self, operation_name)

    def _is_operation(self, name: str, attribute: object) -> bool:
        if name.startswith("_") or not callable(attribute):
            return False
        meta = getattr(self._client, "meta", None)
        return meta is None or name in meta.method_to_api_mapping

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            made = self.history.number_call(_service_name(self._client), name, kwargs, args)
            fault = self.plan(made)
            self.history.record(made, fault)
            if fault is None:
                return method(*args, **kwargs)
            if fault.instead:
                return fault.instead(method, made)
            if fault.after:
                method(*args, **kwargs)
            raise fault.error(self._client, made)

        return call


def _service_name(client: Any) -> str:
    meta = getattr(client, "meta", None)
    return type(client).__name__ if meta is None else str(meta.service_model.service_name)


def _operation_name(client: Any, method: str) -> str:
    return str(client.meta.method_to_api_mapping[method])
