"""The producer's log, and its harness in memory."""

import json

import pytest

from testkit.listings import ProducerHarness


@pytest.fixture
def read_log(capfd):
    """Read (level, message, run) of the log lines since the last call, of one level if it is given."""

    def read(level=None):
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        entries = [(line["level"], line["message"], line["run_id"]) for line in lines if "_aws" not in line]
        return [entry for entry in entries if level in (None, entry[0])]

    return read


@pytest.fixture
def harness(memory, table, capfd):
    harness = ProducerHarness(memory, table, capfd)
    yield harness
    harness.pool.shutdown()
