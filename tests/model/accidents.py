"""What may happen at a call that a function makes, and the choice of one of them by a number.

`{("query", 2): 0, ("retrieve", 1): 12}` reads: the invocation stops before its second query, for others to go
first; its first request for a session meets the twelfth of what may happen there.
"""

import random
from collections.abc import Callable, Mapping
from functools import cache

from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import (
    ClientCall,
    Fault,
    connection_closed,
    connection_refused,
    killed_after,
    killed_before,
    list_faults,
    lost_response,
    timed_out,
)
from testkit.doubles.sqs import MemorySQS
from testkit.fake_stripe import errors

type Accidents = Mapping[tuple[str, int], int]

PAUSE = 0
# Numbers of accidents are drawn below this; the modulus of any list of faults divides it well enough.
KINDS = 1000
# The calls of each function and how often an accident is meant for them; a test fails where one is missing.
CALLS_OF = {
    "producer": {
        "get_item": 2,
        "query": 2,
        "transact_write_items": 4,
        "list": 2,
        "events": 2,
        "send_message_batch": 3,
        "get_parameter": 1,
        "invoke": 4,
    },
    "consumer": {
        "batch_get_item": 2,
        "query": 3,
        "transact_write_items": 5,
        "get_item": 1,
        "retrieve": 3,
        "events": 1,
        "get_parameter": 1,
        "change_message_visibility_batch": 4,
    },
}
# Calls that an invocation seldom makes a second time.
ONCE = frozenset({"invoke", "send_message_batch", "change_message_visibility_batch", "batch_get_item"})
_CLIENTS = {"dynamodb": MemoryDynamoDB, "sqs": MemorySQS}
_DEATHS = [killed_before(), killed_after()]


def chosen(call: ClientCall, kind: int) -> Fault:
    """`kind` counts from 1; 0 is the pause."""
    faults = possible(call.service, call.method)
    return faults[(kind - 1) % len(faults)]


@cache
def possible(service: str, method: str) -> list[Fault]:
    """Deaths and lost answers twice: they are what exactly-once has to fear."""
    if service in _CLIENTS:
        return [*list_faults(_CLIENTS[service](), method), lost_response(), *_DEATHS]
    if service == "StripeApi":
        return [*_stripe(method), *_DEATHS]
    return [connection_refused(), connection_closed(), lost_response(), timed_out(), *_DEATHS]


def _stripe(method: str) -> list[Fault]:
    """Made anew each time: an exception that is raised again and again keeps every traceback."""
    errors_by_name: dict[str, Callable[[], Exception]] = {
        "429": lambda: errors.rate_limited("endpoint-rate"),
        "500": errors.server_error,
        "dropped": errors.DropConnectionError,
        "timed out": errors.DropConnectionError,
    }
    if method == "retrieve":
        errors_by_name["404"] = lambda: errors.no_such_session("gone for a moment")
    return [_raising(name, make) for name, make in errors_by_name.items()]


def _raising(name: str, make: Callable[[], Exception]) -> Fault:
    return Fault(name, lambda client, call: make())


def drawn(rng: random.Random, function: str) -> dict[tuple[str, int], int]:
    """None at all half of the time."""
    (count,) = rng.choices((0, 1, 2, 3), (45, 35, 14, 6))
    return {_place(rng, function): _kind(rng) for _ in range(count)}


def _place(rng: random.Random, function: str) -> tuple[str, int]:
    (method,) = rng.choices(*zip(*CALLS_OF[function].items(), strict=True))
    return method, 1 if method in ONCE else min(rng.randint(1, 4), rng.randint(1, 4))


def _kind(rng: random.Random) -> int:
    return PAUSE if rng.random() < 0.4 else rng.randrange(1, KINDS)
