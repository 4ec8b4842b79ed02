"""`nightly-sync layout`: check whether the sync finds the orders of the table."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.errors import CommandError
from ops.format.text import quantity
from ops.layout import gather_evidence, judge_layout
from ops.layout.gather import Sources
from ops.layout.model import Layout, LayoutFinding, SessionPlace
from ops.layout.settings import PARAMETERS, REQUIRED, apply_changes, parse_changes
from ops.runs.finding import Verdict
from ops.stack.stripe_access import StripeAccess
from recon.config import Settings
from recon.dynamodb.table import Table

EXAMPLES = [
    "nightly-sync layout",
    "nightly-sync layout --set OrderSortKey=any",
    "nightly-sync layout --set CommerceTable=shop --set StripeSecretParameter=/shop/stripe-key",
    "nightly-sync layout --json | jq '.findings[] | select(.verdict == \"fix\")'",
]
THREADS = 8
_LABELS = {
    Verdict.FIX: "does not fit",
    Verdict.ADVICE: "look at",
    Verdict.OK: "fits",
    Verdict.UNKNOWN: "not compared",
}
_KEYS = {"PK": "S", "SK": "S"}


def layout(
    context: CommandContext,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Check with another value of a template parameter: {', '.join(PARAMETERS)}. With both "
            f"{' and '.join(REQUIRED)}, no stack is needed.",
        ),
    ] = None,
) -> CommandResult:
    """Check whether the sync finds the orders of recent paid sessions, and name the settings that help.

    Read up to 50 sessions of the last 30 days and, with your own AWS credentials, a bounded part of the
    table: the sync's own lookups, at most 600 queries by key, and only for orders that are not found a sample
    of at most 1,000 items in ten Scan requests. Write nothing. The exit code is 1 if something does not fit.
    """
    settings = _choose_settings(context, parse_changes(set_ or []))
    client = context.stack.client("dynamodb")
    _check_keys(client.describe_table(TableName=settings.table)["Table"], settings.table)
    deadline = context.stack.deadline
    with (
        StripeAccess(settings, lambda: context.stack.client("ssm"), deadline) as stripe,
        ThreadPoolExecutor(THREADS) as pool,
        context.busy("Comparing sessions and orders"),
    ):
        table = Table(client, settings.table)
        sources = Sources(stripe.source(), table, client, settings, pool, deadline)
        gathered = gather_evidence(sources, context.now())
    result = judge_layout(gathered.evidence, settings, gathered.read, is_scan_denied=gathered.is_scan_denied)
    return CommandResult(result, lambda screen: show(screen, result), not result.fits)


def _choose_settings(context: CommandContext, changes: dict[str, str]) -> Settings:
    if all(name in changes for name in REQUIRED):
        return apply_changes({}, changes)
    stack = context.stack
    configuration = stack.configuration(stack.outputs.producer)
    return apply_changes(configuration.get("Environment", {}).get("Variables", {}), changes)


def _check_keys(description: Mapping[str, Any], table: str) -> None:
    """Raise CommandError unless the table's keys are the strings PK and SK."""
    types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    keys = {each["AttributeName"]: types.get(each["AttributeName"]) for each in description["KeySchema"]}
    if keys != _KEYS:
        named = ", ".join(f"{name} ({kind})" for name, kind in keys.items())
        raise CommandError(f"the table {table} has the keys {named}; the sync needs PK and SK, both strings")


def show(screen: Screen, result: Layout) -> None:
    found = f"{result.found} of {quantity(result.with_order, 'order')} found by the sync's lookup"
    sessions = quantity(result.sessions, "paid session")
    screen.text(f"{result.table}: {sessions} compared, {found}", FINE if result.fits else TROUBLE)
    for finding in result.findings:
        _show_finding(screen, finding)
    if result.settings:
        screen.text("")
        screen.text("Set all of these, then check again with them:")
        for setting in result.settings:
            screen.line(f"  {setting}")
        counts = f"{result.found_with_settings} of {result.with_order}"
        screen.text(f"The lookup then finds {counts} orders that were seen.")
    if rows := [_row(place) for place in result.places if place.codes]:
        screen.text("")
        screen.table(["session", "found", "order", "findings"], rows, whole=["session"])
    if result.fits:
        screen.text("")
        screen.text("The table fits." if result.sessions else "Nothing could be compared.", FINE)


def _show_finding(screen: Screen, finding: LayoutFinding) -> None:
    screen.text("")
    label = _LABELS[finding.verdict]
    sessions = f" ({quantity(finding.sessions, 'session')})" if finding.sessions else ""
    screen.text(f"{label}: {finding.code}{sessions}", NOTICE if finding.fits else TROUBLE)
    screen.detail(f"{finding.what}.")
    if finding.setting:
        screen.detail(finding.setting)
    elif finding.command:
        screen.detail(finding.command)


def _row(place: SessionPlace) -> list[str | Text]:
    found = "yes" if place.found else Text("no", style=NOTICE)
    return [place.session_id, found, place.key or "none seen", ", ".join(place.codes)]
