"""Fixtures of the operator commands."""

import shlex

import pytest
from typer.testing import CliRunner

from ops.cli.app import app
from testkit.dead_letters import WorldContext


@pytest.fixture
def cli(monkeypatch):
    """Run a command line without an AWS region, so that valid options end in `no AWS region`."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "NIGHTLY_SYNC_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    return lambda line: CliRunner().invoke(app(), shlex.split(line))


@pytest.fixture
def context(world):
    """Return the context of commands on the stack of the world."""
    return WorldContext(world)


@pytest.fixture
def make_context():
    """Return the context of commands on the stack of any world."""
    return WorldContext
