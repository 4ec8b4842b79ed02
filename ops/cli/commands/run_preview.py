"""`nightly-sync run --dry-run`: the preview of a run, by the deployed producer or on this machine."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from ops.cli.command import CommandContext
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, FactLine, Screen
from ops.cli.settings_options import choose_settings
from ops.errors import CommandError
from ops.format.text import quantity, span, standard_time
from ops.layout.settings import needs_stack
from ops.runs.history import PastRun
from ops.runs.invocation import AnswerLost, ProducerAnswer, RunEvent, invoke
from ops.runs.local_preview import LocalPreview, TableWithoutLedger
from ops.stack.sources import OWN_KEYS, describe_table, explain_refusals, find_keys
from ops.stack.stripe_access import StripeAccess
from recon.config import Settings
from recon.domain.shape_keys import check_keys
from recon.dynamodb.table import Table
from recon.errors import ConfigError

THREADS = 8
# The fields of the producer's answer that say the same as a run.
_IN_RUN = {"runId", "trigger", "status", "syncStartedAt", "syncCompletedAt", "lookbackWindow", "enqueued"}
_IN_RUN |= {"processed", "created", "missing", "skipped", "errors", "filtered", "truncated", "warnings"}


def preview_run(context: CommandContext, event: RunEvent) -> CommandResult:
    """Invoke the producer for a dry run and show its answer."""
    stack = context.stack
    client = stack.client("lambda", once=True)
    with context.busy("previewing each session; nothing is written"):
        try:
            body = invoke(client, stack.outputs.producer, event)
        except AnswerLost as lost:
            raise CommandError(f"the answer was lost ({lost}); nothing was written, try again") from lost
    return show_answer(body)


def preview_locally(context: CommandContext, event: RunEvent, changes: dict[str, str]) -> CommandResult:
    """Preview a run on this machine with some parameters changed, and show its answer."""
    settings, stack = choose_settings(context, changes), context.stack
    with (
        explain_refusals(stack, settings),
        StripeAccess(settings, lambda: stack.client("ssm"), stack.deadline) as stripe,
        ThreadPoolExecutor(THREADS) as pool,
        context.busy("previewing each session; nothing is written"),
    ):
        table = _open_table(context, settings, has_stack=needs_stack(changes))
        preview = LocalPreview(settings, table, stripe.source, pool, stack.deadline, context.now)
        return show_answer(preview.predict(event))


def _open_table(context: CommandContext, settings: Settings, *, has_stack: bool) -> Table:
    """Return the table to preview, with the ledger if there is one.

    Raise CommandError if the shape, or this system's layout without one, has other keys than the table.
    """
    stack = context.stack
    client = stack.client("dynamodb")
    description = describe_table(stack, settings)
    if settings.shape is not None:
        try:
            check_keys(settings.shape, description)
        except ConfigError as error:
            raise CommandError(str(error)) from error
        if not has_stack:
            return TableWithoutLedger(client, settings.table)
    elif (keys := find_keys(description)) != OWN_KEYS:
        raise CommandError(
            f"the table {settings.table} in {stack.region} has the keys {' and '.join(keys)}, not the texts "
            "PK and SK: give the shape.toml that `nightly-sync layout` prints for it with --shape"
        )
    return Table(client, settings.table, ledger=stack.outputs.ledger if has_stack else None)


def show_answer(body: ProducerAnswer) -> CommandResult:
    """Return the result of a preview."""
    needs_attention = bool(body["errors"] or body["warnings"] or body["truncated"])
    return CommandResult(preview_to_json(body), lambda screen: show_preview(screen, body), needs_attention)


def preview_to_json(body: ProducerAnswer) -> dict[str, Any]:
    """Return the answer to a dry run with its run in the form of every other command."""
    window = body["lookbackWindow"]
    run = PastRun(
        run_id=body["runId"],
        trigger=body["trigger"],
        status=body["status"],
        started_at=standard_time(body["syncStartedAt"]),
        completed_at=standard_time(body["syncCompletedAt"]),
        seconds=None,
        window_from=datetime.fromisoformat(window["from"]),
        window_to=datetime.fromisoformat(window["to"]),
        enqueued=body["enqueued"],
        processed=body["processed"],
        created=body["created"],
        skipped=body["skipped"],
        errors=body["errors"],
        drifted=0,
        filtered=body.get("filtered", 0),
        truncated=body["truncated"],
        warnings=tuple(body["warnings"]),
        missing=body.get("missing", 0),
    )
    return {"run": run} | {name: value for name, value in body.items() if name not in _IN_RUN}


def show_preview(screen: Screen, body: dict[str, Any]) -> None:
    """Print the producer's answer to a dry run."""
    window = (datetime.fromisoformat(body["lookbackWindow"][end]) for end in ("from", "to"))
    screen.facts(
        [
            ("window", span(body["processed"], *window), ""),
            *_list_orders(body),
            ("unreadable", str(body["errors"]), TROUBLE if body["errors"] else ""),
            *([("left out", f"{body['filtered']} by the filter", "")] if body.get("filtered") else []),
        ]
    )
    if body["createdOrders"]:
        more = body["created"] - len(body["createdOrders"])
        screen.text("Orders: " + ", ".join(body["createdOrders"]) + (f" and {more} more" if more > 0 else ""))
    for warning in body["warnings"]:
        screen.text(f"Warning: {warning}", NOTICE)
    screen.text("Nothing was written.")


def _list_orders(body: dict[str, Any]) -> Iterator[FactLine]:
    """Yield what becomes of the sessions. Of a shop with its own layout, no order is created."""
    if "missing" not in body:
        yield "would create", _at_most(body["created"]), ""
        yield "would skip", str(body["skipped"]), ""
        return
    found, skipped = body.get("found"), str(body["skipped"])
    if found is not None:  # the answer of an earlier version has no number
        yield "found", quantity(found, "order"), ""
        skipped += f": {found} found, {quantity(body['skipped'] - found, 'other')}"
    yield "missing", _at_most(body["missing"]), NOTICE if body["missing"] else ""
    yield "would skip", skipped, ""


def _at_most(number: int) -> str:
    orders = quantity(number, "order")
    return f"at most {orders}; refunds are only checked in a run" if number else orders
