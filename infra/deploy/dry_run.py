"""`make deploy ARGS=--dry-run`: show what a deployment would change, without changing anything."""

from pathlib import Path

from infra.deploy import preflight, settings
from infra.deploy.changes import show_changes
from infra.deploy.deployment import SUCCESS, DeployContext, DeployOptions, choose_settings
from infra.deploy.errors import BucketNotFoundError
from infra.deploy.ledger import find_other_owner
from infra.deploy.packages import PackageBucket, choose_platform, package_template
from infra.deploy.settings import DeploySettings
from infra.deploy.stack import ChangeSet, CloudFormationStack
from infra.deploy.template import Template
from infra.deploy.terminal import BOLD, RED, YELLOW, DeployTerminal


def show_deployment(context: DeployContext, options: DeployOptions) -> int:
    """Show what `deploy` would change, and return the exit code, 0.

    Raise DeployError for whatever `deploy` would reject, except that a first deployment needs no bucket yet.
    """
    before = settings.read(options.file)
    wanted = choose_settings(context, options, before)
    if other_owner := find_other_owner(context.aws, wanted, adopt=options.adopt):
        context.terminal.line(f"The ledger of stack {other_owner} would be taken over.", YELLOW)
    stack = CloudFormationStack(context.aws, context.terminal, wanted.stack, context.sleep)
    is_new = stack.is_new()
    if is_new:
        preflight.check_names(context.aws, wanted)
    try:
        preflight.check_bucket(context.aws, wanted.bucket, wanted.account)
    except BucketNotFoundError as missing:
        if not is_new:
            raise
        show_template(context.terminal, context.template, missing)
    else:
        compare(context, wanted, stack, is_new=is_new)
    show_file(context.terminal, options.file, before, wanted)
    context.terminal.line("Dry run: nothing was changed.", BOLD)
    return SUCCESS


def show_template(terminal: DeployTerminal, template: Template, missing: BucketNotFoundError) -> None:
    """List the template's resources, if CloudFormation cannot read it because there is no bucket."""
    terminal.line(f"A deployment would stop here: {missing}", YELLOW)
    terminal.line(
        "CloudFormation reads the template from that bucket, so it was not called. The parameters are valid. "
        "The template itself names these resources; CloudFormation adds roles and permissions to them."
    )
    terminal.line("Would be created", BOLD)
    rows = [
        ((name, one.kind, f"only with {one.condition}" if one.condition else ""), "")
        for name, one in sorted(template.resources.items())
    ]
    terminal.table(rows)


def compare(
    context: DeployContext, wanted: DeploySettings, stack: CloudFormationStack, *, is_new: bool
) -> None:
    """Show the changes that CloudFormation computes, then delete everything that this needed."""
    context.terminal.line("Building the functions, in build/ of this folder", BOLD)
    archives = context.build(choose_platform(context.template, wanted.parameters))
    bucket = PackageBucket(context.aws, context.terminal, wanted.bucket, wanted.stack)
    template = package_template(context.template.text, bucket.name_functions(archives))
    with bucket.lend_template(template) as url:
        change_set = stack.propose(url, wanted.parameters, is_new=is_new)
        if change_set is None:
            context.terminal.line("No changes: the stack is up to date.")
            return
        try:
            show_change_set(context.terminal, change_set)
        finally:
            change_set.delete()


def show_change_set(terminal: DeployTerminal, change_set: ChangeSet) -> None:
    terminal.line("What would change", BOLD)
    show_changes(terminal, change_set.changes)
    if change_set.loses_messages:
        terminal.line(
            "A queue would be removed or replaced. Messages in it are paid sessions. A deployment asks about "
            "it separately, or needs --allow-queue-loss with --yes.",
            RED,
        )


def show_file(
    terminal: DeployTerminal, file: Path, before: DeploySettings | None, wanted: DeploySettings
) -> None:
    """Print which settings a deployment would write into the file."""
    if changed := settings.list_differences(before, wanted):
        terminal.line(f"Would be stored in {file}: {', '.join(changed)}")
    else:
        terminal.line(f"{file} would stay as it is.")
