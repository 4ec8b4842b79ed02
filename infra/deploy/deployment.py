"""`make deploy`, from the first question to the preview."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.deploy import preflight, settings
from infra.deploy.aws_cli import AwsCli
from infra.deploy.changes import show_changes
from infra.deploy.errors import DeployError, RollbackError
from infra.deploy.ledger import adopt_ledger, find_backfill, find_other_owner
from infra.deploy.packages import BuildZips, PackageBucket, choose_platform, package_template
from infra.deploy.settings import DeploySettings
from infra.deploy.stack import ChangeSet, CloudFormationStack, Sleep
from infra.deploy.template import Template
from infra.deploy.terminal import BOLD, RED, YELLOW, DeployTerminal

SUCCESS, ACTION_NEEDED = 0, 1


@dataclass(frozen=True)
class DeployOptions:
    """The options of the command line.

    `changes` are `NAME=VALUE`. `everything` asks for each parameter. `preview` runs it without a question.
    `adopt` takes the ledger of another stack over.
    """

    stack: str
    file: Path
    changes: Sequence[str] = ()
    everything: bool = False
    preview: bool = False
    allow_queue_loss: bool = False
    adopt: bool = False


@dataclass(frozen=True)
class DeployContext:
    """The services of a deployment. `operator` runs `nightly-sync` and returns its exit code."""

    aws: AwsCli
    terminal: DeployTerminal
    template: Template
    build: BuildZips
    operator: Callable[[Sequence[str]], int]
    sleep: Sleep


def deploy(context: DeployContext, options: DeployOptions) -> int:
    """Return the exit code: 0, or 1 if the stack is deployed and the doctor found a problem.

    Raise DeployError if it is not deployed.
    """
    before = settings.read(options.file)
    wanted = choose_settings(context, options, before)
    other_owner = find_other_owner(context.aws, wanted, adopt=options.adopt)
    preflight.check_bucket(context.aws, wanted.bucket, wanted.account)
    stack = CloudFormationStack(context.aws, context.terminal, wanted.stack, context.sleep)
    is_new = stack.is_new()
    if is_new:
        preflight.check_names(context.aws, wanted)
    change_set = stack.propose(upload_packages(context, wanted), wanted.parameters, is_new=is_new)
    if change_set:
        confirm_changes(context.terminal, change_set, options)
    store_settings(context.terminal, options.file, before, wanted)
    if change_set:
        execute(context.terminal, change_set, options.file, before)
    else:
        # An earlier deployment may have been interrupted before it protected the queues.
        stack.protect_queues()
        context.terminal.line("No changes: the stack is up to date.")
    if other_owner:
        adopt_ledger(context.aws, wanted, other_owner)
        context.terminal.line(f"The ledger of stack {other_owner} belongs to {wanted.stack} now.", YELLOW)
    if backfill := find_backfill(context.aws, wanted):
        terminal = context.terminal
        terminal.line("SessionFilter was changed. Sessions of the time before may lack their orders:", YELLOW)
        terminal.line(backfill)
    return finish(context, wanted, options, is_new=is_new)


def choose_settings(
    context: DeployContext, options: DeployOptions, stored: DeploySettings | None
) -> DeploySettings:
    """Return the stored settings or the user's answers, checked against the template and the account."""
    terminal, aws = context.terminal, context.aws
    account = preflight.fetch_account(aws)
    if stored:
        preflight.check_location(stored, account, aws.region)
    bucket = f"stripe-nightly-sync-{account}-{aws.region}"
    start = stored or DeploySettings(options.stack, account, aws.region, bucket)
    wanted = settings.apply_changes(start, options.changes)
    if options.everything or not stored:
        if not terminal.is_interactive and not stored:
            raise DeployError(
                f"there is no {options.file}, and --yes never prompts: run `make deploy` without it once"
            )
        changed = {change.partition("=")[0] for change in options.changes}
        given = {name: value for name, value in wanted.parameters.items() if name in changed}
        wanted = settings.ask_for_settings(
            terminal, context.template, wanted, everything=options.everything, given=given
        )
    settings.check(wanted, context.template)
    preflight.check_shop(aws, wanted)
    return wanted


