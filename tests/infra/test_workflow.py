"""The workflow of GitHub Actions: the Makefile's targets, few permissions, nothing whose name can move."""

import re

import yaml

from infra.build import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_it_checks_with_the_targets_that_anybody_has():
    ran = [step["run"].split()[1] for step in STEPS if step.get("run", "").startswith("make ")]
    assert ran == ["check", "test", "prove", "audit"]
    assert set(ran) <= TARGETS


def test_it_may_read_the_sources_and_nothing_else():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [job for job in WORKFLOW["jobs"].values() if "permissions" in job]
    assert not [step for step in STEPS if "uses" in step and step["with"]["persist-credentials"]]


def test_what_it_uses_is_pinned_to_a_commit():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/checkout@[0-9a-f]{40}", name) for name in used)


def test_the_long_jobs_wait_for_the_schedule():
    for name in ("prove", "audit"):
        assert "schedule" in WORKFLOW["jobs"][name]["if"]
