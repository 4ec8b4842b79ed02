"""`make deploy`, from the first question to the preview."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.deploy import preflight, questions
from infra.deploy.aws import AwsServices
from infra.deploy.changes import show_changes
from infra.deploy.encryption import find_needed_keys, grant_keys
from infra.deploy.errors import DeployError, RollbackError
from infra.deploy.layout import check_layout
from infra.deploy.ledger import adopt_ledger, find_backfill, find_other_owner
from infra.deploy.packages import BuildZips, PackageBucket, choose_platform, package_template
from infra.deploy.parameter_rules import find_slow_share, list_missing, list_problems
from infra.deploy.questions import ASKED, FIRST_TIME, KeepAnswers, ask_for_bucket, ask_for_settings
from infra.deploy.settings import DeploySettings, apply_changes
from infra.deploy.settings_file import SettingsFile, add_addresses, resolve_account
from infra.deploy.shape import check_shape, check_unused, find_shape, load_shape
from infra.deploy.shop_table import check_ledger_table, describe_table, find_table, list_notes
from infra.deploy.stack import AwsResponse, ChangeSet, CloudFormationStack, Sleep, parse_parameters
from infra.deploy.template import Template
from infra.deploy.terminal import BOLD, RED, YELLOW, DeployTerminal
from recon.domain.shape import Shape

SUCCESS, ACTION_NEEDED = 0, 1


@dataclass(frozen=True)
class DeployOptions:
    """The options of the command line.

    `changes` are `NAME=VALUE`. `everything` asks for each parameter. `preview` runs it without a question.
    `adopt` takes the ledger of another stack over. `store_private` stores account and address in the file.
    """

    stack: str
    file: Path
    changes: Sequence[str] = ()
    everything: bool = False
    preview: bool = False
    allow_queue_loss: bool = False
    adopt: bool = False
    store_private: bool = False


@dataclass(frozen=True)
class DeployContext:
    """The services of a deployment. `operator` runs `nightly-sync` and returns its exit code."""

    aws: AwsServices
    terminal: DeployTerminal
    template: Template
    build: BuildZips
    operator: Callable[[Sequence[str]], int]
    sleep: Sleep


def deploy(context: DeployContext, options: DeployOptions) -> int:
    """Return the exit code: 0, or 1 if the stack is deployed and the doctor found a problem.

    Raise DeployError if it is not deployed.
    """
    stack = CloudFormationStack(context.aws, context.terminal, options.stack, context.sleep)
    file = SettingsFile.read(options.file, store_private=options.store_private)
    account = preflight.check_location(context.aws, file.settings)
    found = stack.remove_failed_creation(stack.describe())
    is_new = stack.is_new(found)
    # The answers of a first deployment are kept at once. Those of a later one count once they are deployed.
    answers = AnswerLog()
    start = load_settings(context, options, file.settings, account, found)
    with explain_how_to_repeat(context, file, start, answers):
        keep = file.write if is_new else answers.add
        wanted = choose_settings(context, options, start, keep, is_new=is_new)
        wanted = check_account(context, wanted)
        other_owner = find_other_owner(context.aws, wanted, parse_parameters(found), adopt=options.adopt)
        if is_new:
            preflight.check_names(context.aws, wanted)
            check_layout(context.terminal, context.operator, wanted)
        change_set = stack.propose(upload_packages(context, wanted), wanted.parameters, is_new=is_new)
        if change_set:
            confirm_changes(context.terminal, change_set, options)
        store_settings(context.terminal, file, wanted)
        if change_set:
            execute(context.terminal, change_set, file)
    if not change_set:
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


@dataclass
class AnswerLog:
    """The user's answers so far, which the file must not hold before they are deployed."""

    latest: DeploySettings | None = None

    def add(self, answered: DeploySettings) -> None:
        """Remember the settings with one more answer."""
        self.latest = answered


def load_settings(
    context: DeployContext,
    options: DeployOptions,
    stored: DeploySettings | None,
    account: str,
    found: AwsResponse | None,
) -> DeploySettings:
    """Return the settings of the file, or those of the deployed stack if there is no file."""
    known = context.template.parameters
    deployed = {name: one for name, one in parse_parameters(found).items() if name in known}
    if stored is None and deployed:
        context.terminal.line(f"There is no {options.file}; the settings are those of the deployed stack.")
        changed = {name: one for name, one in deployed.items() if one != known[name].default}
        stored = DeploySettings(
            options.stack, account, context.aws.region, find_bucket(context, options), changed
        )
    if stored is None:
        stored = DeploySettings(options.stack, account, context.aws.region, "", FIRST_TIME)
    return add_addresses(resolve_account(stored, account), deployed)


