"""What goes wrong on the way to AWS: shares of faults, as rules for microburst.

microburst draws rule after rule, so each rule's probability is its share of what the rules before it left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

type Rule = dict[str, Any]

THROTTLED, FAILED, RESET, LOST, TIMEOUT = "throttled", "500", "reset", "response lost", "timeout"
CONFLICT, PARTIAL = "conflict", "partial failure"
# Longer than the 3 s that a client waits for an answer.
HANG_MS = 4000
# The proxy answers a rule with this header by failing some entries of a batch itself.
PARTIAL_MARK = "x-partial-failure"

_CODES = {
    "dynamodb": ("ProvisionedThroughputExceededException", "InternalServerError"),
    "sqs": ("ThrottlingException", "InternalFailure"),
    "lambda": ("TooManyRequestsException", "ServiceException"),
}
# A call that hangs costs seconds, so few do; a commit whose answer is lost is the fault that doubles things.
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
class Fired:
    """How often one kind of fault hit one operation."""

    service: str
    operation: str
    kind: str
    times: int


def rules(service: str, rate: float, only: str | None = None) -> list[Rule]:
    """Faults for this share of the calls of each operation, of one kind or of all; at 0 there are none."""
    return [
        rule
        for (owner, operation), kinds in OPERATIONS.items()
        if owner == service and rate > 0
        for rule in _of_operation(service, operation, _chosen(kinds, only), rate)
    ]


def _chosen(kinds: Mapping[str, int], only: str | None) -> Mapping[str, int]:
    return {kind: weight for kind, weight in kinds.items() if only in (None, kind)}


def _of_operation(service: str, operation: str, kinds: Mapping[str, int], rate: float) -> Iterator[Rule]:
    left = 1.0
    for kind, weight in kinds.items():
        share = rate * weight / sum(kinds.values())
        # A sum of shares may pass 1 by a rounding.
        yield {
            "service": service,
            "operation": operation,
            "probability": min(1.0, share / left),
            **_effect(service, kind),
        }
        left -= share


def _effect(service: str, kind: str) -> Rule:
    throttled, failed = _CODES[service]
    effects: dict[str, Rule] = {
        THROTTLED: {"error": {"code": throttled, "status": 400}},
        FAILED: {"error": {"code": failed, "status": 500}},
        RESET: {"reset": True},
        LOST: {"response": {"abort_bytes": 0}},
        TIMEOUT: {"timeout_ms": HANG_MS},
        CONFLICT: {"error": {"code": "TransactionCanceledException", "status": 400}},
        PARTIAL: {"response": {"set_headers": {PARTIAL_MARK: "yes"}}},
    }
    return effects[kind]


def kind_of(action: str) -> str:
    """The fault behind microburst's word for what it did."""
    name, _, what = action.partition(":")
    if name == "error":
        if what == "TransactionCanceledException":
            return CONFLICT
        return THROTTLED if what in {codes[0] for codes in _CODES.values()} else FAILED
    # A rule that only marks is a "match" to it.
    return {"reset": RESET, "response": LOST, "timeout": TIMEOUT, "match": PARTIAL}[name]
