"""The arrows between the packages, and what an import must not cost."""

import re
import subprocess
import sys
from collections import Counter
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


def test_no_two_classes_have_one_name():
    """A name with two meanings is read for the wrong one. Names with an underscore stay in their module."""
    packages = ("recon", "producer", "consumer", "ops", "infra", "sandbox", "testkit", "bench")
    texts = [file.read_text() for package in packages for file in (ROOT / package).rglob("*.py")]
    names = Counter(re.findall(r"^(?:class|type) ([A-Z]\w*)", "\n".join(texts), re.MULTILINE))
    assert [name for name, count in names.items() if count > 1] == []


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
