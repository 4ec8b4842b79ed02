"""`python -m infra.deploy deploy` and `… destroy`, which `make deploy` and `make destroy` call."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from infra.build import ROOT, BuildError
from infra.deploy import settings
from infra.deploy.aws import Aws, program, region_of
from infra.deploy.down import destroy
from infra.deploy.errors import CannotDeploy
from infra.deploy.packages import zips
from infra.deploy.screen import Screen
from infra.deploy.settings import Settings
from infra.deploy.template import Template
from infra.deploy.up import FINE, Options, Tools, deploy

TEMPLATE = ROOT / "infra" / "template.yaml"
COULD_NOT = 2


def main(arguments: Sequence[str] | None = None, template: Path = TEMPLATE) -> int:
    """0: done; 1: deployed, and the doctor has found something; 2: not done, and the last line says why."""
    said = parsed(arguments)
    try:
        return done(said, template)
    except (CannotDeploy, BuildError) as error:
        sys.stderr.write(f"{said.what}: {error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped here. What CloudFormation has begun goes on; deploy again to see it.\n")
    return COULD_NOT


def done(said: argparse.Namespace, template: Path) -> int:
    """As `main`. Raises CannotDeploy and BuildError."""
    stack, file, found = chosen(said)
    run = program(os.environ)
    aws = Aws(run, region_of(run, said.region or (found.region if found else None)))
    screen = Screen(sys.stdout, None if said.yes else input)
    screen.line(f"Stack {stack} in {aws.region}")
    if said.what == "deploy":
        tools = Tools(aws, screen, Template.of(template.read_text()), zips, operator, time.sleep)
        options = Options(stack, file, said.set, said.all, said.dry_run, said.allow_queue_loss)
        return deploy(tools, options)
    if found is None:
        raise CannotDeploy(f"there is no {file}, which says what {stack} was deployed with")
    if said.yes and not said.stack:
        raise CannotDeploy("--yes asks nothing, so --stack has to say what goes")
    destroy(aws, screen, found, time.sleep)
    return FINE


def chosen(said: argparse.Namespace) -> tuple[str, Path, Settings | None]:
    """The stack, its file and what that holds. Raises CannotDeploy where the file is another stack's."""
    named = settings.checked_stack(said.stack or settings.DEFAULT_STACK)
    file = said.parameters_file or settings.path_of(named)
    found = settings.read(file)
    if found is None or found.stack == named:
        return named, file, found
    if said.stack or not said.parameters_file:
        raise CannotDeploy(f"{file} is of {found.stack}, not of {named}")
    return settings.checked_stack(found.stack), file, found


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="infra.deploy", description="Deploys the stack, or deletes it.")
    add = parser.add_argument
    add("what", choices=("deploy", "destroy"))
    add("--stack", help=f"its name (default: {settings.DEFAULT_STACK})")
    add("--region", help="default: as the file, the environment or the profile says")
    add("--parameters-file", type=Path, help="default: deploy.<stack>.json in this folder")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, kept in the file")
    add("--all", action="store_true", help="ask for every parameter of the template")
    add("--yes", action="store_true", help="ask nothing; the file says everything")
    add("--dry-run", action="store_true", help="preview a run at the end, without asking")
    add("--allow-queue-loss", action="store_true", help="with --yes: a queue may be removed or replaced")
    return parser.parse_args(arguments)


def operator(words: Sequence[str]) -> int:
    """`nightly-sync`, from the environment that this runs in."""
    found = Path(sys.executable).with_name("nightly-sync")
    if not found.exists():
        raise CannotDeploy("nightly-sync is not installed here: uv sync --all-extras")
    return subprocess.run([str(found), *words], check=False).returncode  # noqa: S603 - our own program


if __name__ == "__main__":
    sys.exit(main())
