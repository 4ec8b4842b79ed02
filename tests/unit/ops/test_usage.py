"""Options that cannot work, alone or together, are refused by name before AWS is called."""

import re

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
    "show last --all --drift": "--all cannot be combined with --drift",
    "show last --all --reason exists": "--all cannot be combined with --reason",
    "show last --all --outcome error": "--all cannot be combined with --outcome error",
    "doctor --verbose --json": "--verbose cannot be combined with --json",
    "pause --schedule-only --queue-only": "--schedule-only cannot be combined with --queue-only",
    "resume --schedule-only --queue-only": "--schedule-only cannot be combined with --queue-only",
    "report --out - --json": "--out - cannot be combined with --json",
    "--json report --out -": "--out - cannot be combined with --json",
    "dlq redrive --dry-run --per-second 5": "--dry-run cannot be combined with --per-second",
    "dlq redrive --dry-run --timeout 300": "--dry-run cannot be combined with --timeout",
    "dlq redrive --dry-run --follow 300": "--dry-run cannot be combined with --timeout",
    "run --since 7d --lookback-hours 5": "--lookback-hours cannot be combined with --since",
    f"run --since 7d --from {DAY} --to {NEXT_DAY}": "--since cannot be combined with --from or --to",
    "logs last --follow --json": "--follow cannot be combined with --json",
    "logs last -f -q": "--follow cannot be combined with --quiet",
    "report --out - -q": "--out - cannot be combined with --quiet",
    "dlq purge --session cs_1 --yes": "--yes also needs --because",
    "dlq purge --yes --because x": "name what to drop",
    # Values
    f"run --from {NEXT_DAY} --to {DAY}": "--from must be before --to",
    f"run --from {DAY} --to {DAY}": "--from must be before --to",
    f"run --from yesterday --to {DAY}": "--from must be a UTC time such as",
    f"run --from {DAY} --to 2024-13-02": "--to must be a UTC time such as",
    f"run --from {DAY} --to 48": "--to must be a UTC time such as",
    "run --from 7d --to 8d": "--from must be before --to",
    "run --since 0s": "--since must be before now",
    "run --since 2098-01-01": "--since is in the future",
    "runs --since 2098-01-01": "--since is in the future",
    "logs last --since 2098-01-01": "--since is in the future",
    "explain ''": "SESSION is empty: give it a value\n",
    "run --from 48h": "--from also needs --to: a backfill has an end; --since TIME goes up to now",
    "runs --since soon": "--since must be a UTC time such as",
    "logs last --since soon": "--since must be a UTC time such as",
    "explain nobody": "'nobody' is not a Checkout Session (cs_…), a payment (pi_…), an order number",
    "explain https://dashboard.stripe.com/customers/cus_1": "this web address names no session and no",
    "explain sub_1": "'sub_1' is not a Checkout Session",
    "explain cs_": "'cs_' is not a Checkout Session",
    "run --from 2098-01-01T00:00:00Z --to 2098-01-02T00:00:00Z": "--from is in the future",
    "logs last --session nobody": "'nobody' is not a Checkout Session id",
    "dlq redrive --error-type keyrejectd": "--error-type keyrejectd is unknown; did you mean KeyRejected",
    "dlq redrive --error-type Bogus": "--error-type Bogus is unknown; known are KeyNotAllowed, ",
    "dlq redrive --error-type HopFailed": "--error-type HopFailed is unknown",
    f"dlq purge --session cs_1 --yes --because {'x' * 501}": (
        "--because has 501 characters; at most 500 are kept"
    ),
    "logs last --session x@y.com": "--session this is not a Checkout Session id",
    "status --stack 'bad name'": "--stack 'bad name' is not the name of a stack",
    "status --region 'Europe'": "--region 'Europe' is not the name of a region such as eu-central-1",
    "status --profile nobody": "--profile or AWS_PROFILE: there is no such AWS profile (nobody)",
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
    "run --lookback-hours 0": "Invalid value for '--lookback-hours': it must be a whole number from 1 to 720",
    "run --lookback-hours 721": "Invalid value for '--lookback-hours'",
    "run --lookback-hours x": "Invalid value for '--lookback-hours': it must be a whole number from 1 to 720",
    "run --limit 0": "Invalid value for '--limit': it must be a whole number from 1;",
    "run --max-sessions 0": "Invalid value for '--limit'",
    "runs --limit 0": "Invalid value for '--limit'",
    "runs --limit 1001": "Invalid value for '--limit'",
    "report --days -1": "Invalid value for '--days'",
    "report --days 91": "Invalid value for '--days'",
    "dlq redrive --limit 0": "Invalid value for '--limit'",
    "dlq redrive --max 0": "Invalid value for '--limit'",
    "dlq redrive --per-second 0": "Invalid value for '--per-second'",
    "dlq redrive --per-second nan": "Invalid value for '--per-second': it must be a number from 0.1 to 500",
    "dlq redrive --timeout -1": "Invalid value for '--timeout'",
    "dlq redrive --timeout nan": "Invalid value for '--timeout'",
    "show last --reason no": "Invalid value for '--reason': it must be one of exists, no_user, ",
    "logs last --level no": "Invalid value for '--level': it must be one of INFO, WARNING, ERROR",
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
    assert re.fullmatch(r"Error: .+\n|\{\n  \"error\": \".+\"\n\}\n", result.output)


@pytest.mark.parametrize(
    "line",
    [
        f"run --from {DAY} --to {NEXT_DAY} --dry-run --max-sessions 5",
        "run --from 2024-11-01 --to '2024-11-02 12:00 UTC' --limit 5",
        "run --since 48h",
        "runs --since 7d --limit 5",
        "logs last -f --since 20241101T000000Z",
        "explain BC-A1B2C3D4",
        "explain pi_1",
        "explain jane@example.com",
        "run --lookback-hours 720 --no-wait",
        "show last --outcome skipped --reason unpaid",
        "show last --drift --outcome skipped --reason exists",
        "logs last --level error --session cs_test_1",
        "report --out - --days 7",
        "dlq redrive --session cs_1 --message m --error-type KeyRejected --max 1 --dry-run",
        "dlq redrive --per-second 0.5 --follow 0",
        "dlq redrive --per-second 0.5 --timeout 0 --limit 5",
        "dlq purge --session cs_1 --because test --yes --json",
    ],
)
def test_valid_options_reach_aws(cli, line):
    assert "no AWS region" in cli(line).output
