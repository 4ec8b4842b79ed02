"""`nightly-sync layout`: check whether the sync finds the orders of the table, or describe another layout."""

import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.settings_options import SetOption, ShapeOption, choose_settings, read_changes
from ops.doctor.shell import Shell
from ops.errors import CommandError
from ops.format.text import quantity
from ops.layout import gather_evidence, judge_layout
from ops.layout.commands import IN_FILE, adapt_commands, repeat_changes
from ops.layout.gather import GatheredEvidence, Sources
from ops.layout.model import Code, Layout, LayoutFinding, SessionPlace
from ops.layout.shape.proposal import ShapeSearch, is_own_layout
from ops.layout.shape.verify import Verifier
from ops.layout.table_sample import TableSample
from ops.runs.finding import Verdict
from ops.stack.sources import OWN_KEYS, describe_table, explain_refusals, find_keys
from ops.stack.stripe_access import StripeAccess
from producer.sample import draw_sample
from recon.config import Settings
from recon.dynamodb.table import Table
from recon.errors import NotAllowed

EXAMPLES = [
    "nightly-sync layout",
    "nightly-sync layout --set OrderSortKey=any",
    """nightly-sync layout --set CommerceTable=orders \\
      --set StripeSecretParameter=/shop/stripe-key > shape.toml""",
    "nightly-sync layout --shape shape.toml --set StripeSecretParameter=/key",
    "nightly-sync layout --json | jq '.findings[] | select(.verdict == \"fix\")'",
]
THREADS = 8
_LABELS = {
    Verdict.FIX: "does not fit",
    Verdict.ADVICE: "look at",
    Verdict.OK: "fits",
    Verdict.UNKNOWN: "not compared",
}


def layout(
    context: CommandContext,
    set_: SetOption = None,
    shape: ShapeOption = None,
    write: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the shape.toml to this new file")
    ] = None,
) -> CommandResult:
    """Check whether the sync finds the orders of recent paid sessions, and name the settings that help.

    If the table has another layout, print the shape.toml that finds its orders, and what is unsure about it.
    With --shape, check a file instead. Read up to 50 sessions of the last 30 days and, with your own AWS
    credentials, a bounded part of the table: the sync's own lookups, at most 600 queries by key, and a sample
    of at most 1,000 items in ten Scan requests. Write nothing into it. The exit code is 1 if something does
    not fit, which another layout does not until its file is given.
    """
    if write is not None and Path(write).exists():
        raise CommandError(f"--write {write}: the file exists; move it away, or name another one")
    changes = read_changes(set_, shape)
    settings = choose_settings(context, changes)
    stack = context.stack
    client, deadline = stack.client("dynamodb"), stack.deadline
    with (
        explain_refusals(stack, settings),
        StripeAccess(settings, lambda: stack.client("ssm"), deadline) as stripe,
        ThreadPoolExecutor(THREADS) as pool,
        context.busy("Comparing sessions and orders"),
    ):
        description = describe_table(stack, settings)
        sources = Sources(stripe.source(), Table(client, settings.table), client, settings, pool, deadline)
        result = adapt_commands(_compare(context, sources, description), changes)
    proposed = result.shape.file if result.shape and settings.shape is None else None
    if write is not None:
        if proposed is None:
            raise CommandError(f"--write {write}: there is no file to write: {_explain(result, settings)}")
        Path(write).write_text(proposed, encoding="utf-8")
    if proposed is None:
        return CommandResult(result, lambda screen: show(screen, result), not result.fits)
    return CommandResult(result, lambda screen: show_file(screen, result, changes, write), not result.fits)


