"""`make deploy ARGS=--dry-run`: what a deployment would change, with nothing changed."""

from pathlib import Path

from infra.deploy import preflight, settings
from infra.deploy.changes import show
from infra.deploy.errors import BucketMissing
from infra.deploy.packages import Packages, packaged, platform
from infra.deploy.screen import BOLD, RED, YELLOW, Screen
from infra.deploy.settings import Settings
from infra.deploy.stack import Proposal, Stack
from infra.deploy.template import Template
from infra.deploy.up import FINE, Options, Tools, wanted_of


def show_deployment(tools: Tools, options: Options) -> int:
    """Show what `deploy` would change, and change nothing. Return the exit code, 0. Raise CannotDeploy for
    whatever `deploy` would refuse, except that a first deployment needs no bucket yet."""
    before = settings.read(options.file)
    wanted = wanted_of(tools, options, before)
    stack = Stack(tools.aws, tools.screen, wanted.stack, tools.sleep)
    is_new = stack.is_new()
    if is_new:
        preflight.check_names(tools.aws, wanted.stack)
    try:
        preflight.check_bucket(tools.aws, wanted.bucket, wanted.account)
    except BucketMissing as missing:
        if not is_new:
            raise
        show_template(tools.screen, tools.template, missing)
    else:
        show_change_set(tools, wanted, stack, is_new=is_new)
    show_file(tools.screen, options.file, before, wanted)
    tools.screen.line("Dry run: nothing was changed.", BOLD)
    return FINE


def show_template(screen: Screen, template: Template, missing: BucketMissing) -> None:
    """List the resources that the template names, where CloudFormation cannot be asked."""
    screen.line(f"A deployment would stop here: {missing}", YELLOW)
    screen.line(
        "CloudFormation reads the template from that bucket, so it was not asked. The parameters are right. "
        "The template itself names these resources; CloudFormation adds roles and permissions to them."
    )
    screen.line("Would be created", BOLD)
    rows = [
        ((name, one.kind, f"only with {one.condition}" if one.condition else ""), "")
        for name, one in sorted(template.resources.items())
    ]
    screen.table(rows)


def show_change_set(tools: Tools, wanted: Settings, stack: Stack, *, is_new: bool) -> None:
    """Let CloudFormation compare, show the answer, and take back all that this needed."""
    tools.screen.line("Building the functions, in build/ of this folder", BOLD)
    archives = tools.build(platform(tools.template, wanted.parameters))
    packages = Packages(tools.aws, tools.screen, wanted.bucket, wanted.stack)
    template = packaged(tools.template.text, packages.name_functions(archives))
    with packages.lend_template(template) as url:
        proposal = stack.propose(url, wanted.parameters, is_new=is_new)
        if proposal is None:
            tools.screen.line("No changes: the stack is as it should be.")
            return
        try:
            show_proposal(tools.screen, proposal)
        finally:
            proposal.drop()


def show_proposal(screen: Screen, proposal: Proposal) -> None:
    screen.line("What would change", BOLD)
    show(screen, proposal.changes)
    if proposal.loses_messages:
        screen.line(
            "A queue would be removed or replaced. Messages in it are paid sessions. A deployment asks about "
            "it separately, or needs --allow-queue-loss with --yes.",
            RED,
        )


def show_file(screen: Screen, file: Path, before: Settings | None, wanted: Settings) -> None:
    """Say what a deployment would write into the parameters file."""
    if changed := settings.differences(before, wanted):
        screen.line(f"Would be kept in {file}: {', '.join(changed)}")
    else:
        screen.line(f"{file} would stay as it is.")
