"""The workflow of GitHub Actions: it runs the Makefile's targets with few permissions and pinned actions."""

import re

import yaml

from infra.build import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_workflow_runs_targets_of_the_makefile():
    ran = [step["run"].split()[1] for step in STEPS if step.get("run", "").startswith("make ")]
    assert ran == ["check", "test", "coverage", "prove", "audit"]
    assert set(ran) <= TARGETS
    assert all("schedule" in WORKFLOW["jobs"][name]["if"] for name in ("prove", "audit"))


def test_workflow_may_only_read_the_sources():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [job for job in WORKFLOW["jobs"].values() if "permissions" in job]
    assert not [step for step in STEPS if "uses" in step and step["with"]["persist-credentials"]]


def test_workflow_pins_every_action_to_a_commit():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/checkout@[0-9a-f]{40}", name) for name in used)
