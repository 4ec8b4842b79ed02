"""`nightly-sync ledger move`: copy the ledger to a separate table."""

from functools import partial
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from ops.cli.command import CommandContext
from ops.cli.screen import CommandResult, Screen
from ops.doctor.shell import Shell
from ops.errors import CommandError
from ops.format.text import quantity
from ops.stack.stack import Stack
from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.ledger_move import LedgerMove, move_ledger
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.watermark import Watermark, parse_watermark
from recon.errors import ConfigError, TableRefused

MOVE_EXAMPLES = [
    "nightly-sync ledger move --to shop-ledger   # before it is deployed",
    "nightly-sync ledger move                    # to the deployed LedgerTable",
]
_KEYS = {("PK", "HASH", "S"), ("SK", "RANGE", "S")}


def move(
    context: CommandContext,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Copy to this table; if not given, end a stopped move or take the deployed LedgerTable",
        ),
    ] = None,
) -> CommandResult:
    """Copy the ledger to another table and compare the copy; runs then use only that one.

    No run may be open. It waits for the timeout of a batch (ConsumerTimeout) first. Until the stack is
    deployed with the new table, runs are refused. The command may be repeated: it copies only what differs.
    The old records stay, and nothing reads them.
    """
    stack = context.stack
    source, destination = _choose_tables(stack, to)
    _check_keys(stack, destination)
    try:
        with context.busy(f"Copying the ledger from {source} to {destination}"):
            moved = move_ledger(
                stack.table.at(source),
                stack.table.at(destination),
                stack.name,
                context.now(),
                stack.deadline,
                partial(_wait_for_batches, context, source),
            )
    except ConfigError as error:
        raise CommandError(str(error)) from error
    except TableRefused as error:
        # The new table has the right keys.
        raise _refuse_keys(source) from error
    deployed = stack.outputs.ledger
    setting = "" if moved.destination == stack.outputs.table else moved.destination
    command = Shell(stack.name, context.options.selector).deploy(f"LedgerTable={setting}")
    next_step = None if deployed == moved.destination else command
    return CommandResult(moved, lambda screen: _show(screen, moved, stack.outputs.table, next_step))


def _wait_for_batches(context: CommandContext, source: str, closed_at: int) -> None:
    """Wait until no batch is at work that read the old ledger before it was closed."""
    stack = context.stack
    longest: int = stack.configuration(stack.outputs.consumer)["Timeout"]
    left = closed_at + longest - context.now()
    if left > 0:
        context.screen.progress(
            f"Waiting {quantity(left, 'second')}, until the batches that began on {source} have ended"
        )
        stack.deadline.sleep(left)


def _choose_tables(stack: Stack, to: str | None) -> tuple[str, str]:
    """Return the names of the old and the new table.

    A move that was stopped goes on, also without `to`. One that has ended can be undone before a deployment.
    """
    shop, deployed = stack.outputs.table, stack.outputs.ledger
    mark = _read_watermark(stack)
    if mark.moving_from and to in (None, deployed):
        return mark.moving_from, deployed
    if mark.moved_to and to == deployed:
        return mark.moved_to, deployed
    if mark.moved_to and to in (None, mark.moved_to):
        return deployed, mark.moved_to
    if to is None or to == deployed != shop:
        if deployed == shop:
            raise CommandError(
                f"the ledger of {stack.name} is in the shop's table {shop}; name a table for it with --to"
            )
        return shop, deployed
    if to == deployed:
        raise CommandError(f"the ledger of {stack.name} is in table {to} already")
    try:
        check_ledger_table(stack.table, stack.name, stack.deadline)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    return deployed, to


def _read_watermark(stack: Stack) -> Watermark:
    """Return the watermark of the deployed ledger."""
    try:
        return parse_watermark(stack.table.get(WATERMARK_KEY, stack.deadline) or {})
    except TableRefused as error:
        raise _refuse_keys(stack.outputs.ledger) from error


def _refuse_keys(table: str) -> CommandError:
    """Return the error for a table of a shop with its own layout."""
    return CommandError(f"table {table} has other keys than PK and SK: no ledger was ever in it")


def _check_keys(stack: Stack, table: str) -> None:
    try:
        found = stack.client("dynamodb").describe_table(TableName=table)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise CommandError(
            f"there is no table {table} in {stack.region}; docs/deploy.md has the command that makes it"
        ) from None
    types = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
    keys = {(key["AttributeName"], key["KeyType"], types[key["AttributeName"]]) for key in found["KeySchema"]}
    if keys != _KEYS:
        raise CommandError(f"the table {table} must have the string keys PK and SK")


def _show(screen: Screen, moved: LedgerMove, shop: str, next_step: str | None) -> None:
    total = sum(moved.records.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in moved.records.items())
    if moved.was_moved:
        screen.text(f"The ledger had moved from {moved.source} to {moved.destination} before: {kinds}.")
    else:
        screen.text(
            f"Moved the ledger from {moved.source} to {moved.destination}: {quantity(total, 'record')}, "
            f"all compared ({kinds}); {moved.written} written, {moved.removed} removed there."
        )
    screen.text(
        f"The records in {moved.source} stay, and nothing reads them any more; those with expiresAt expire. "
        f"Orders and EVENT# records are in {shop} as before."
    )
    if next_step:
        screen.text("Until the stack is deployed, runs are refused:")
        screen.command(next_step)
