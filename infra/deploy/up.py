"""`make deploy`, from the first question to the preview."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.deploy import preflight, settings
from infra.deploy.aws import Aws
from infra.deploy.changes import show
from infra.deploy.errors import CannotDeploy, RolledBack
from infra.deploy.packages import Build, Packages, packaged, platform
from infra.deploy.screen import BOLD, RED, YELLOW, Screen
from infra.deploy.settings import Settings
from infra.deploy.stack import Proposal, Sleep, Stack
from infra.deploy.template import Template

FINE, NEEDS_A_PERSON = 0, 1


@dataclass(frozen=True)
class Options:
    """`changes` are `NAME=VALUE`; `everything`: ask for each parameter; `preview`: without being asked."""

    stack: str
    file: Path
    changes: Sequence[str] = ()
    everything: bool = False
    preview: bool = False
    allow_queue_loss: bool = False


@dataclass(frozen=True)
class Tools:
    """What a deployment works with. `operator` runs `nightly-sync` and gives its exit code."""

    aws: Aws
    screen: Screen
    template: Template
    build: Build
    operator: Callable[[Sequence[str]], int]
    sleep: Sleep


def deploy(tools: Tools, options: Options) -> int:
    """The exit code: 0, or 1 where it is deployed and the doctor has found something. Raises CannotDeploy."""
    before = settings.read(options.file)
    wanted = wanted_of(tools, options, before)
    preflight.check_bucket(tools.aws, wanted.bucket, wanted.account)
    stack = Stack(tools.aws, tools.screen, wanted.stack, tools.sleep)
    is_new = stack.is_new()
    if is_new:
        preflight.check_names(tools.aws, wanted.stack)
    proposal = stack.propose(put_in_place(tools, wanted), wanted.parameters, is_new=is_new)
    if proposal:
        agree(tools.screen, proposal, options)
    keep(tools.screen, options.file, before, wanted)
    if proposal:
        carry_out(tools.screen, proposal, options.file, before)
    else:
        # An earlier deployment that was interrupted has not come to it.
        stack.protect()
        tools.screen.line("No changes: the stack is as it should be.")
    return look_at_it(tools, wanted, options, is_new=is_new)


def wanted_of(tools: Tools, options: Options, found: Settings | None) -> Settings:
    """As found or asked for, checked against the template and the account."""
    screen, aws = tools.screen, tools.aws
    account = preflight.account_of(aws)
    if found:
        preflight.check_place(found, account, aws.region)
    start = found or Settings(options.stack, account, aws.region, bucket_name(account, aws.region))
    wanted = settings.with_changes(start, options.changes)
    if options.everything or not found:
        if not screen.is_answered and not found:
            raise CannotDeploy(
                f"there is no {options.file}, and nobody to ask: run `make deploy` by hand once"
            )
        changed = {change.partition("=")[0] for change in options.changes}
        given = {name: value for name, value in wanted.parameters.items() if name in changed}
        wanted = settings.asked(screen, tools.template, wanted, everything=options.everything, given=given)
    settings.check(wanted, tools.template)
    preflight.check_shop(aws, wanted)
    return wanted


def bucket_name(account: str, region: str) -> str:
    return f"stripe-nightly-sync-{account}-{region}"


def put_in_place(tools: Tools, wanted: Settings) -> str:
    """The template's URL, with everything that it names in the bucket."""
    tools.screen.line("Building the functions", BOLD)
    archives = tools.build(platform(tools.template, wanted.parameters))
    packages = Packages(tools.aws, tools.screen, wanted.bucket, wanted.stack)
    template = packaged(tools.template.text, packages.put_functions(archives))
    return packages.put_template(template)


def agree(screen: Screen, proposal: Proposal, options: Options) -> None:
    """Shows it and asks. Nothing of it is left where it is not wanted, and CannotDeploy is raised."""
    screen.line("What would change", BOLD)
    show(screen, proposal.changes)
    try:
        ask_for(screen, proposal, options)
    except (CannotDeploy, KeyboardInterrupt):
        proposal.drop()
        raise


def ask_for(screen: Screen, proposal: Proposal, options: Options) -> None:
    """Raises CannotDeploy where it is not wanted."""
    if proposal.loses_messages and not may_lose(screen, options):
        raise CannotDeploy(
            "nothing was deployed, for the queue's sake (--allow-queue-loss with --yes lets it go)"
        )
    if not screen.agreed("Deploy this?"):
        raise CannotDeploy("nothing was deployed")


def keep(screen: Screen, file: Path, before: Settings | None, wanted: Settings) -> None:
    """Before CloudFormation begins: it goes on by itself, also when this program is stopped."""
    if wanted != before:
        settings.write(file, wanted)
        screen.line(f"Kept in {file}. It holds no secret; commit it, so that all deploy the same.")


def carry_out(screen: Screen, proposal: Proposal, file: Path, before: Settings | None) -> None:
    """Raises RolledBack, and then the file says again what the stack is. First answers stay, to be mended."""
    screen.line("Deploying; this takes a few minutes")
    try:
        outputs = proposal.accept()
    except RolledBack:
        if before:
            settings.write(file, before)
        raise
    show_outputs(screen, outputs)


def may_lose(screen: Screen, options: Options) -> bool:
    """A question of its own, whose answer nobody gives by the way."""
    screen.line("A queue would be removed or replaced. Messages in it are paid sessions.", RED)
    return options.allow_queue_loss or (screen.is_answered and screen.agreed("Shall it go all the same?"))


def show_outputs(screen: Screen, outputs: Mapping[str, str]) -> None:
    screen.line("Deployed", BOLD)
    screen.table([(pair, "") for pair in sorted(outputs.items())])


def look_at_it(tools: Tools, wanted: Settings, options: Options, *, is_new: bool) -> int:
    """The doctor, a preview for who wants one, and what comes next."""
    screen, where = tools.screen, ("--stack", wanted.stack, "--region", wanted.region)
    screen.line("nightly-sync doctor", BOLD)
    health = tools.operator(["doctor", *where])
    offer = "Preview the last day with `nightly-sync run --dry-run`? Nothing is written."
    if options.preview or screen.takes(offer):
        tools.operator(["run", "--dry-run", *where])
    if is_new and wanted.parameters.get("AlarmEmail"):
        screen.line("Confirm the mail from SNS, or no alarm will arrive.", YELLOW)
    if wanted.parameters.get("ScheduleState") == "DISABLED":
        screen.line(
            'No night runs by itself yet. To start them: make deploy ARGS="--set ScheduleState=ENABLED"'
        )
    if health == FINE:
        return FINE
    found = "what the doctor names" if health == NEEDS_A_PERSON else "why the doctor could not look"
    screen.line(f"The stack is deployed; {found} is above. make calls this an error.", YELLOW)
    return NEEDS_A_PERSON
