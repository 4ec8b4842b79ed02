"""`make deploy ARGS=--dry-run`: show what a deployment would change, without changing anything."""

from collections.abc import Mapping

from infra.deploy import preflight
from infra.deploy.changes import show_changes
from infra.deploy.deployment import (
    SUCCESS,
    DeployContext,
    DeployOptions,
    check_account,
    choose_settings,
    load_settings,
)
from infra.deploy.errors import BucketNotFoundError
from infra.deploy.ledger import find_other_owner
from infra.deploy.packages import PackageBucket, choose_platform, package_template
from infra.deploy.settings import DeploySettings
from infra.deploy.settings_file import SettingsFile
from infra.deploy.stack import ChangeSet, CloudFormationStack, parse_parameters
from infra.deploy.template import Template
from infra.deploy.terminal import BOLD, RED, YELLOW, DeployTerminal


def show_deployment(context: DeployContext, options: DeployOptions) -> int:
    """Show what `deploy` would change, and return the exit code, 0.

    Raise DeployError for whatever `deploy` would reject, except that a first deployment needs no bucket yet.
    """
    stack = CloudFormationStack(context.aws, context.terminal, options.stack, context.sleep)
    file = SettingsFile.read(options.file, store_private=options.store_private)
    account = preflight.check_location(context.aws, file.settings)
    found = stack.describe()
    is_new = stack.is_new(found)
    start = load_settings(context, options, file.settings, account, found)
    wanted = choose_settings(context, options, start, lambda _: None, is_new=is_new)
    try:
        wanted = check_account(context, wanted)
    except BucketNotFoundError as missing:
        if not is_new:
            raise
        show_first_deployment(context, wanted, missing, adopt=options.adopt)
    else:
        show_owner(context, wanted, parse_parameters(found), adopt=options.adopt)
        if is_new:
            preflight.check_names(context.aws, wanted)
        compare(context, wanted, stack, is_new=is_new)
    show_file(context.terminal, file, wanted)
    context.terminal.line("Dry run: nothing was changed.", BOLD)
    return SUCCESS


def show_owner(
    context: DeployContext, wanted: DeploySettings, deployed: Mapping[str, str], *, adopt: bool
) -> None:
    """Show whose ledger would be taken over. Raise DeployError if another stack owns it."""
    if other_owner := find_other_owner(context.aws, wanted, deployed, adopt=adopt):
        context.terminal.line(f"The ledger of stack {other_owner} would be taken over.", YELLOW)


def show_first_deployment(
    context: DeployContext, wanted: DeploySettings, missing: BucketNotFoundError, *, adopt: bool
) -> None:
    """Show what can be said without the bucket. Raise DeployError for whatever else `deploy` would reject."""
    show_owner(context, wanted, {}, adopt=adopt)
    preflight.check_names(context.aws, wanted)
    show_template(context.terminal, context.template, missing)


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


def show_file(terminal: DeployTerminal, file: SettingsFile, wanted: DeploySettings) -> None:
    """Print which settings a deployment would write into the file."""
    if changed := file.list_changes(wanted):
        terminal.line(f"Would be stored in {file.path}: {', '.join(changed)}")
    else:
        terminal.line(f"{file.path} would stay as it is.")
