"""An AWS CLI for tests that run printed commands."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.build import find_uv

# Version 1, since the registry has no other; the printed commands are of the kind that both versions take.
PINNED = "awscli==1.46.3"


def with_aws(folder: Path) -> Path | None:
    """The folder, now with an `aws` that works: the machine's, or the registry's in an environment of its
    own. None where neither works."""
    found = shutil.which("aws")
    command = [found] if found else []
    if not _works(command):
        command = [str(find_uv()), "tool", "run", "--from", PINNED, "aws"]
    if not _works(command):
        return None
    script = folder / "aws"
    # The option as well as the variable: version 1 of the CLI asks SQS at an address of its own.
    script.write_text(
        f"""#!/bin/sh
exec {" ".join(command)} ${{AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}} "$@"
"""
    )
    script.chmod(0o755)
    return folder


def _works(command: Sequence[str]) -> bool:
    """Asked for outside this folder, where no tool of the project decides which Python is meant."""
    if not command:
        return False
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, check=False, cwd="/")
    except OSError:
        return False
    return done.returncode == 0
