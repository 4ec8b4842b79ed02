"""Options that cannot work, alone or together, are refused by name before anything is asked of AWS."""

import json

import pytest
from typer.testing import CliRunner

from ops.cli.app import app
from ops.stack.stack import SANDBOX_STATE

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
DAY, NEXT_DAY = "2024-11-01T00:00:00Z", "2024-11-02T00:00:00Z"


@pytest.fixture
def cli(monkeypatch):
    """Without a region: whatever gets as far as AWS says so, and not what these tests look for."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "NIGHTLY_SYNC_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app(), arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--dry-run", "--no-wait"], "--dry-run cannot be combined with --no-wait"),
        (["run", "--from", DAY], "--from also needs --to"),
        (["run", "--to", DAY], "--to also needs --from"),
        (
            ["run", "--lookback-hours", "5", "--from", DAY, "--to", NEXT_DAY],
            "--lookback-hours cannot be combined with --from or --to",
        ),
        (["run", "--from", NEXT_DAY, "--to", DAY], "--from must be before --to"),
        (["run", "--from", DAY, "--to", DAY], "--from must be before --to"),
        (["run", "--from", "yesterday", "--to", DAY], "--from must be a UTC time such as"),
        (["run", "--from", DAY, "--to", "2024-11-02"], "--to must be a UTC time such as"),
        (
            ["run", "--from", "2098-01-01T00:00:00Z", "--to", "2098-01-02T00:00:00Z"],
            "--from is in the future",
        ),
        (
            ["show", "last", "--outcome", "error", "--reason", "exists"],
            "--reason cannot be combined with --outcome error: only skipped sessions have a reason",
        ),
        (
            ["show", "last", "--outcome", "created", "--reason", "exists"],
            "--reason cannot be combined with --outcome created",
        ),
        (
            ["show", "last", "--drift", "--outcome", "created"],
            "--drift cannot be combined with --outcome created",
        ),
        (
            ["show", "last", "--drift", "--reason", "unpaid"],
            "--drift cannot be combined with --reason unpaid",
        ),
        (["logs", "last", "--session", "nobody"], "'nobody' is not a Checkout Session id"),
        (
            ["pause", "--schedule-only", "--queue-only"],
            "--schedule-only cannot be combined with --queue-only",
        ),
        (
            ["resume", "--schedule-only", "--queue-only"],
            "--schedule-only cannot be combined with --queue-only",
        ),
        (["report", "--out", "-", "--json"], "--out - cannot be combined with --json"),
        (["--json", "report", "--out", "-"], "--out - cannot be combined with --json"),
        (
            ["dlq", "redrive", "--dry-run", "--per-second", "5"],
            "--dry-run cannot be combined with --per-second",
        ),
        (["dlq", "redrive", "--dry-run", "--follow", "300"], "--dry-run cannot be combined with --follow"),
        (
            ["dlq", "redrive", "--error-type", "keyrejectd"],
            "--error-type keyrejectd is unknown; did you mean KeyRejected",
        ),
        (
            ["dlq", "redrive", "--error-type", "Bogus"],
            "--error-type Bogus is unknown; known are KeyNotAllowed, ",
        ),
        (["dlq", "redrive", "--error-type", "HopFailed"], "--error-type HopFailed is unknown"),
        (["dlq", "purge", "--session", "cs_1", "--yes"], "--yes also needs --because"),
        (
            ["dlq", "purge", "--session", "cs_1", "--yes", "--because", "x" * 501],
            "--because has 501 characters; at most 500 are kept",
        ),
        (["dlq", "purge", "--yes", "--because", "x"], "name what to drop"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_options_that_cannot_work_are_refused(cli, arguments, sentence):
    ran = cli(*arguments)
    assert ran.exit_code == 2
    assert sentence in ran.output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["status", "--stack", ""], "--stack"),
        (["--stack", " ", "status"], "--stack"),
        (["dlq", "--profile", "", "list"], "--profile"),
        (["status", "--region", ""], "--region"),
        (["status", "--sandbox", ""], "--sandbox"),
        (["run", "--from", "", "--to", DAY], "--from"),
        (["show", ""], "RUN"),
        (["logs", "last", "--session", " "], "--session"),
        (["explain", " "], "SESSION"),
        (["report", "--out", ""], "--out"),
        (["dlq", "redrive", "--session", ""], "--session"),
        (["dlq", "redrive", "--session", "cs_1", "--message", ""], "--message"),
        (["dlq", "redrive", "--error-type", ""], "--error-type"),
        (["dlq", "purge", "--session", "cs_1", "--yes", "--because", " "], "--because"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_empty_value_is_refused(cli, arguments, named):
    ran = cli(*arguments)
    assert ran.exit_code == 2
    assert f"{named} is empty" in ran.output


@pytest.mark.parametrize(
    "arguments",
    [
        "run --lookback-hours 0",
        "run --lookback-hours 721",
        "run --max-sessions 0",
        "runs --limit 0",
        "runs --limit 1001",
        "report --days -1",
        "report --days 91",
        "dlq redrive --max 0",
        "dlq redrive --per-second 0",
        "dlq redrive --per-second nan",
        "dlq redrive --follow -1",
        "dlq redrive --follow nan",
    ],
)
def test_a_number_out_of_range_is_refused_by_its_option(cli, arguments):
    ran = cli(*arguments.split())
    assert ran.exit_code == 2
    assert f"Invalid value for '{arguments.split()[-2]}'" in ran.output


@pytest.mark.parametrize("arguments", ["status now", "pause 5", "runs 3", "explain a b", "dlq list cs_1"])
def test_an_argument_too_many_is_refused(cli, arguments):
    ran = cli(*arguments.split())
    assert ran.exit_code == 2
    assert "unexpected extra argument" in ran.output


@pytest.mark.parametrize(
    "arguments",
    [
        f"run --from {DAY} --to {NEXT_DAY} --dry-run --max-sessions 5",
        "run --lookback-hours 720 --no-wait",
        "show last --outcome skipped --reason unpaid",
        "show last --drift --outcome skipped --reason exists",
        "logs last --level error --session cs_test_1",
        "report --out - --days 7",
        "dlq redrive --session cs_1 --message m --error-type KeyRejected --max 1 --dry-run",
        "dlq redrive --per-second 0.5 --follow 0",
        "dlq purge --session cs_1 --because test --yes --json",
    ],
)
def test_options_that_fit_together_get_as_far_as_aws(cli, arguments):
    assert "no AWS region" in cli(*arguments.split()).output


def test_a_refusal_is_json_where_json_is_asked_for(cli):
    ran = cli("run", "--dry-run", "--no-wait", "--json")
    assert "--no-wait" in json.loads(ran.output)["error"]


def test_a_sandbox_has_one_stack(cli, tmp_path):
    state = {
        "endpoint_url": "http://127.0.0.1:1",
        "credentials": dict.fromkeys(CREDENTIALS, "x"),
        "stack": {"name": "sync-1"},
    }
    (tmp_path / SANDBOX_STATE).write_text(json.dumps(state))
    ran = cli("status", "--sandbox", str(tmp_path), "--stack", "other")
    assert ran.exit_code == 2
    assert "holds the stack sync-1, not other: leave --stack out" in ran.output
