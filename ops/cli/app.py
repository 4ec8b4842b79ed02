"""`nightly-sync`: what a person does in the morning."""

import typer

from ops.cli.command import before_the_name, register
from ops.cli.commands import (
    dlq_list,
    dlq_purge,
    dlq_redrive,
    doctor,
    explain,
    logs,
    pause,
    report,
    run,
    runs,
    show,
    status,
)

HELP = "Look after the nightly Stripe order sync: run it, see what it did, mend what failed."
EXIT_CODES = "Exit codes: 0 fine, 1 something needs a person, 2 could not run."


def app() -> typer.Typer:
    """All commands, in the order in which the help shows them."""
    whole = typer.Typer(
        name="nightly-sync",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        help=HELP,
        epilog=EXIT_CODES,
    )
    before_the_name(whole)
    register(whole, "run", run.run, run.EXAMPLES, run.RULES)
    register(whole, "status", status.status, status.EXAMPLES)
    register(whole, "runs", runs.runs, runs.EXAMPLES)
    register(whole, "show", show.show, show.EXAMPLES, show.RULES)
    register(whole, "explain", explain.explain, explain.EXAMPLES)
    register(whole, "doctor", doctor.doctor, doctor.EXAMPLES)
    register(whole, "logs", logs.logs, logs.EXAMPLES)
    register(whole, "pause", pause.pause, pause.PAUSE_EXAMPLES, pause.RULES)
    register(whole, "resume", pause.resume, pause.RESUME_EXAMPLES, pause.RULES)
    register(whole, "report", report.report, report.EXAMPLES, report.RULES)
    whole.add_typer(dead_letters(), name="dlq")
    return whole


def dead_letters() -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help="The dead-letter queue: sessions that were given up.")
    before_the_name(group)
    register(group, "list", dlq_list.list_, dlq_list.EXAMPLES)
    register(group, "redrive", dlq_redrive.redrive, dlq_redrive.EXAMPLES, dlq_redrive.RULES)
    register(group, "purge", dlq_purge.purge, dlq_purge.EXAMPLES, dlq_purge.RULES)
    return group
