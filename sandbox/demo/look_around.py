"""The `aws` commands for a sandbox that is left up. The whole text is a shell script; a test runs it."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.build import ROOT
from sandbox.demo.state import SandboxState
from testkit.emulator.clients import CREDENTIALS

_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_LOG_LINES = 5


def operator_commands(home: Path) -> str:
    """Return the commands of `nightly-sync` for the sandbox; a test runs them."""
    tool = Path(sys.executable).with_name("nightly-sync")
    paths = [path.relative_to(ROOT) if path.is_relative_to(ROOT) else path for path in (tool, home)]
    command, folder = (shlex.quote(str(path)) for path in paths)
    return (
        f"# The operator's command\nexport NIGHTLY_SYNC_SANDBOX={folder}\n{command} status\n"
        f"{command} dlq list --check\n{command} --help"
    )


def commands(state: SandboxState) -> str:
    """Return paragraphs of a comment and a command each; the first one sets up the shell."""
    return "\n\n".join([_set_up(), *(f"# {what}\n{line}" for what, line in _commands(state))])


def _set_up() -> str:
    lines = ["# Made-up credentials: only the emulator takes them"]
    lines += [f"export {name}={value}" for name, value in CREDENTIALS.items()]
    lines += ["export AWS_PAGER=", "unset AWS_PROFILE AWS_SESSION_TOKEN"]
    if any(os.environ.get(name) for name in _PROXIES):
        lines.append('export NO_PROXY="${NO_PROXY:-},127.0.0.1"')
    return "\n".join(lines)


def _commands(state: SandboxState) -> Iterator[tuple[str, str]]:
    names = state.stack
    table = ("--table-name", names["table"])
    yield (
        "The sync state: the latest run and its counters",
        _aws(state, "dynamodb get-item", *table, "--key", _key("STRIPE_ORDER_SYNC")),
    )
    yield (
        "The run of this demo",
        _aws(state, "dynamodb get-item", *table, "--key", _key(f"STRIPE_ORDER_SYNC#{state.run_id}")),
    )
    yield (
        "The orders that the sync wrote (source is a reserved word of DynamoDB: it goes by another name)",
        _aws(
            state,
            "dynamodb scan",
            *table,
            "--filter-expression",
            "#source = :sync AND begins_with(SK, :order)",
            "--expression-attribute-names",
            '{"#source":"source"}',
            "--expression-attribute-values",
            '{":sync":{"S":"nightly_sync"},":order":{"S":"ORDER#"}}',
            "--query",
            "Items[].[orderNumber.S, amount.N, currency.S, itemCount.N]",
            "--output",
            "text",
        ),
    )
    yield (
        "The outcome of each session without an order",
        _aws(
            state,
            "dynamodb query",
            *table,
            "--key-condition-expression",
            "PK = :run",
            "--filter-expression",
            "outcome <> :created AND (attribute_not_exists(reason) OR reason <> :exists)",
            "--expression-attribute-values",
            f'{{":run":{{"S":"SYNC_RUN#{state.run_id}"}},":created":{{"S":"created"}},":exists":{{"S":"exists"}}}}',
            "--query",
            "Items[].[SK.S, outcome.S, reason.S, errorType.S]",
            "--output",
            "text",
        ),
    )
    yield ("Messages in the queue", _depth(state, names["queueUrl"]))
    yield ("Messages in the dead-letter queue", _depth(state, names["deadLetterQueueUrl"]))
    yield (
        "The dead letters (none after the redrive)",
        _aws(
            state,
            "sqs receive-message",
            "--queue-url",
            names["deadLetterQueueUrl"],
            "--max-number-of-messages",
            "10",
            "--visibility-timeout",
            "0",
        ),
    )
    yield (
        "A dry run: what would be created now; nothing is written",
        _invoke(state, '{"dryRun":true}'),
    )
    yield ("A manual run with a longer lookback", _invoke(state, '{"lookbackHours":48}'))
    yield (
        "The consumer's last log lines",
        _aws(
            state,
            "logs filter-log-events",
            "--log-group-name",
            f"/aws/lambda/{names['consumer']}",
            "--query",
            f"events[-{_LOG_LINES}:].message",
            "--output",
            "text",
        ),
    )


def _invoke(state: SandboxState, payload: str) -> str:
    # Read as bytes: the one form of a payload that both versions of the CLI take as it is.
    call = _aws(
        state,
        "lambda invoke",
        "--function-name",
        state.stack["producer"],
        "--payload",
        "fileb:///dev/stdin",
        "answer.json",
    )
    return f"echo {shlex.quote(payload)} | {call}\ncat answer.json"


def _depth(state: SandboxState, url: str) -> str:
    attributes = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    return _aws(state, "sqs get-queue-attributes", "--queue-url", url, "--attribute-names", *attributes)


def _key(sort_key: str) -> str:
    return f'{{"PK":{{"S":"SYSTEM"}},"SK":{{"S":"{sort_key}"}}}}'


def _aws(state: SandboxState, operation: str, *arguments: str) -> str:
    """Return the command with one option per line."""
    parts = [f"aws --endpoint-url {state.endpoint_url} {operation}"]
    for argument in map(shlex.quote, arguments):
        if argument.startswith("--") or argument == "answer.json":
            parts.append(argument)
        else:
            parts[-1] += f" {argument}"
    return " \\\n  ".join(parts)
