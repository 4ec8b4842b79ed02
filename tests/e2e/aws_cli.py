"""An AWS CLI for tests that run printed commands."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.build import find_uv

# Version 1, since the package registry has no other; both versions accept the printed commands.
PINNED = "awscli==1.46.3"
LOCATE = "import shutil; print(shutil.which('aws'))"


def install_aws(folder: Path) -> Path:
    """Put a working `aws` into the folder and return the folder. Skip the test if there is none.

    It is the machine's, or the package registry's in a separate environment.
    """
    found = shutil.which("aws")
    if not (found and _run([found, "--version"])):
        # Its path rather than `uv tool run`, which would take as long again on every call.
        found = _run([find_uv(), "tool", "run", "--from", PINNED, "python", "-c", LOCATE])
    if not (found and _run([found, "--version"])):
        pytest.skip("no AWS CLI, and none from the package registry")
    script = folder / "aws"
    # The option as well as the variable: version 1 of the CLI ignores the variable for SQS.
    script.write_text(
        f"""#!/bin/sh
exec {found} ${{AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}} "$@"
"""
    )
    script.chmod(0o755)
    return folder


def _run(command: Sequence[str]) -> str:
    """Return the output, or "" if it failed. The folder is /, where no project selects the Python version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    except OSError:
        return ""
    return "" if done.returncode else (done.stdout or done.stderr).strip()
