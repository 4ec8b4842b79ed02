"""The runbook and the alarms know each other, and its commands are those that there are."""

import re

import pytest

from infra.build import ROOT
from recon import errors
from tests.infra.resolved import PARAMETERS, STACK, Deployed

TEXT = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(part.split("\n", 1) for part in TEXT.split("\n## ")[1:])
ABOUT_ALL = {"How the alarms behave", "Stopping and protecting it"}
ALARMS = {
    body["AlarmName"].removeprefix(f"{STACK}-"): body
    for kind in ("Alarm", "CompositeAlarm")
    for body in Deployed().of_type(f"AWS::CloudWatch::{kind}").values()
}
# Command -> its options.
COMMANDS = {
    "status": set(),
    "run": {"--lookback-hours", "--from", "--to", "--dry-run"},
    "runs": set(),
    "show": {"--outcome"},
    "explain": set(),
    "dlq list": {"--check"},
    "dlq redrive": {"--session", "--error-type", "--max"},
    "dlq purge": {"--session"},
    "pause": set(),
    "resume": set(),
    "doctor": set(),
    "report": set(),
    "logs": set(),
}
NAMED = re.findall(
    r"(?<!name )nightly-sync ((?:dlq )?[a-z]+)\b([^`\n#.;:,]*)",
    "\n".join([TEXT, *(body["AlarmDescription"] for body in ALARMS.values())]),
)


def test_every_alarm_has_a_section_and_every_section_an_alarm():
    assert SECTIONS.keys() - ABOUT_ALL == ALARMS.keys()


@pytest.mark.parametrize("name", ALARMS)
def test_a_section_says_what_it_means_what_to_do_and_when_it_is_over(name):
    assert all(f"**{part}" in SECTIONS[name] for part in ("Means:**", "Do:**", "Over when**"))


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_links_its_section(name):
    deployed = Deployed(RunbookUrl="https://example.com/runbook.md")
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    bodies = [body for kind in kinds for body in deployed.of_type(kind).values()]
    [text] = [body["AlarmDescription"] for body in bodies if body["AlarmName"] == f"{STACK}-{name}"]
    assert text.split()[-1] == f"https://example.com/runbook.md#{name}"


def test_links_lead_to_sections():
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= SECTIONS.keys()


@pytest.mark.parametrize(("command", "rest"), sorted(set(NAMED)))
def test_a_command_that_is_named_is_one_that_there_is(command, rest):
    assert command in COMMANDS
    assert set(re.findall(r"--[a-z-]+", rest)) <= COMMANDS[command]


def test_commands_are_named_at_all():
    assert {command for command, _ in NAMED} == COMMANDS.keys()


def test_parameters_and_errors_that_are_named_are_those_of_the_project():
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=\w+)?`", TEXT))
    known = PARAMETERS.keys() | vars(errors).keys() | {"DeletionPolicy", "UpdateReplacePolicy"}
    assert words - known == set()
