"""Options that cannot work, alone or together, are refused by name before AWS is called."""

import pytest

DAY, NEXT_DAY = "2024-11-01T00:00:00Z", "2024-11-02T00:00:00Z"

REFUSED = {
    # Combinations
    "run --dry-run --no-wait": "--dry-run cannot be combined with --no-wait",
    f"run --from {DAY}": "--from also needs --to",
    f"run --to {DAY}": "--to also needs --from",
    f"run --lookback-hours 5 --from {DAY} --to {NEXT_DAY}": (
        "--lookback-hours cannot be combined with --from or --to"
    ),
    "show last --outcome error --reason exists": (
        "--reason cannot be combined with --outcome error: only skipped sessions have a reason"
    ),
    "show last --outcome created --reason exists": "--reason cannot be combined with --outcome created",
    "show last --drift --outcome created": "--drift cannot be combined with --outcome created",
    "show last --drift --reason unpaid": "--drift cannot be combined with --reason unpaid",
    "pause --schedule-only --queue-only": "--schedule-only cannot be combined with --queue-only",
    "resume --schedule-only --queue-only": "--schedule-only cannot be combined with --queue-only",
    "report --out - --json": "--out - cannot be combined with --json",
    "--json report --out -": "--out - cannot be combined with --json",
    "dlq redrive --dry-run --per-second 5": "--dry-run cannot be combined with --per-second",
    "dlq redrive --dry-run --follow 300": "--dry-run cannot be combined with --follow",
    "dlq purge --session cs_1 --yes": "--yes also needs --because",
    "dlq purge --yes --because x": "name what to drop",
    # Values
    f"run --from {NEXT_DAY} --to {DAY}": "--from must be before --to",
    f"run --from {DAY} --to {DAY}": "--from must be before --to",
    f"run --from yesterday --to {DAY}": "--from must be a UTC time such as",
    f"run --from {DAY} --to 2024-11-02": "--to must be a UTC time such as",
    "run --from 2098-01-01T00:00:00Z --to 2098-01-02T00:00:00Z": "--from is in the future",
    "logs last --session nobody": "'nobody' is not a Checkout Session id",
    "dlq redrive --error-type keyrejectd": "--error-type keyrejectd is unknown; did you mean KeyRejected",
    "dlq redrive --error-type Bogus": "--error-type Bogus is unknown; known are KeyNotAllowed, ",
    "dlq redrive --error-type HopFailed": "--error-type HopFailed is unknown",
    f"dlq purge --session cs_1 --yes --because {'x' * 501}": (
        "--because has 501 characters; at most 500 are kept"
    ),
    # Empty values
    "status --stack ''": "--stack is empty",
    "--stack ' ' status": "--stack is empty",
    "dlq --profile '' list": "--profile is empty",
    "status --region ''": "--region is empty",
    "status --sandbox ''": "--sandbox is empty",
    f"run --from '' --to {DAY}": "--from is empty",
    "show ''": "RUN is empty",
    "logs last --session ' '": "--session is empty",
    "explain ' '": "SESSION is empty",
    "report --out ''": "--out is empty",
    "dlq redrive --session ''": "--session is empty",
    "dlq redrive --session cs_1 --message ''": "--message is empty",
    "dlq redrive --error-type ''": "--error-type is empty",
    "dlq purge --session cs_1 --yes --because ' '": "--because is empty",
    # Ranges
    "run --lookback-hours 0": "Invalid value for '--lookback-hours'",
    "run --lookback-hours 721": "Invalid value for '--lookback-hours'",
    "run --max-sessions 0": "Invalid value for '--max-sessions'",
    "runs --limit 0": "Invalid value for '--limit'",
    "runs --limit 1001": "Invalid value for '--limit'",
    "report --days -1": "Invalid value for '--days'",
    "report --days 91": "Invalid value for '--days'",
    "dlq redrive --max 0": "Invalid value for '--max'",
    "dlq redrive --per-second 0": "Invalid value for '--per-second'",
    "dlq redrive --per-second nan": "Invalid value for '--per-second'",
    "dlq redrive --follow -1": "Invalid value for '--follow'",
    "dlq redrive --follow nan": "Invalid value for '--follow'",
    # Arguments
    "nonsense": "No such command",
    "status now": "unexpected extra argument",
    "pause 5": "unexpected extra argument",
    "runs 3": "unexpected extra argument",
    "explain a b": "unexpected extra argument",
    "dlq list cs_1": "unexpected extra argument",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=[line[:60] for line in REFUSED])
def test_invalid_options_are_refused(cli, line, message):
    result = cli(line)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    "line",
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
def test_valid_options_reach_aws(cli, line):
    assert "no AWS region" in cli(line).output
