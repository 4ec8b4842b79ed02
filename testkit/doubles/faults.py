"""Faults on the way to a service: before a call, after it took effect, or instead of the process living on.

    history = History()
    table = Faulty(client, on("transact_write_items", conflict(0), nth=1), history)
    queue = Faulty(sqs, randomly(Random(7), {throttled(): 0.05, lost_response(): 0.05}), history)

A plan is a function from a call to a fault or None: plans compose (`first_of`), and tests can write theirs.
Works on the in-memory doubles, on boto3's clients, and on any object whose methods are its calls.
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

_ENDPOINT = "https://service.test"
_STATUS = {"InternalServerError": 500, "InternalFailure": 500, "ServiceUnavailable": 503}


class Killed(BaseException):
    """The process died here: nothing that a program catches, as it would not get to catch it."""


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`th call of a history (from 1), the `nth` to this method of this service."""

    number: int
    nth: int
    service: str
    method: str
    arguments: Mapping[str, Any] = field(repr=False)
    positional: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """`after` means that the call is done and its effect there when the error is raised. `instead` makes the
    call itself, in part, and answers what the service says then: no error at all."""

    name: str
    error: "Callable[[Any, Call], BaseException]" = field(repr=False)
    after: bool = False
    instead: "Callable[[Callable[..., Any], Call], Any] | None" = field(default=None, repr=False)

    # One fault is one key of a table of rates, however often its function is called.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and (self.name, self.after) == (other.name, other.after)

    def __hash__(self) -> int:
        return hash((self.name, self.after))


type Plan = Callable[[Call], Fault | None]


@dataclass(frozen=True, slots=True)
class Event:
    call: Call
    fault: str | None

    def __str__(self) -> str:
        fault = "" if self.fault is None else f"  !! {self.fault}"
        return f"{self.call.number:4} {self.call.service}.{self.call.method} #{self.call.nth}{fault}"


