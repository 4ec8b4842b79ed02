"""The command line itself: help, options before and after the name, errors in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from typer.testing import CliRunner

from ops.cli.app import app
from ops.cli.command import told
from ops.errors import CommandError

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "run",
    "status",
    "runs",
    "show",
    "explain",
    "doctor",
    "logs",
    "pause",
    "resume",
    "report",
    "dlq list",
    "dlq redrive",
    "dlq purge",
)


@pytest.fixture
def cli(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "dumb")
    return lambda *arguments: CliRunner().invoke(app(), arguments)


def test_the_help_names_every_command(cli):
    shown = cli("--help").output
    assert [name for name in COMMANDS if name.split()[0] not in shown] == []
    assert "Exit codes" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_of_its_own(cli, name):
    helped = cli(*name.split(), "--help")
    assert helped.exit_code == 0
    assert f"nightly-sync {name}" in helped.output.partition("Examples")[2]
    assert "--json" in helped.output


@pytest.mark.parametrize(
    "arguments", [("--sandbox", "nowhere", "status"), ("status", "--sandbox", "nowhere")], ids=" ".join
)
def test_common_options_stand_before_or_after_the_name(cli, arguments):
    ran = cli(*arguments)
    assert ran.exit_code == 2
    assert "no sandbox is up in nowhere" in ran.output


def test_the_later_word_counts(cli):
    assert "in two;" in cli("--sandbox", "one", "status", "--sandbox", "two").output


def test_a_common_option_stands_before_a_group_too(cli):
    assert "no sandbox is up in nowhere" in cli("dlq", "--sandbox", "nowhere", "list").output


def test_a_word_of_the_command_line_beats_the_environment_wherever_it_stands(cli, monkeypatch):
    monkeypatch.setenv("NIGHTLY_SYNC_SANDBOX", "environment")
    assert "in environment;" in cli("status").output
    assert "in said;" in cli("--sandbox", "said", "status").output
    assert "in said;" in cli("status", "--sandbox", "said").output
    assert "in said;" in cli("dlq", "--sandbox", "said", "list").output


def test_a_sandbox_has_credentials_of_its_own(cli):
    assert "leave --profile and --region out" in cli("status", "--sandbox", "x", "--profile", "prod").output


def test_a_reader_that_has_gone_is_no_finding():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ops.cli", "status", "--sandbox", "nowhere", "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_unknown_command_is_refused(cli):
    ran = cli("nonsense")
    assert ran.exit_code == 2


def aws(code, message="", operation="DescribeStacks"):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (aws("ExpiredToken"), "expired"),
        (aws("InvalidClientTokenId"), "does not know these credentials"),
        (
            aws(
                "AccessDeniedException",
                "User: arn:aws:iam::123456789012:user/jane is not authorized to perform: "
                "scheduler:GetSchedule on resource: arn:aws:…",
            ),
            "no permission: these AWS credentials may not call scheduler:GetSchedule",
        ),
        (aws("AccessDenied", "Access Denied", "ListObjects"), "may not call ListObjects"),
        (aws("Throttling", "Rate\nexceeded"), "AWS: DescribeStacks: Throttling: Rate exceeded"),
        (CommandError("there is no run x"), "there is no run x"),
        (PermissionError(13, "Permission denied", "out/page.html"), "out/page.html: Permission denied"),
    ],
)
def test_what_went_wrong_is_one_line(error, words):
    line = told(error)
    assert words in line
    assert "\n" not in line
