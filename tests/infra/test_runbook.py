"""The runbook: a section per alarm, and only existing commands, parameters and errors."""

import json
import re

import pytest

from infra.build import ROOT
from recon import errors
from testkit.commands import list_commands
from testkit.scheduler import envelop
from tests.infra.resolved import ALL_ALARMS, PARAMETERS, STACK, ResolvedTemplate
from tests.infra.runbook_recipe import recover_event

TEXT = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(part.split("\n", 1) for part in TEXT.split("\n## ")[1:])
GENERAL_SECTIONS = {"How the alarms behave", "Stopping and protecting it"}
COMMANDS = list_commands()
MENTIONED = re.findall(
    r"(?<!name )nightly-sync ((?:(?:dlq|ledger) )?[a-z]+)\b([^`\n#.;:,]*)",
    "\n".join([TEXT, *(body["AlarmDescription"] for body in ALL_ALARMS.values())]),
)


def test_alarms_and_sections_match_one_to_one():
    assert SECTIONS.keys() - GENERAL_SECTIONS == ALL_ALARMS.keys()
    for name in ALL_ALARMS:
        assert all(f"**{part}" in SECTIONS[name] for part in ("Means:**", "Do:**", "Over when**")), name


def test_every_alarm_links_its_section():
    resolved = ResolvedTemplate(RunbookUrl="https://example.com/runbook.md")
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    bodies = [body for kind in kinds for body in resolved.of_type(kind).values()]
    links = {body["AlarmName"]: body["AlarmDescription"].split()[-1] for body in bodies}
    assert links == {f"{STACK}-{name}": f"https://example.com/runbook.md#{name}" for name in ALL_ALARMS}


EVENT = {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"}


def test_recipe_recovers_the_event_from_the_schedulers_envelope():
    assert recover_event(envelop(EVENT, EVENT["scheduledTime"])) == EVENT


@pytest.mark.parametrize("event", [EVENT, {"trigger": "continue", "runId": "r"}, {"requestedAt": 1}])
@pytest.mark.parametrize("attributes", [{}, {"MessageAttributes": {"ErrorCode": {"StringValue": "200"}}}])
def test_recipe_takes_an_event_that_lambda_sent_as_it_is(event, attributes):
    assert recover_event({"Body": json.dumps(event), **attributes}) == event


def test_links_lead_to_sections():
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= SECTIONS.keys()


@pytest.mark.parametrize(("command", "rest"), sorted(set(MENTIONED)))
def test_mentioned_command_exists_with_its_options(command, rest):
    assert command in COMMANDS
    options = {name for parameter in COMMANDS[command].params for name in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", rest)) <= options


def test_mentioned_parameters_and_errors_exist():
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=\w+)?`", TEXT))
    known = PARAMETERS.keys() | vars(errors).keys() | {"DeletionPolicy", "UpdateReplacePolicy"}
    assert words - known == set()
