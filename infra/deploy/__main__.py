"""`python -m infra.deploy deploy` and `… destroy`, which `make deploy` and `make destroy` call."""

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from infra.arguments import ArgumentParser
from infra.build import ROOT, BuildError
from infra.deploy.aws import AwsServices, connect_to
from infra.deploy.deletion import destroy, show_destruction
from infra.deploy.deployment import SUCCESS, DeployContext, DeployOptions, deploy
from infra.deploy.dry_run import show_deployment
from infra.deploy.errors import DeployError
from infra.deploy.packages import build_zips
from infra.deploy.preflight import check_location
from infra.deploy.settings import DEFAULT_STACK, DeploySettings, check_stack_name
from infra.deploy.settings_file import default_path, read_settings
from infra.deploy.template import Template
from infra.deploy.terminal import DeployTerminal

TEMPLATE = ROOT / "infra" / "template.yaml"
FAILURE = 2
# Options of `deploy` only -> why `destroy` rejects them and what to use instead.
REFUSED_BY_DESTROY = {
    "--set": "is for deploy; destroy reads the parameters of the stack itself",
    "--all": "is for deploy; destroy asks for no parameter",
    "--preview": "is for deploy; --dry-run shows what destroy would delete",
    "--allow-queue-loss": "is for deploy; destroy keeps the queues in any case",
    "--store-private": "is for deploy; destroy writes no file",
    "--adopt": "is for deploy; destroy leaves the ledger in the table",
}


def main(arguments: Sequence[str] | None = None, template: Path = TEMPLATE) -> int:
    """Run the command line and return its exit code.

    0 is success, 1 a deployment after which the doctor found a problem, and 2 a failure that the last line
    explains.
    """
    options = parse_arguments(arguments)
    try:
        return run(options, template)
    except (DeployError, BuildError) as error:
        sys.stderr.write(f"{options.what}: {error}\n")
    except KeyboardInterrupt:
        state = (
            "Nothing was changed."
            if options.dry_run
            else "CloudFormation continues what it has started; deploy again to see it."
        )
        sys.stderr.write(f"\nStopped. {state}\n")
    return FAILURE


def run(options: argparse.Namespace, template: Path) -> int:
    """Run the verb and return its exit code. Raise DeployError or BuildError on failure."""
    stack, file, stored = select_stack(options)
    aws = AwsServices(connect_to(options.region or (stored.region if stored else None)))
    terminal = DeployTerminal(sys.stdout, None if options.yes else input)
    terminal.line(f"Stack {stack} in {aws.region}")
    if options.what == "deploy":
        context = DeployContext(
            aws, terminal, Template.parse(template.read_text()), build_zips, run_operator, time.sleep
        )
        chosen = DeployOptions(
            stack,
            file,
            options.set,
            options.all,
            options.preview,
            options.allow_queue_loss,
            options.adopt,
            options.store_private,
        )
        return show_deployment(context, chosen) if options.dry_run else deploy(context, chosen)
    if options.yes and not options.stack:
        raise DeployError("--yes never prompts, so --stack has to name the stack to delete")
    check_location(aws, stored)
    if options.dry_run:
        show_destruction(aws, terminal, stack, time.sleep)
    else:
        destroy(aws, terminal, stack, time.sleep)
    return SUCCESS


def select_stack(options: argparse.Namespace) -> tuple[str, Path, DeploySettings | None]:
    """Return the stack's name, its file and the file's content.

    Raise DeployError if the file belongs to another stack than the one that is named.
    """
    named = check_stack_name(DEFAULT_STACK if options.stack is None else options.stack)
    file = options.parameters_file or default_path(named)
    stored = read_settings(file)
    if stored is None or stored.stack == named:
        return named, file, stored
    if options.stack or not options.parameters_file:
        raise DeployError(f"{file} belongs to {stored.stack}, not to {named}")
    return check_stack_name(stored.stack), file, stored


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the verb's options. Exit with status 2 for an option that the verb would not use."""
    parser = ArgumentParser(prog="python -m infra.deploy", description="Deploy the stack, or delete it.")
    verbs = parser.add_subparsers(dest="what", required=True, metavar="{deploy,destroy}")
    deploying = verbs.add_parser("deploy", help="deploy the stack", description="Deploy the stack.")
    destroying = verbs.add_parser("destroy", help="delete the stack", description="Delete the stack.")
    for verb in (deploying, destroying):
        _add_common_options(verb)
    _add_deploy_options(deploying)
    for option, sentence in REFUSED_BY_DESTROY.items():
        destroying.add_refused(option, sentence)
    options = parser.parse_args(arguments)
    parser.refuse_if(options.region == "", "--region is empty; give a region's name, or leave it out")
    if options.what == "deploy":
        _refuse_contradictions(deploying, options)
    return options


def _add_common_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--stack", help=f"name of the stack (default: {DEFAULT_STACK})")
    add("--region", help="default: from the file, the environment or the profile")
    add("--parameters-file", type=Path, help="default: deploy.<stack>.json in this folder")
    add(
        "--yes",
        action="store_true",
        help="never prompt (for CI): settings come from the file, --set or the deployed stack",
    )
    add("--dry-run", action="store_true", help="show what would change, and change nothing")


def _add_deploy_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter and store it")
    add("--all", action="store_true", help="ask for every parameter of the template")
    add("--store-private", action="store_true", help="store the account's id and the e-mail address, too")
    add("--preview", action="store_true", help="preview a run after deploying, without asking")
    add("--adopt", action="store_true", help="take over the ledger of another stack on the same table")
    add("--allow-queue-loss", action="store_true", help="with --yes: allow a queue to be removed or replaced")


def _refuse_contradictions(parser: ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with status 2 for options of `deploy` that contradict each other."""
    parser.refuse_if(
        options.dry_run and options.preview,
        "--preview needs a deployment, and --dry-run makes none; leave one of them out",
    )
    parser.refuse_if(
        options.dry_run and options.allow_queue_loss,
        "--allow-queue-loss allows nothing with --dry-run, which changes nothing; leave it out",
    )
    parser.refuse_if(
        options.allow_queue_loss and not options.yes,
        "--allow-queue-loss is for --yes; without --yes you are asked about the loss of a queue",
    )
    parser.refuse_if(
        options.all and options.yes,
        "--all asks for every parameter, and --yes never prompts; leave one of them out, or use --set",
    )
    names = Counter(change.partition("=")[0] for change in options.set)
    repeated = [name for name, count in names.items() if count > 1]
    parser.refuse_if(
        bool(repeated), f"--set {', '.join(repeated)} is given more than once; give each name once"
    )


def run_operator(words: Sequence[str]) -> int:
    """Run `nightly-sync` from this program's own environment and return its exit code."""
    program = Path(sys.executable).with_name("nightly-sync")
    if not program.exists():
        raise DeployError("nightly-sync is not installed here: uv sync --all-extras")
    return subprocess.run([str(program), *words], check=False).returncode  # noqa: S603 - our own program


if __name__ == "__main__":
    sys.exit(main())
