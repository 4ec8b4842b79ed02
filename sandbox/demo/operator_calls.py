"""Commands of `nightly-sync` on a stack of the demo, called in this process."""

import time
from collections.abc import Callable
from io import StringIO

import boto3
from rich.console import Console

from ops.cli.command import UNLIMITED_SECONDS, CommandContext
from ops.cli.options import CommonOptions
from ops.cli.screen import CommandResult, Screen
from ops.stack.stack import Stack
from recon.retry import Deadline
from sandbox.demo.screen import WIDTH
from testkit.emulator.clients import CREDENTIALS


def call_operator(endpoint: str, stack: str, command: Callable[..., CommandResult], **options: object) -> str:
    """Return what the command prints. The stack need not be deployed yet."""
    out = StringIO()
    screen = Screen(Console(file=out, width=WIDTH), Console(file=StringIO()), show_pii=False)
    context = CommandContext(CommonOptions(), screen)
    session = boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )
    deadline = Deadline(time.monotonic() + UNLIMITED_SECONDS, time.monotonic, time.sleep)
    # In place of the one that the options select.
    context.__dict__["stack"] = Stack(stack, session, endpoint, deadline, is_sandbox=True)
    command(context, **options).show(screen)
    return out.getvalue()
