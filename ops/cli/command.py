"""The frame of every command: common options, output, exit code and one-line errors."""

import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from ops.cli.exits import BROKEN_PIPE, COULD_NOT_RUN, FINE, INTERRUPTED, NEEDS_ATTENTION
from ops.cli.options import COMMON, HIDDEN, NAMES, CommonOptions, get_common_options
from ops.cli.parsing import HELP_OPTIONS, SyncCommand
from ops.cli.screen import CommandResult, Screen
from ops.cli.usage import Rule, check
from ops.errors import CommandError
from ops.stack.access_denied import find_denied_action
from ops.stack.stack import Stack, select_stack
from recon.errors import InvalidRequest, SyncError
from recon.retry import Deadline

# Commands have no deadline: the person at the terminal ends a slow one with Ctrl-C.
UNLIMITED_SECONDS = 10 * 365 * 86400.0
_NO_PROXY = ("NO_PROXY", "no_proxy")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch")


@dataclass(frozen=True)
class CommandContext:
    """The common options of an invocation, its screen and the stack that it works on."""

    options: CommonOptions
    screen: Screen

    @cached_property
    def stack(self) -> Stack:
        """Return the selected stack. Raise CommandError if the selection is invalid."""
        deadline = Deadline(time.monotonic() + UNLIMITED_SECONDS, time.monotonic, time.sleep)
        return select_stack(self.options.selector, os.environ, deadline)

    def now(self) -> int:
        """Return the current time in epoch seconds."""
        return int(time.time())

    @property
    def is_interactive(self) -> bool:
        """Return True if progress goes to a terminal."""
        return not self.options.as_json and not self.options.quiet and self.screen.err.is_terminal

    def busy(self, activity: str) -> AbstractContextManager[object]:
        """Show a spinner with `activity` on a terminal until the context ends."""
        return self.screen.err.status(activity) if self.is_interactive else nullcontext()


def register(
    app: typer.Typer,
    name: str,
    function: Callable[..., CommandResult],
    examples: Sequence[str],
    rules: Sequence[Rule] = (),
) -> None:
    """Add the command `name`, which calls `function` with a context and its options.

    The function's docstring becomes the help text. `rules` refuse combinations of options.
    """

    def run(ctx: typer.Context, **options: Any) -> None:  # noqa: ANN401 - the function's own
        common = get_common_options(ctx)
        common.update(ctx, {option.name: options.pop(option.name) for option in COMMON})
        context = CommandContext(common, common.create_screen())

        def call() -> CommandResult:
            check(rules, common.given)
            return function(context, **options)

        raise typer.Exit(_execute(context, call))

    _context, *own = inspect.signature(function).parameters.values()
    common = f"Common options, listed by `nightly-sync --help`: {' '.join(NAMES)}"
    epilog = "\n\n".join([common, "[bold]Examples[/bold]", *(f"  {example}" for example in examples)])
    command = app.command(
        name,
        cls=SyncCommand,
        help=_unwrap(function.__doc__ or ""),
        epilog=epilog,
        context_settings=HELP_OPTIONS,
    )
    command(_with_signature(run, (*own, *HIDDEN)))


def _unwrap(text: str) -> str:
    """Return the text with one line for each paragraph, so that it is wrapped to the terminal only."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def accept_common_options(app: typer.Typer, *further: inspect.Parameter, hidden: bool = False) -> None:
    """Accept the common options before a command's name too, and `further` ones that end the program."""

    def callback(ctx: typer.Context, **options: Any) -> None:  # noqa: ANN401 - the common ones
        common = {option.name: options[option.name] for option in COMMON}
        get_common_options(ctx).update(ctx, common)

    app.callback()(_with_signature(callback, (*further, *(HIDDEN if hidden else COMMON))))


def _with_signature(run: Callable[..., None], options: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """Give `run` the signature from which Typer derives the command's options."""
    ctx = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [ctx, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in options)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as functools.wraps does
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _execute(context: CommandContext, call: Callable[[], CommandResult]) -> int:
    """Call the command, print its result or error and return the exit code.

    A reader that exits early (`nightly-sync logs | head`) is neither a finding nor an error.
    """
    try:
        return _call(context, call)
    except BrokenPipeError:
        # The interpreter flushes standard output once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _call(context: CommandContext, call: Callable[[], CommandResult]) -> int:
    if context.options.selector.sandbox:
        _bypass_proxy_for_localhost()
    try:
        result = call()
        _print_result(context, result)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (CommandError, InvalidRequest, SyncError, ClientError, BotoCoreError, OSError) as error:
        return _print_error(context, error_message(error))
    return NEEDS_ATTENTION if result.needs_attention else FINE


def _print_result(context: CommandContext, result: CommandResult) -> None:
    if context.options.quiet and not result.needs_attention:
        return
    if context.options.as_json:
        context.screen.json(result.data)
    else:
        result.show(context.screen)
    # Flushed here because at interpreter exit a full disk would end in a traceback.
    sys.stdout.flush()


def _print_error(context: CommandContext, message: str) -> int:
    if context.options.as_json:
        context.screen.json({"error": message})
    else:
        context.screen.log_error(message)
    return COULD_NOT_RUN


def error_message(error: Exception) -> str:
    """Return one line that says what is wrong and how to correct it."""
    match error:
        case ClientError():
            return _aws_error_message(error)
        case BotoCoreError() if message := _botocore_error_message(error):
            return message
        case OSError(strerror=str(reason), filename=name):
            return f"{name}: {reason}" if name else reason
    return " ".join(str(error).split())


def _botocore_error_message(error: BotoCoreError) -> str | None:
    match error:
        case NoCredentialsError():
            return (
                "no AWS credentials: set a profile with --profile or AWS_PROFILE, or log in (aws sso login)"
            )
        case PartialCredentialsError():
            return "the AWS credentials are incomplete: the key's id and its secret belong together"
        case TokenRetrievalError() | SSOError():
            return "the AWS login has expired: log in again (aws sso login)"
        case EndpointConnectionError() | ConnectTimeoutError() | ConnectionClosedError():
            return f"no connection to {_host(error)}: check the network and --region"
    return None


def _host(error: BotoCoreError) -> str:
    return urlsplit(str(error.kwargs.get("endpoint_url", ""))).netloc or "AWS"


def _aws_error_message(error: ClientError) -> str:
    code = error.response["Error"]["Code"]
    text = error.response["Error"].get("Message", "")
    if code in _EXPIRED:
        return "the AWS credentials have expired: log in again (aws sso login, or new keys)"
    if code in _UNKNOWN:
        return (
            f"AWS does not know these credentials ({code}): check --profile and AWS_ACCESS_KEY_ID, and "
            "whether the account has enabled the region"
        )
    if action := find_denied_action(error):
        return f"no permission: these AWS credentials may not call {action}"
    return f"AWS: {error.operation_name}: {code}: {' '.join(text.split())[:200]}"


def _bypass_proxy_for_localhost() -> None:
    """Exclude the sandbox's address from the proxy settings of the environment."""
    for name in _NO_PROXY:
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
