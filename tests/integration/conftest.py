"""Engines for integration tests: the in-memory doubles, DynamoDB Local, and the emulator.

`dynamodb_engine` and `sqs_engine` are parametrised by the contract suites. `real_dynamodb` is for tests that
need real concurrency and transactions: DynamoDB Local, or where that cannot run the emulator, which it says.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.engines.dynamodb_local import Unavailable
from testkit.engines.engine import EMULATOR, LOCAL, Engine, created_table, dynamodb_engine


class RunsOnTheEmulator(UserWarning):
    """Said once, not an error: the tests run, on less than they were written for."""


@pytest.fixture(scope="session")
def real_engine() -> Iterator[Engine]:
    """One process per worker; tests keep apart by tables of their own."""
    engine = _started()
    yield engine
    engine.stop()


def _started() -> Engine:
    try:
        return dynamodb_engine(LOCAL, {})
    except Unavailable as reason:
        with warnings.catch_warnings():
            warnings.simplefilter("default", RunsOnTheEmulator)
            warnings.warn(f"on the emulator instead: {reason}", RunsOnTheEmulator, stacklevel=2)
    try:
        return dynamodb_engine(EMULATOR, {})
    except Unavailable as reason:
        pytest.skip(f"neither DynamoDB Local nor the emulator runs here: {reason}")


@pytest.fixture
def real_dynamodb(real_engine: Engine) -> Any:
    """A boto3 client; safe to share between threads."""
    return real_engine.client


@pytest.fixture
def real_table(real_engine: Engine) -> Iterator[str]:
    """A table of the test's own, deleted after it."""
    name = created_table(real_engine.client)
    yield name
    real_engine.client.delete_table(TableName=name)
