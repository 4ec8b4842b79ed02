"""`python -m infra.deploy deploy` and `… destroy`, which `make deploy` and `make destroy` call."""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from infra.arguments import ArgumentParser
from infra.build import ROOT, BuildError
from infra.deploy import settings
from infra.deploy.aws import Aws, program, region_of
from infra.deploy.down import destroy, show_destruction
from infra.deploy.dry_run import show_deployment
from infra.deploy.errors import CannotDeploy
from infra.deploy.packages import zips
from infra.deploy.screen import Screen
from infra.deploy.settings import Settings
from infra.deploy.template import Template
from infra.deploy.up import FINE, Options, Tools, deploy

TEMPLATE = ROOT / "infra" / "template.yaml"
COULD_NOT = 2
# What only `deploy` takes -> what to do instead on `destroy`.
REFUSED_BY_DESTROY = {
    "--set": "is for deploy; destroy takes the parameters from the file that the stack was deployed with",
    "--all": "is for deploy; destroy asks for no parameter",
    "--preview": "is for deploy; --dry-run shows what destroy would delete",
    "--allow-queue-loss": "is for deploy; destroy keeps the queues in any case",
}


def main(arguments: Sequence[str] | None = None, template: Path = TEMPLATE) -> int:
    """0: done; 1: deployed, and the doctor has found something; 2: not done, and the last line says why."""
    said = parsed(arguments)
    try:
        return done(said, template)
    except (CannotDeploy, BuildError) as error:
        sys.stderr.write(f"{said.what}: {error}\n")
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{interrupted(said)}\n")
    return COULD_NOT


def interrupted(said: argparse.Namespace) -> str:
    """Return what holds after Ctrl-C."""
    if said.dry_run:
        return "Stopped here. Nothing was changed."
    return "Stopped here. What CloudFormation has begun goes on; deploy again to see it."


def done(said: argparse.Namespace, template: Path) -> int:
    """As `main`. Raises CannotDeploy and BuildError."""
    stack, file, found = chosen(said)
    run = program(os.environ)
    aws = Aws(run, region_of(run, said.region or (found.region if found else None)))
    screen = Screen(sys.stdout, None if said.yes else input)
    screen.line(f"Stack {stack} in {aws.region}")
    if said.what == "deploy":
        tools = Tools(aws, screen, Template.of(template.read_text()), zips, operator, time.sleep)
        options = Options(stack, file, said.set, said.all, said.preview, said.allow_queue_loss)
        return show_deployment(tools, options) if said.dry_run else deploy(tools, options)
    if found is None:
        raise CannotDeploy(f"there is no {file}, which says what {stack} was deployed with")
    if said.yes and not said.stack:
        raise CannotDeploy("--yes asks nothing, so --stack has to say what goes")
    if said.dry_run:
        show_destruction(aws, screen, found, time.sleep)
    else:
        destroy(aws, screen, found, time.sleep)
    return FINE


def chosen(said: argparse.Namespace) -> tuple[str, Path, Settings | None]:
    """The stack, its file and what that holds. Raises CannotDeploy where the file is another stack's."""
    named = settings.checked_stack(settings.DEFAULT_STACK if said.stack is None else said.stack)
    file = said.parameters_file or settings.path_of(named)
    found = settings.read(file)
    if found is None or found.stack == named:
        return named, file, found
    if said.stack or not said.parameters_file:
        raise CannotDeploy(f"{file} is of {found.stack}, not of {named}")
    return settings.checked_stack(found.stack), file, found


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the verb. Exit with status 2 for one that it does not use."""
    parser = ArgumentParser(prog="python -m infra.deploy", description="Deploys the stack, or deletes it.")
    verbs = parser.add_subparsers(dest="what", required=True, metavar="{deploy,destroy}")
    up = verbs.add_parser("deploy", help="deploy the stack", description="Deploys the stack.")
    down = verbs.add_parser("destroy", help="delete the stack", description="Deletes the stack.")
    for one in (up, down):
        _add_common(one)
    _add_of_deploy(up)
    for option, sentence in REFUSED_BY_DESTROY.items():
        down.add_refused(option, sentence)
    said = parser.parse_args(arguments)
    parser.refuse_if(said.region == "", "--region is empty; give a region's name, or leave it out")
    if said.what == "deploy":
        _refuse_senseless(up, said)
    return said


def _add_common(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--stack", help=f"its name (default: {settings.DEFAULT_STACK})")
    add("--region", help="default: as the file, the environment or the profile says")
    add("--parameters-file", type=Path, help="default: deploy.<stack>.json in this folder")
    add("--yes", action="store_true", help="ask nothing; the file says everything")
    add("--dry-run", action="store_true", help="show what would change, and change nothing")


def _add_of_deploy(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, kept in the file")
    add("--all", action="store_true", help="ask for every parameter of the template")
    add("--preview", action="store_true", help="preview a run after deploying, without asking")
    add("--allow-queue-loss", action="store_true", help="with --yes: a queue may be removed or replaced")


def _refuse_senseless(parser: ArgumentParser, said: argparse.Namespace) -> None:
    """Exit with status 2 for options of `deploy` that do not go together."""
    parser.refuse_if(
        said.dry_run and said.preview,
        "--preview needs a deployment, and --dry-run makes none; leave one of them out",
    )
    parser.refuse_if(
        said.dry_run and said.allow_queue_loss,
        "--allow-queue-loss allows nothing with --dry-run, which changes nothing; leave it out",
    )
    parser.refuse_if(
        said.allow_queue_loss and not said.yes,
        "--allow-queue-loss is for --yes; without --yes the loss of a queue is asked about",
    )
    parser.refuse_if(
        said.all and said.yes,
        "--all asks for every parameter, and --yes asks nothing; leave one of them out, or use --set",
    )
    names = Counter(change.partition("=")[0] for change in said.set)
    twice = [name for name, count in names.items() if count > 1]
    parser.refuse_if(bool(twice), f"--set {', '.join(twice)} is given more than once; give each name once")


def operator(words: Sequence[str]) -> int:
    """`nightly-sync`, from the environment that this runs in."""
    found = Path(sys.executable).with_name("nightly-sync")
    if not found.exists():
        raise CannotDeploy("nightly-sync is not installed here: uv sync --all-extras")
    return subprocess.run([str(found), *words], check=False).returncode  # noqa: S603 - our own program


if __name__ == "__main__":
    sys.exit(main())