def upload_packages(context: DeployContext, wanted: DeploySettings) -> str:
    """Build and upload the functions and the template, and return the template's URL."""
    context.terminal.line("Building the functions", BOLD)
    archives = context.build(choose_platform(context.template, wanted.parameters))
    bucket = PackageBucket(context.aws, context.terminal, wanted.bucket, wanted.stack)
    return bucket.upload_template(package_template(context.template.text, bucket.upload_functions(archives)))


def confirm_changes(terminal: DeployTerminal, change_set: ChangeSet, options: DeployOptions) -> None:
    """Show the changes and ask. If the user declines, delete the change set and raise DeployError."""
    terminal.line("What would change", BOLD)
    show_changes(terminal, change_set.changes)
    try:
        require_consent(terminal, change_set, options)
    except (DeployError, KeyboardInterrupt):
        change_set.delete()
        raise


def require_consent(terminal: DeployTerminal, change_set: ChangeSet, options: DeployOptions) -> None:
    if change_set.loses_messages and not may_lose_queue(terminal, options):
        raise DeployError(
            "nothing was deployed, since a queue would be lost (--allow-queue-loss with --yes allows it)"
        )
    if not terminal.confirm("Deploy this?"):
        raise DeployError("nothing was deployed")


def may_lose_queue(terminal: DeployTerminal, options: DeployOptions) -> bool:
    """Return whether the user agrees, in a separate question, to the loss of a queue."""
    terminal.line("A queue would be removed or replaced. Messages in it are paid sessions.", RED)
    return options.allow_queue_loss or (
        terminal.is_interactive and terminal.confirm("Remove it and its messages?")
    )


def store_settings(
    terminal: DeployTerminal, file: Path, before: DeploySettings | None, wanted: DeploySettings
) -> None:
    """Write the file before CloudFormation starts, which continues even if this program is stopped."""
    if wanted != before:
        settings.write(file, wanted)
        terminal.line(f"Stored in {file}. It holds no secret; commit it, so that all deploy the same.")


def execute(
    terminal: DeployTerminal, change_set: ChangeSet, file: Path, before: DeploySettings | None
) -> None:
    """Execute the change set and print the outputs.

    On a rollback, restore the settings of the stack that is deployed and raise RollbackError. The settings of
    a first deployment stay, to be corrected.
    """
    terminal.line("Deploying; this takes a few minutes")
    try:
        outputs = change_set.execute()
    except RollbackError:
        if before:
            settings.write(file, before)
        raise
    show_outputs(terminal, outputs)


def show_outputs(terminal: DeployTerminal, outputs: Mapping[str, str]) -> None:
    terminal.line("Deployed", BOLD)
    terminal.table([(pair, "") for pair in sorted(outputs.items())])


def finish(context: DeployContext, wanted: DeploySettings, options: DeployOptions, *, is_new: bool) -> int:
    """Run the doctor, offer a preview, print the next steps, and return the exit code."""
    terminal, where = context.terminal, ("--stack", wanted.stack, "--region", wanted.region)
    terminal.line("nightly-sync doctor", BOLD)
    health = context.operator(["doctor", *where])
    offer = "Preview the last day with `nightly-sync run --dry-run`? Nothing is written."
    if options.preview or terminal.accept_offer(offer):
        context.operator(["run", "--dry-run", *where])
    if is_new and wanted.parameters.get("AlarmEmail"):
        terminal.line("Confirm the e-mail from SNS, or no alarm will arrive.", YELLOW)
    if wanted.parameters.get("ScheduleState") == "DISABLED":
        terminal.line(
            'The nightly schedule is off. To turn it on: make deploy ARGS="--set ScheduleState=ENABLED"'
        )
    if health == SUCCESS:
        return SUCCESS
    problem = "the doctor's findings are" if health == ACTION_NEEDED else "the reason the doctor failed is"
    terminal.line(f"The stack is deployed; {problem} above. make reports this as an error.", YELLOW)
    return ACTION_NEEDED
