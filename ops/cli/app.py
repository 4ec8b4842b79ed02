"""The command tree of `nightly-sync`."""

import typer

from ops.cli.command import accept_common_options, register
from ops.cli.commands import (
    attention,
    dlq_list,
    dlq_purge,
    dlq_redrive,
    doctor,
    explain,
    layout,
    ledger,
    logs,
    missing,
    pause,
    report,
    run,
    runs,
    show,
    status,
)
from ops.cli.options import VERSION
from ops.cli.parsing import HELP_OPTIONS, SyncGroup

HELP = "Operate the nightly Stripe order sync: start runs, inspect results, repair failures."
EXIT_CODES = "Exit codes: 0 fine, 1 action needed, 2 could not run."


def app() -> typer.Typer:
    """Build the application with its commands in the order of the help page."""
    root = typer.Typer(
        name="nightly-sync",
        cls=SyncGroup,
        context_settings=HELP_OPTIONS,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        help=HELP,
        epilog=EXIT_CODES,
    )
    accept_common_options(root, VERSION)
    register(root, "run", run.run, run.EXAMPLES, run.RULES)
    register(root, "status", status.status, status.EXAMPLES)
    register(root, "runs", runs.runs, runs.EXAMPLES)
    register(root, "show", show.show, show.EXAMPLES, show.RULES)
    register(root, "explain", explain.explain, explain.EXAMPLES)
    register(root, "missing", missing.missing, missing.EXAMPLES)
    register(root, "ack", attention.ack, attention.ACK_EXAMPLES)
    register(root, "dismiss", attention.dismiss, attention.DISMISS_EXAMPLES)
    register(root, "allow", attention.allow, attention.ALLOW_EXAMPLES, attention.ALLOW_RULES)
    register(root, "layout", layout.layout, layout.EXAMPLES)
    register(root, "doctor", doctor.doctor, doctor.EXAMPLES, doctor.RULES)
    register(root, "logs", logs.logs, logs.EXAMPLES, logs.RULES)
    register(root, "pause", pause.pause, pause.PAUSE_EXAMPLES, pause.RULES)
    register(root, "resume", pause.resume, pause.RESUME_EXAMPLES, pause.RULES)
    register(root, "report", report.report, report.EXAMPLES, report.RULES)
    root.add_typer(dead_letter_commands(), name="dlq")
    root.add_typer(ledger_commands(), name="ledger")
    return root


def dead_letter_commands() -> typer.Typer:
    """Build the command group `dlq`."""
    group = typer.Typer(
        cls=SyncGroup,
        no_args_is_help=True,
        context_settings=HELP_OPTIONS,
        help="Inspect, redrive or purge the dead-letter queue.",
    )
    accept_common_options(group, hidden=True)
    register(group, "list", dlq_list.list_, dlq_list.EXAMPLES)
    register(group, "redrive", dlq_redrive.redrive, dlq_redrive.EXAMPLES, dlq_redrive.RULES)
    register(group, "purge", dlq_purge.purge, dlq_purge.EXAMPLES, dlq_purge.RULES)
    return group


def ledger_commands() -> typer.Typer:
    """Build the command group `ledger`."""
    group = typer.Typer(
        cls=SyncGroup,
        no_args_is_help=True,
        context_settings=HELP_OPTIONS,
        help="Move the sync's own records to another table.",
    )
    accept_common_options(group, hidden=True)
    register(group, "move", ledger.move, ledger.MOVE_EXAMPLES)
    return group
