"""A DynamoDB engine with real concurrency and transactions, for integration tests."""

import warnings
from collections.abc import Iterator

import pytest

from testkit.engines.engine import EMULATOR, LOCAL, Engine, EngineUnavailable, create_table, start_dynamodb


class RunsOnEmulatorWarning(UserWarning):
    """Reported once, not an error: the tests run, but on less than they were written for."""


@pytest.fixture(scope="session")
def real_engine() -> Iterator[Engine]:
    """DynamoDB Local, or the emulator if that cannot run. Each test has its own table."""
    engine = start_real_engine()
    yield engine
    engine.stop()


def start_real_engine() -> Engine:
    try:
        return start_dynamodb(LOCAL)
    except EngineUnavailable as reason:
        with warnings.catch_warnings():
            warnings.simplefilter("default", RunsOnEmulatorWarning)
            warnings.warn(f"on the emulator instead: {reason}", RunsOnEmulatorWarning, stacklevel=2)
    try:
        return start_dynamodb(EMULATOR)
    except EngineUnavailable as reason:
        pytest.skip(f"neither DynamoDB Local nor the emulator runs here: {reason}")


@pytest.fixture
def real_dynamodb(real_engine):
    """Return a boto3 client, which threads may share."""
    return real_engine.client


@pytest.fixture
def real_table(real_engine) -> Iterator[str]:
    """Create a table, yield its name and delete it after the test."""
    name = create_table(real_engine.client)
    yield name
    real_engine.client.delete_table(TableName=name)
