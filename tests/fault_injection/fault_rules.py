"""The faults on the way to AWS: their shares, as rules for microburst.

microburst draws one rule after the other, so the probability of a rule is its share of what the rules before
it left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

type FaultRule = dict[str, Any]

THROTTLED, FAILED, RESET, LOST, TIMEOUT = "throttled", "500", "reset", "response lost", "timeout"
CONFLICT, PARTIAL = "conflict", "partial failure"
# Longer than the 3 s that a client waits for an answer.
HANG_MS = 4000
# The proxy answers a rule with this header by failing some entries of a batch.
PARTIAL_MARK = "x-partial-failure"

_CODES = {
    "dynamodb": ("ProvisionedThroughputExceededException", "InternalServerError"),
    "sqs": ("ThrottlingException", "InternalFailure"),
    "lambda": ("TooManyRequestsException", "ServiceException"),
}
# Timeouts are rare since each costs seconds; lost responses are frequent since they can double an effect.
_ANYWHERE: Mapping[str, int] = MappingProxyType({THROTTLED: 30, FAILED: 25, RESET: 15, LOST: 27, TIMEOUT: 3})
OPERATIONS: Mapping[tuple[str, str], Mapping[str, int]] = MappingProxyType(
    {
        ("dynamodb", "GetItem"): _ANYWHERE,
        ("dynamodb", "BatchGetItem"): _ANYWHERE,
        ("dynamodb", "Query"): _ANYWHERE,
        ("dynamodb", "TransactWriteItems"): {**_ANYWHERE, CONFLICT: 40},
        ("sqs", "SendMessageBatch"): {**_ANYWHERE, PARTIAL: 40},
        ("sqs", "ChangeMessageVisibilityBatch"): {**_ANYWHERE, PARTIAL: 40},
        ("lambda", "Invoke"): _ANYWHERE,
    }
)


@dataclass(frozen=True)
class InjectedFaults:
    """How often one kind of fault hit one operation."""

    service: str
    operation: str
    kind: str
    times: int


def build_rules(service: str, rate: float, only: str | None = None) -> list[FaultRule]:
    """Return rules for this share of the calls of each operation, with all kinds of faults or only one."""
    return [
        rule
        for (owner, operation), kinds in OPERATIONS.items()
        if owner == service and rate > 0
        for rule in _build_operation_rules(service, operation, kinds, rate, only)
    ]


def _build_operation_rules(
    service: str, operation: str, kinds: Mapping[str, int], rate: float, only: str | None
) -> Iterator[FaultRule]:
    weights = {kind: weight for kind, weight in kinds.items() if only in (None, kind)}
    left = 1.0
    for kind, weight in weights.items():
        share = rate * weight / sum(weights.values())
        # A sum of shares may exceed 1 by a rounding error.
        probability = min(1.0, share / left)
        effect = _effect(service, kind)
        yield {"service": service, "operation": operation, "probability": probability, **effect}
        left -= share


def _effect(service: str, kind: str) -> FaultRule:
    throttled, failed = _CODES[service]
    effects: dict[str, FaultRule] = {
        THROTTLED: {"error": {"code": throttled, "status": 400}},
        FAILED: {"error": {"code": failed, "status": 500}},
        RESET: {"reset": True},
        LOST: {"response": {"abort_bytes": 0}},
        TIMEOUT: {"timeout_ms": HANG_MS},
        CONFLICT: {"error": {"code": "TransactionCanceledException", "status": 400}},
        PARTIAL: {"response": {"set_headers": {PARTIAL_MARK: "yes"}}},
    }
    return effects[kind]


def parse_kind(action: str) -> str:
    """Return the kind of fault behind microburst's name of what it did."""
    name, _, what = action.partition(":")
    if name == "error":
        if what == "TransactionCanceledException":
            return CONFLICT
        return THROTTLED if what in {codes[0] for codes in _CODES.values()} else FAILED
    # microburst calls a rule that only sets a header a "match".
    return {"reset": RESET, "response": LOST, "timeout": TIMEOUT, "match": PARTIAL}[name]
