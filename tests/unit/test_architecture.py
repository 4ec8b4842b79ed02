"""The arrows between the packages, and what an import must not cost."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_imports_point_the_way_the_architecture_says():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("function", ["producer", "consumer"])
def test_importing_a_handler_imports_no_stripe_and_makes_no_client(function):
    code = f"""
import sys
import botocore.session
botocore.session.Session.create_client = None
import {function}.lambda_function
assert "stripe" not in sys.modules
assert not {{"ops", "sandbox"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
