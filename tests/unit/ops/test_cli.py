"""The frame of the command line: help, common options and one-line errors."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    UnauthorizedSSOTokenError,
)
from typer.testing import CliRunner

from ops.cli.command import accept_common_options, error_message, register
from ops.cli.parsing import SyncGroup
from ops.cli.screen import CommandResult
from ops.errors import CommandError
from ops.stack.stack import SANDBOX_STATE
from testkit.commands import list_commands

ROOT = Path(__file__).parents[3]
COMMANDS = list_commands()
# Words with which the help of a command or an option begins, as in the imperative.
VERBS = re.compile(
    r"(Accept|Acknowledge|Allow|Also|Backfill|Check|Copy|Cover|Dismiss|Do|Explain|Give|"
    r"Inspect|Install|Leave|List|Look|Move|Only|Operate|Print|Process|"
    r"Purge|Show|Start|Stop|Switch|Take|Use|Wait|Work|Write)\b"
)


def test_help_lists_every_command_and_the_exit_codes(cli):
    output = cli("--help").output
    assert [name for name in COMMANDS if name.split()[0] not in output] == []
    assert "Exit codes" in output


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_has_own_examples_and_common_options(cli, name):
    result = cli(f"{name} --help")
    assert result.exit_code == 0
    assert f"nightly-sync {name}" in result.output.partition("Examples")[2]
    assert "--json" in result.output
    assert cli(f"{name} -h").output == result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_on_80_columns_breaks_no_word_and_no_example(cli, monkeypatch, name):
    lines = {line.strip() for line in cli(f"{name} --help").output.partition("Examples")[2].splitlines()}
    monkeypatch.setenv("COLUMNS", "80")
    narrow = cli(f"{name} --help").output
    shown = {line.strip() for line in narrow.partition("Examples")[2].splitlines()}
    assert lines - shown == set()
    assert re.findall(r"<[a-z_|]*\|[a-z_]* *│", narrow) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_imperative(name):
    command = COMMANDS[name]
    options = [one for one in command.params if one.param_type_name == "option" and one.help]
    texts = [command.help, *(one.help for one in options)]
    assert [text for text in texts if not VERBS.match(text)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_wrapped_to_the_terminal_only(name):
    assert "\n" not in COMMANDS[name].help.replace("\n\n", "")


def test_common_options_are_described_once(cli):
    shared = "Work on this CloudFormation stack"
    assert [
        name for name in ("--help", *(f"{one} --help" for one in COMMANDS)) if shared in cli(name).output
    ] == ["--help"]


def test_version_is_that_of_the_package(cli):
    result = cli("--version")
    assert (result.exit_code, result.output) == (0, f"nightly-sync {version('stripe-nightly-sync')}\n")


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("run --max-sessions", "run --limit"),
        ("dlq redrive --max", "dlq redrive --limit"),
        ("dlq redrive --follow", "dlq redrive --timeout"),
    ],
)
def test_earlier_name_of_an_option_is_accepted_and_not_listed(cli, earlier, now):
    assert "no AWS region" in cli(f"{earlier} 5").output
    assert "no AWS region" in cli(f"{earlier}=5").output
    command, _, option = earlier.rpartition(" ")
    assert f"{option} " not in cli(f"{command} --help").output
    assert now.rpartition(" ")[2] in cli(f"{command} --help").output


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_quiet_prints_only_what_needs_action(options, monkeypatch):
    results = [CommandResult({"a": 1}, lambda screen: screen.text("shown"), needs) for needs in (False, True)]
    outputs = []
    for result in results:
        root = typer.Typer(cls=SyncGroup)
        accept_common_options(root)
        register(root, "one", lambda _, result=result: result, [])
        register(root, "two", lambda _, result=result: result, [])
        done = CliRunner().invoke(root, ["one", "-q", *options])
        outputs.append((done.exit_code, bool(done.output)))
    assert outputs == [(0, False), (1, True)]


@pytest.mark.parametrize(
    ("line", "environment", "folder"),
    [
        ("--sandbox one status", None, "one"),
        ("status --sandbox one", None, "one"),
        ("dlq --sandbox one list", None, "one"),
        ("--sandbox one status --sandbox two", None, "two"),
        ("status", "three", "three"),
        ("--sandbox one status", "three", "one"),
        ("status --sandbox one", "three", "one"),
        ("dlq --sandbox one list", "three", "one"),
    ],
)
def test_common_option_position_and_precedence(cli, monkeypatch, line, environment, folder):
    if environment:
        monkeypatch.setenv("NIGHTLY_SYNC_SANDBOX", environment)
    result = cli(line)
    assert result.exit_code == 2
    assert f"no sandbox is running in {folder};" in result.output


def test_sandbox_refuses_credentials_and_other_stacks(cli, tmp_path):
    assert "leave --profile and --region out" in cli("status --sandbox x --profile prod").output
    credentials = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), "x")
    state = {"endpoint_url": "http://127.0.0.1:1", "credentials": credentials, "stack": {"name": "sync-1"}}
    (tmp_path / SANDBOX_STATE).write_text(json.dumps(state))
    result = cli(f"status --sandbox {tmp_path} --stack other")
    assert result.exit_code == 2
    assert "contains the stack sync-1, not other: leave --stack out" in result.output


def test_closed_pipe_exits_quietly_with_its_own_code():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ops.cli", "status", "--sandbox", "nowhere", "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_error_is_json_with_the_json_option(cli):
    assert "--no-wait" in json.loads(cli("run --dry-run --no-wait --json").output)["error"]


def aws(code, message="", operation="DescribeStacks"):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


DENIED = (
    "User: arn:aws:iam::123456789012:user/jane is not authorized to perform: "
    "scheduler:GetSchedule on resource: arn:aws:…"
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (aws("ExpiredToken"), "expired"),
        (aws("InvalidClientTokenId"), "does not know these credentials"),
        (
            aws("AccessDeniedException", DENIED),
            "no permission: these AWS credentials may not call scheduler:GetSchedule",
        ),
        (aws("AccessDenied", "Access Denied", "ListObjects"), "may not call ListObjects"),
        (aws("Throttling", "Rate\nexceeded"), "AWS: DescribeStacks: Throttling: Rate exceeded"),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "are incomplete"),
        (UnauthorizedSSOTokenError(), "log in again (aws sso login)"),
        (
            EndpointConnectionError(endpoint_url="https://sqs.eu-north-9.amazonaws.com/"),
            "no connection to sqs.eu-north-9.amazonaws.com: check the network and --region",
        ),
        (CommandError("there is no run x"), "there is no run x"),
        (PermissionError(13, "Permission denied", "out/page.html"), "out/page.html: Permission denied"),
    ],
)
def test_error_message_is_one_line(error, message):
    line = error_message(error)
    assert message in line
    assert "\n" not in line
