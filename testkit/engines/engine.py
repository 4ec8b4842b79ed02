"""The engines that a contract suite runs on, and how it expects their known deviations from AWS."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from testkit.doubles.clock import ManualClock
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.sqs import MemorySQS
from testkit.emulator.process import Emulator, EmulatorError
from testkit.engines.dynamodb_local import DynamoDBLocal, EngineUnavailable

MEMORY, LOCAL, EMULATOR = "memory", "dynamodb-local", "emulator"


@dataclass(frozen=True)
class Engine:
    """A running engine: `client` is its client, `wait` lets seconds pass on its clock."""

    name: str
    client: Any
    stop: Callable[[], None] = lambda: None
    wait: Callable[[float], None] = time.sleep

    def expect(self, request: pytest.FixtureRequest, deviations: Mapping[str, Mapping[str, str]]) -> None:
        """Mark the requesting test as one that must fail on this engine if it is in `deviations`.

        These are reasons by engine and by test: `test`, `test[id]` or `test[text of a parameter]`.
        """
        node: Any = request.node
        test = node.originalname
        cases = [node.callspec.id.removeprefix(f"{self.name}-"), *node.callspec.params.values()]
        known = deviations[self.name]
        for name in (test, *(f"{test}[{case}]" for case in cases if isinstance(case, str))):
            if name in known:
                request.applymarker(pytest.mark.xfail(reason=known[name], strict=True))


def _start_emulator(service: str) -> Engine:
    try:
        emulator = Emulator().start()
    except (EmulatorError, OSError) as error:
        raise EngineUnavailable(str(error)) from error
    return Engine(EMULATOR, emulator.client(service), emulator.stop)


def start_dynamodb(name: str) -> Engine:
    """Start an engine. Raise EngineUnavailable with the reason if it cannot run."""
    if name == MEMORY:
        return Engine(name, MemoryDynamoDB())
    if name == LOCAL:
        local = DynamoDBLocal().start()
        return Engine(name, local.client(), local.stop)
    return _start_emulator("dynamodb")


def start_sqs(name: str) -> Engine:
    """Start an engine. Raise EngineUnavailable with the reason if it cannot run."""
    if name != MEMORY:
        return _start_emulator("sqs")
    clock = ManualClock()
    return Engine(name, MemorySQS(clock.time), wait=clock.advance)


def create_table(client: Any) -> str:
    """Create a table with the keys of the commerce table and return its unique name."""
    name = f"commerce-{uuid.uuid4().hex[:12]}"
    keys = {"PK": "HASH", "SK": "RANGE"}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return name
