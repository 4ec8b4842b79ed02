"""What may happen at a call of a function, chosen by a number.

`{("query", 2): 0, ("retrieve", 1): 12}` means: the invocation pauses before its second query so that others
run first, and its first fetch of a session meets the twelfth of the faults that are possible there.
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
    lost_response,
    possible_faults,
    timed_out,
)
from testkit.doubles.sqs import MemorySQS
from testkit.fake_stripe import errors

type Accidents = Mapping[tuple[str, int], int]  # number by method and count

PAUSE = 0
# Numbers of faults are drawn below this; the modulus of any list of faults divides it well enough.
FAULT_NUMBERS = 1000
# The calls of each function, and how often an accident is drawn for them; a test fails if one is missing.
CALL_WEIGHTS = {
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
        "list": 1,
        "products": 1,
        "invoice_payments": 1,
        "disputes": 1,
        "events": 1,
        "get_parameter": 1,
        "change_message_visibility_batch": 4,
    },
}
# Calls that an invocation seldom makes a second time.
SINGLE_CALLS = frozenset(
    {"invoke", "send_message_batch", "change_message_visibility_batch", "batch_get_item", "products"}
)
_CLIENTS = {"dynamodb": MemoryDynamoDB, "sqs": MemorySQS}
_DEATHS = [killed_before(), killed_after()]


def choose_fault(call: ClientCall, number: int) -> Fault:
    """Return the fault of this number, counted from 1."""
    faults = list_faults(call.service, call.method)
    return faults[(number - 1) % len(faults)]


@cache
def list_faults(service: str, method: str) -> list[Fault]:
    """Return all faults of a call; deaths and lost responses twice, since they can double an effect."""
    if service in _CLIENTS:
        return [*possible_faults(_CLIENTS[service](), method), lost_response(), *_DEATHS]
    if service == "StripeApi":
        return [*_list_stripe_faults(method), *_DEATHS]
    return [connection_refused(), connection_closed(), lost_response(), timed_out(), *_DEATHS]


def _list_stripe_faults(method: str) -> list[Fault]:
    errors_by_name: dict[str, Callable[[], Exception]] = {
        "429": lambda: errors.rate_limited("endpoint-rate"),
        "500": errors.server_error,
        "dropped": errors.DropConnectionError,
        "timed out": errors.DropConnectionError,
    }
    if method == "retrieve":
        errors_by_name["404"] = lambda: errors.no_such_session("gone for a moment")
    return [_raise_error(name, make) for name, make in errors_by_name.items()]


def _raise_error(name: str, make: Callable[[], Exception]) -> Fault:
    # Constructed for each call: an exception that is raised again keeps every traceback.
    return Fault(name, lambda client, call: make())


def draw_accidents(rng: random.Random, function: str) -> dict[tuple[str, int], int]:
    """Return the accidents of one invocation: none in about half of them."""
    (count,) = rng.choices((0, 1, 2, 3), (45, 35, 14, 6))
    return {_draw_call(rng, function): _draw_number(rng) for _ in range(count)}


def spread_lookups(planned: Accidents) -> Accidents:
    """Let an accident also meet the two lookups of a shop's own keys, by the same call as the first read."""
    lookup = ("batch_get_item", 1)
    if lookup not in planned:
        return planned
    number = planned[lookup]
    rest = {call: other for call, other in planned.items() if call != lookup}
    return rest | {("batch_get_item", 1 + (number + len(rest)) % 3): number}


def _draw_call(rng: random.Random, function: str) -> tuple[str, int]:
    (method,) = rng.choices(*zip(*CALL_WEIGHTS[function].items(), strict=True))
    return method, 1 if method in SINGLE_CALLS else min(rng.randint(1, 4), rng.randint(1, 4))


def _draw_number(rng: random.Random) -> int:
    return PAUSE if rng.random() < 0.4 else rng.randrange(1, FAULT_NUMBERS)