def _compare(context: CommandContext, sources: Sources, description: Mapping[str, Any]) -> Layout:
    settings = sources.settings
    sample = TableSample(sources.dynamodb, settings.table, sources.pool)
    verifier = Verifier(sources.table, description, settings, sources.pool, sources.deadline)
    if settings.shape is not None:
        search = ShapeSearch(verifier, sample, _to_aws(context))
        return search.check(settings.shape.text, _draw(sources, context.now()))
    if find_keys(description) != OWN_KEYS:
        return ShapeSearch(verifier, sample, _to_aws(context)).propose(_draw(sources, context.now()))
    gathered = gather_evidence(sources, context.now())
    judged = judge_layout(gathered.evidence, settings, gathered.read, is_scan_denied=gathered.is_scan_denied)
    if is_own_layout(judged):
        return judged
    return _propose_instead(ShapeSearch(verifier, gathered.sample, _to_aws(context)), gathered) or judged


def _propose_instead(search: ShapeSearch, gathered: GatheredEvidence) -> Layout | None:
    """Return the file for a table with PK and SK that holds no order of the sync's own layout, if any."""
    try:
        proposed = search.propose([(one.session, one.message) for one in gathered.evidence])
    except NotAllowed:
        return None
    # The customer's own record is no order that was kept in another layout.
    is_of_user = any(finding.code == Code.USER_KEY for finding in proposed.findings)
    return proposed if proposed.shape and not is_of_user else None


def _draw(sources: Sources, now: int) -> list[Any]:
    return draw_sample(sources.stripe, sources.pool, sources.settings, now, needs_user=False)


def _to_aws(context: CommandContext) -> Any:  # noqa: ANN401 - a bound method
    stack = context.stack
    endpoint = stack.client("dynamodb").meta.endpoint_url if stack.is_sandbox else None
    return Shell(stack.name, context.options.selector, endpoint).aws


def _explain(result: Layout, settings: Settings) -> str:
    if settings.shape is not None:
        return "a file is given; leave it out to have one proposed"
    if any(finding.code in (Code.NO_SHAPE, Code.NESTED_ID) for finding in result.findings):
        return "nothing leads from the sessions to orders; run the command without --write for the reasons"
    return "the table has the sync's own layout, which needs none"


def show_file(screen: Screen, result: Layout, changes: Mapping[str, str], written: str | None) -> None:
    """Print the file, and what to do next to standard error, so that the output can be saved as it is."""
    assert result.shape is not None  # noqa: S101 - the caller has checked it
    if written is None:
        for line in result.shape.file.splitlines():
            screen.line(line)
    file = written or "shape.toml"
    given = repeat_changes(changes, but=IN_FILE)
    if result.shape.index_command is None:
        screen.progress(
            f"{result.table}: the file finds the orders of {result.shape.found} of "
            f"{quantity(result.sessions, 'paid session')}. Save it as {file}, read its comments, and preview "
            f"a week with it: nightly-sync run --dry-run --shape {shlex.quote(file)}{given} "
            "--lookback-hours 168"
        )
    else:
        screen.progress(f"{result.table}: an index is needed first. The command is in the file's comments.")
    if written is not None:
        screen.text(f"Wrote {written}.")


def show(screen: Screen, result: Layout) -> None:
    """Print how many orders the lookup finds, and what does not fit."""
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
        is_compared = any(Code.NO_USER not in place.codes for place in result.places)
        screen.text("The table fits." if is_compared else "Nothing could be compared.", FINE)


def _show_finding(screen: Screen, finding: LayoutFinding) -> None:
    screen.text("")
    label = _LABELS[finding.verdict]
    sessions = f" ({quantity(finding.sessions, 'session')})" if finding.sessions else ""
    screen.text(f"{label}: {finding.code}{sessions}", NOTICE if finding.fits else TROUBLE)
    screen.detail(f"{finding.what[:1].upper()}{finding.what[1:]}.")
    if finding.setting:
        screen.detail(finding.setting)
    elif finding.command:
        screen.detail(finding.command)


def _row(place: SessionPlace) -> list[str | Text]:
    found = "yes" if place.found else Text("no", style=NOTICE)
    return [place.session_id, found, place.key or "none seen", ", ".join(place.codes)]
