"""What all commands share: exit codes, `--json`, and one line for everything that can go wrong."""

import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ops.cli.exits import BROKEN_PIPE, COULD_NOT_RUN, FINE, INTERRUPTED, NEEDS_ATTENTION
from ops.cli.options import COMMON, CommonOptions, common_of
from ops.cli.screen import CommandResult, Screen, screen_of
from ops.cli.usage import Rule, check
from ops.errors import CommandError
from ops.stack.access_denied import find_denied_action
from ops.stack.stack import Stack, select_stack
from recon.errors import InvalidRequest, SyncError
from recon.retry import Deadline

# No command has a deadline of its own: a person sees how long it takes, and ends it.
FOREVER = 10 * 365 * 86400.0
_NO_PROXY = ("NO_PROXY", "no_proxy")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch")


@dataclass(frozen=True)
class CommandContext:
    """Who asks: where to work, and how to show it."""

    options: CommonOptions
    screen: Screen

    @cached_property
    def stack(self) -> Stack:
        deadline = Deadline(time.monotonic() + FOREVER, time.monotonic, time.sleep)
        return select_stack(self.options.selector, os.environ, deadline)

    def now(self) -> int:
        return int(time.time())

    @property
    def is_watched(self) -> bool:
        """Somebody looks at the progress while it happens."""
        return not self.options.as_json and self.screen.err.is_terminal

    def busy(self, what: str) -> AbstractContextManager[object]:
        """A spinner while something takes its time, where somebody watches."""
        return self.screen.err.status(what) if self.is_watched else nullcontext()


def register(
    app: typer.Typer,
    name: str,
    function: Callable[..., CommandResult],
    examples: Sequence[str],
    rules: Sequence[Rule] = (),
) -> None:
    """Make a function of a context and options the command `name`.

    `rules` say which of its options do not go together.
    """

    def run(ctx: typer.Context, **options: Any) -> None:  # noqa: ANN401 - the function's own
        common = common_of(ctx)
        common.hear(ctx, {option.name: options.pop(option.name) for option in COMMON})
        context = CommandContext(common, screen_of(show_pii=common.show_pii))

        def ask() -> CommandResult:
            check(rules, common.given)
            return function(context, **options)

        raise typer.Exit(_answered(context, ask))

    _context, *own = inspect.signature(function).parameters.values()
    shown = "\n\n".join(["[bold]Examples[/bold]", *(f"  {example}" for example in examples)])
    app.command(name, help=function.__doc__, epilog=shown)(_looking_like(run, own))


def before_the_name(app: typer.Typer) -> None:
    """Lets the common options stand before a command's name too."""

    def callback(ctx: typer.Context, **options: Any) -> None:  # noqa: ANN401 - the common ones
        common_of(ctx).hear(ctx, options)

    app.callback()(_looking_like(callback, []))


def _looking_like(run: Callable[..., None], own: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """Typer reads a command's options from its signature."""
    ctx = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [ctx, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *COMMON))]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as functools.wraps does
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _answered(context: CommandContext, ask: Callable[[], CommandResult]) -> int:
    """The exit code. A reader that has gone (`nightly-sync logs | head`) is no finding and no failure."""
    try:
        return _asked(context, ask)
    except BrokenPipeError:
        # Not even the interpreter's last flush gets through.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _asked(context: CommandContext, ask: Callable[[], CommandResult]) -> int:
    if context.options.selector.sandbox:
        _ask_this_machine_directly()
    try:
        answer = ask()
        _give(context, answer)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (CommandError, InvalidRequest, SyncError, ClientError, BotoCoreError, OSError) as error:
        return _refused(context, told(error))
    return NEEDS_ATTENTION if answer.needs_attention else FINE


def _give(context: CommandContext, answer: CommandResult) -> None:
    if context.options.as_json:
        context.screen.json(answer.data)
    else:
        answer.show(context.screen)
    # Here and not when the interpreter ends, where a full disk would be a traceback.
    sys.stdout.flush()


def _refused(context: CommandContext, sentence: str) -> int:
    if context.options.as_json:
        context.screen.json({"error": sentence})
    else:
        context.screen.complain(sentence)
    return COULD_NOT_RUN


def told(error: Exception) -> str:
    """One line that says what is wrong and what would be right."""
    match error:
        case NoCredentialsError():
            return (
                "no AWS credentials: set a profile with --profile or AWS_PROFILE, or log in (aws sso login)"
            )
        case ClientError():
            return _told_by_aws(error)
        case OSError(strerror=str(reason), filename=name):
            return f"{name}: {reason}" if name else reason
    return " ".join(str(error).split())


def _told_by_aws(error: ClientError) -> str:
    code = error.response["Error"]["Code"]
    text = error.response["Error"].get("Message", "")
    if code in _EXPIRED:
        return "the AWS credentials have expired: log in again (aws sso login, or new keys)"
    if code in _UNKNOWN:
        return f"AWS does not know these credentials ({code}): look at --profile and AWS_ACCESS_KEY_ID"
    if action := find_denied_action(error):
        return f"no permission: these AWS credentials may not call {action}"
    return f"AWS: {error.operation_name}: {code}: {' '.join(text.split())[:200]}"


def _ask_this_machine_directly() -> None:
    """A proxy of this shell must not be asked for 127.0.0.1."""
    for name in _NO_PROXY:
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
