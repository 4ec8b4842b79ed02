"""The engines a contract suite runs on, and where one of them is known not to do what AWS does."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from testkit.doubles.clock import Clock
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.sqs import MemorySQS
from testkit.engines.dynamodb_local import DynamoDBLocal, Unavailable

MEMORY, LOCAL, EMULATOR = "memory", "dynamodb-local", "emulator"


@dataclass(frozen=True)
class Engine:
    """`deviations` maps the name of a test to the reason why it fails on this engine, and must fail."""

    name: str
    client: Any
    stop: Callable[[], None]
    deviations: Mapping[str, str] = field(default_factory=dict)
    wait: Callable[[float], None] = time.sleep

    def expect(self, request: pytest.FixtureRequest) -> None:
        """Marks the test that asks as one that must fail here, if it is known to."""
        test, _, case = request.node.name.partition(f"[{self.name}")
        reason = self.deviations.get(test) or self.deviations.get(f"{test}[{case[1:]}")
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def _nothing() -> None:
    pass


def _emulator(service: str, deviations: Mapping[str, str]) -> Engine:
    try:
        from testkit.emulator.process import Emulator, EmulatorError  # noqa: PLC0415  only where it is wanted
    except ImportError as missing:
        raise Unavailable(f"the emulator is not here: {missing}") from missing
    try:
        emulator = Emulator().start()
    except (EmulatorError, OSError) as error:
        raise Unavailable(str(error)) from error
    return Engine(EMULATOR, emulator.client(service), emulator.stop, deviations)


def dynamodb_engine(name: str, deviations: Mapping[str, Mapping[str, str]]) -> Engine:
    """Raises Unavailable, with the reason, where this engine cannot run."""
    known = deviations.get(name, {})
    if name == MEMORY:
        return Engine(name, MemoryDynamoDB(), _nothing, known)
    if name == LOCAL:
        local = DynamoDBLocal().start()
        return Engine(name, local.client(), local.stop, known)
    return _emulator("dynamodb", known)


def sqs_engine(name: str, deviations: Mapping[str, Mapping[str, str]]) -> Engine:
    known = deviations.get(name, {})
    if name != MEMORY:
        return _emulator("sqs", known)
    clock = Clock()
    return Engine(name, MemorySQS(clock), _nothing, known, clock.advance)


def created_table(client: Any) -> str:
    """A new table with the keys of the commerce table, under a name of its own."""
    name = f"commerce-{uuid.uuid4().hex[:12]}"
    keys = {"PK": "HASH", "SK": "RANGE"}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return name
