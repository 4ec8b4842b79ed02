"""The region, profile and connections of the stack that a command works on."""

from importlib.metadata import requires

import pytest

from ops.errors import CommandError
from ops.stack.stack import ONCE, StackSelector, select_stack

PROFILE = "eu-west-2"


@pytest.fixture(autouse=True)
def _profile(monkeypatch, tmp_path):
    """Select a profile with a region, and no region in the environment."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text(f"[default]\nregion = {PROFILE}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))


@pytest.mark.parametrize(
    ("environ", "named", "region"),
    [
        ({}, None, PROFILE),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, None, "eu-west-3"),
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-west-3"}, None, "eu-north-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-3"}, None, "eu-west-3"),
        ({"AWS_REGION": "eu-north-1"}, "us-west-2", "us-west-2"),
    ],
)
def test_region_is_the_named_one_or_that_of_the_environment(monkeypatch, environ, named, region):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert select_stack(StackSelector(region=named), environ, None).region == region


def test_missing_region_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="no AWS region"):
        select_stack(StackSelector(), {}, None)


def test_connection_of_a_long_invocation_is_kept_alive():
    assert ONCE.tcp_keepalive is True


def test_command_is_installed_with_the_library_that_aws_login_needs():
    assert [one for one in requires("stripe-nightly-sync") if "botocore[crt]" in one and "cli" in one]