class History:
    """Every call in order, across all clients that share it; printed, it is the trace of a failure."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._numbered = 0
        self._lock = Lock()

    def numbered(
        self, service: str, method: str, arguments: Mapping[str, Any], args: tuple[Any, ...]
    ) -> Call:
        with self._lock:
            self._numbered += 1
            self._counts[service, method] += 1
            return Call(self._numbered, self._counts[service, method], service, method, arguments, args)

    def record(self, call: Call, fault: Fault | None) -> None:
        with self._lock:
            self.events.append(Event(call, None if fault is None else fault.name))

    @property
    def calls(self) -> list[Call]:
        return [event.call for event in self.events]

    def faults(self) -> Counter[str]:
        """How many of each kind were injected."""
        return Counter(event.fault for event in self.events if event.fault is not None)

    def count(self, method: str) -> int:
        return sum(1 for call in self.calls if call.method == method)

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))


# Plans


def never(call: Call) -> None:
    """No fault at all: a recorder."""


def on(method: str, fault: Fault, *, nth: int | Collection[int] | None = None) -> Plan:
    """At the nth call (from 1) of a method, at several, or at each."""
    wanted = {nth} if isinstance(nth, int) else nth

    def plan(call: Call) -> Fault | None:
        return fault if call.method == method and (wanted is None or call.nth in wanted) else None

    return plan


def at_call(number: int, fault: Fault) -> Plan:
    """At one call of the whole history, whatever it is: for trying each in turn."""
    return lambda call: fault if call.number == number else None


def randomly(
    rng: random.Random, rates: Mapping[Fault, float], *, methods: Collection[str] | None = None
) -> Plan:
    """Each fault at its rate; one draw per call, so that a seed is a history."""

    def plan(call: Call) -> Fault | None:
        if methods is not None and call.method not in methods:
            return None
        draw = rng.random()
        for fault, rate in rates.items():
            if draw < rate:
                return fault
            draw -= rate
        return None

    return plan


def first_of(*plans: Plan) -> Plan:
    def plan(call: Call) -> Fault | None:
        return next((fault for one in plans if (fault := one(call)) is not None), None)

    return plan


# Faults


def service_error(
    code: str, message: str = "injected", *, after: bool = False, members: Mapping[str, Any] | None = None
) -> Fault:
    """An error that the service answers. With `after` it answers it although the call took effect."""

    def error(client: Any, call: Call) -> BaseException:
        return client_error(
            client.exceptions,
            _operation_of(client, call.method),
            code,
            message,
            status=_STATUS.get(code, 400),
            members=members,
        )

    return Fault(code, error, after)


def throttled(code: str | None = None) -> Fault:
    """By default the code that the called service itself throttles with."""
    codes = {"dynamodb": "ProvisionedThroughputExceededException", "sqs": "RequestThrottled"}

    def error(client: Any, call: Call) -> BaseException:
        chosen = code or codes.get(call.service, "ThrottlingException")
        return service_error(chosen, "Rate exceeded").error(client, call)

    return Fault(code or "throttled", error)


def internal_error(*, after: bool = False) -> Fault:
    return service_error("InternalServerError", "Internal server error", after=after)


def conflict(*positions: int) -> Fault:
    """Another transaction holds the items at these positions of the request (default: the first)."""
    return cancelled("TransactionConflict", "Transaction is ongoing for the item", *positions)


def cancelled(code: str, message: str, *positions: int) -> Fault:
    """The transaction is cancelled for this reason at these positions of the request (by default 0)."""
    hit = positions or (0,)
    innocent = {"Code": "None"}

    def error(client: Any, call: Call) -> BaseException:
        count = len(call.arguments["TransactItems"])
        reasons = [{"Code": code, "Message": message} if at in hit else innocent for at in range(count)]
        sentence = (
            "Transaction cancelled, please refer cancellation reasons for specific reasons "
            f"[{', '.join(reason['Code'] for reason in reasons)}]"
        )
        members = {"Message": sentence, "CancellationReasons": reasons}
        fault = service_error("TransactionCanceledException", sentence, members=members)
        return fault.error(client, call)

    return Fault(code if hit == (0,) else f"{code} at {', '.join(map(str, hit))}", error)


def entries_rejected(last: int | None = None) -> Fault:
    """SQS answers 200 and says that entries failed: the `last` so many of the batch, or all."""

    def instead(method: Callable[..., Any], call: Call) -> Any:
        entries = list(call.arguments["Entries"])
        cut = len(entries) - last if last is not None else 0
        taken = method(**{**call.arguments, "Entries": entries[:cut]}) if cut else {"Successful": []}
        failed = [{"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in entries[cut:]]
        return {**taken, "Failed": [*taken.get("Failed", []), *failed]}

    name = "entries rejected" if last is None else f"last {last} entries rejected"
    return Fault(name, _no_error, instead=instead)


def keys_unprocessed() -> Fault:
    """DynamoDB answers half of a BatchGetItem and leaves the rest to be asked for again."""

    def instead(method: Callable[..., Any], call: Call) -> Any:
        ((table, request),) = call.arguments["RequestItems"].items()
        cut = len(request["Keys"]) // 2
        left = {table: {**request, "Keys": request["Keys"][cut:]}}
        if not cut:
            return {"Responses": {}, "UnprocessedKeys": left}
        return method(RequestItems={table: {**request, "Keys": request["Keys"][:cut]}}) | {
            "UnprocessedKeys": left
        }

    return Fault("half unprocessed", _no_error, instead=instead)


def _no_error(client: Any, call: Call) -> BaseException:
    raise AssertionError("a fault that answers raises nothing")


def connection_refused() -> Fault:
    return Fault("connection refused", lambda client, call: EndpointConnectionError(endpoint_url=_ENDPOINT))


def connect_timeout() -> Fault:
    return Fault("connect timeout", lambda client, call: ConnectTimeoutError(endpoint_url=_ENDPOINT))


def connection_closed() -> Fault:
    """The request never arrived."""
    return Fault("connection closed", lambda client, call: ConnectionClosedError(endpoint_url=_ENDPOINT))


def lost_response() -> Fault:
    """The call took effect and the connection closed before the answer came."""
    return Fault(
        "lost response", lambda client, call: ConnectionClosedError(endpoint_url=_ENDPOINT), after=True
    )


def timed_out(*, after: bool = True) -> Fault:
    """No answer in time. With `after`, the default, the call had taken effect."""
    return Fault(
        "timed out" if after else "timed out before",
        lambda client, call: ReadTimeoutError(endpoint_url=_ENDPOINT),
        after,
    )


def killed_before() -> Fault:
    return Fault("killed before", lambda client, call: Killed(call))


def killed_after() -> Fault:
    return Fault("killed after", lambda client, call: Killed(call), after=True)


def raising(error: BaseException, *, after: bool = False) -> Fault:
    """Any other error, for clients that are not botocore's."""
    return Fault(f"{type(error).__name__}{' after' if after else ''}", lambda client, call: error, after)


def faults_of(client: Any, method: str) -> list[Fault]:
    """Everything that may happen at a call: each error that the service's model lists for the operation, what
    any AWS call may answer, a lost connection or answer, and the end of the process on either side.
    """
    operation = client.meta.service_model.operation_model(_operation_of(client, method))
    listed = [shape.error_code for shape in operation.error_shapes]
    codes = [code for code in listed if code != "TransactionCanceledException"]
    transport = [connection_refused(), connection_closed(), lost_response(), timed_out()]
    deaths = [killed_before(), killed_after()]
    contended = [conflict()] if method == "transact_write_items" else []
    answers = [service_error(code) for code in dict.fromkeys([*codes, "ThrottlingException"])]
    return [*answers, *contended, internal_error(after=True), *transport, *deaths]


class Faulty:
    """A client behind a plan. What is no operation (`exceptions`, `meta`) is the client's own."""

    def __init__(self, client: Any, plan: Plan = never, history: History | None = None) -> None:
        self._client = client
        self.plan = plan
        self.history = history or History()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return self._guarded(name, attribute) if self._is_operation(name, attribute) else attribute

    def get_paginator(self, operation_name: str) -> Any:
        """A paginator whose pages are calls of this object, not of the client behind it."""
        return type(self._client).get_paginator(self, operation_name)

    def _is_operation(self, name: str, attribute: object) -> bool:
        if name.startswith("_") or not callable(attribute):
            return False
        meta = getattr(self._client, "meta", None)
        return meta is None or name in meta.method_to_api_mapping

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            made = self.history.numbered(_service_of(self._client), name, kwargs, args)
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


def _service_of(client: Any) -> str:
    meta = getattr(client, "meta", None)
    return type(client).__name__ if meta is None else str(meta.service_model.service_name)


def _operation_of(client: Any, method: str) -> str:
    return str(client.meta.method_to_api_mapping[method])