def find_bucket(context: DeployContext, options: DeployOptions) -> str:
    return CloudFormationStack(context.aws, context.terminal, options.stack, context.sleep).find_bucket()


def choose_settings(
    context: DeployContext,
    options: DeployOptions,
    start: DeploySettings,
    keep: KeepAnswers,
    *,
    is_new: bool,
) -> DeploySettings:
    """Return `start` with the changes and the user's answers: to what it lacks, or to everything.

    Raise DeployError that lists every parameter that is unknown, invalid or, without a user, missing.
    """
    terminal, template = context.terminal, context.template
    wanted = load_shape(apply_changes(start, options.changes))
    missing = list_missing(wanted, template)
    problems = list_problems(wanted, template)
    if not terminal.is_interactive:
        problems += [f"{name} is missing, and --yes never prompts: --set {name}=…" for name in missing]
    if problems:
        raise DeployError("; ".join(problems))
    _check_together(wanted, template)
    asked = ASKED if is_new else missing
    names = [name for name in asked if name not in wanted.parameters]
    if options.everything:
        names = list(template.parameters)
    if not names or not terminal.is_interactive:
        return wanted
    check = AnswerCheck(context.aws, wanted.account, find_shape(wanted))
    wanted = load_shape(ask_for_settings(terminal, template, wanted, names, check, keep))
    _check_together(wanted, template)
    return ask_for_bucket(terminal, wanted, check, keep)


def _check_together(wanted: DeploySettings, template: Template) -> None:
    check_unused(wanted, template)
    if problem := find_slow_share(wanted, template):
        raise DeployError(problem)


@dataclass(frozen=True)
class AnswerCheck:
    """The checks of single answers: `check("CommerceTable", "shop")` raises DeployError if there is none."""

    aws: AwsServices
    account: str
    shape: Shape | None = None

    def __call__(self, name: str, value: str) -> None:
        match name:
            case "CommerceTable" if self.shape:
                check_shape(self.shape, find_table(self.aws, value))
            case "CommerceTable":
                describe_table(self.aws, value)
            case "StripeSecretParameter":
                preflight.describe_secret(self.aws, value)
            case questions.BUCKET:
                preflight.check_bucket(self.aws, value, self.account)


def check_account(context: DeployContext, wanted: DeploySettings) -> DeploySettings:
    """Return the settings with the KMS keys that the functions need, and print what the shop has to know.

    Raise DeployError if the account lacks what the settings name.
    """
    name = wanted.parameters["CommerceTable"]
    if shape := find_shape(wanted):
        table = find_table(context.aws, name)
        check_shape(shape, table)
    else:
        table = describe_table(context.aws, name)
    check_ledger_table(context.aws, wanted)
    secret = preflight.describe_secret(context.aws, wanted.parameters["StripeSecretParameter"])
    wanted = grant_keys(context.terminal, wanted, find_needed_keys(context.aws, wanted, table, secret))
    # The table of a shop with its own layout is only read, a unit or two for each session.
    for note in () if shape else list_notes(table, wanted, context.template):
        context.terminal.line(note, YELLOW)
    preflight.check_concurrency(context.aws, wanted, context.template)
    preflight.check_bucket(context.aws, wanted.bucket, wanted.account)
    return wanted


@contextmanager
def explain_how_to_repeat(
    context: DeployContext, file: SettingsFile, start: DeploySettings, answers: AnswerLog
) -> Iterator[None]:
    """If the block fails, print the options that repeat the answers which the file does not hold."""
    try:
        yield
    except (DeployError, KeyboardInterrupt):
        if answers.latest and file.is_as_before():
            defaults = {name: one.default for name, one in context.template.parameters.items()}
            changed = answers.latest.parameters.items() - (defaults | dict(start.parameters)).items()
            words = " ".join(f"--set {shlex.quote(f'{name}={one}')}" for name, one in sorted(changed))
            context.terminal.line(f"\nYour answers were not stored. These options repeat them: {words}")
        raise


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


def store_settings(terminal: DeployTerminal, file: SettingsFile, wanted: DeploySettings) -> None:
    """Write the file before CloudFormation starts, which continues even if this program is stopped."""
    if file.list_changes(wanted):
        file.write(wanted)
        terminal.line(f"Stored in {file.path}. It holds no secret; commit it, so that all deploy the same.")


def execute(terminal: DeployTerminal, change_set: ChangeSet, file: SettingsFile) -> None:
    """Execute the change set and print the outputs.

    On a rollback of an update, restore the file, which describes the stack that is deployed, and raise
    RollbackError. The settings of a first deployment stay, to be corrected.
    """
    terminal.line("Deploying; this takes a few minutes")
    try:
        outputs = change_set.execute()
    except RollbackError:
        if not change_set.is_new:
            file.restore()
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
