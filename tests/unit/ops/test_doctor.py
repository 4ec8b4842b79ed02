"""The checks of the doctor: a healthy stack, and one fault at a time."""

import json
from dataclasses import replace
from pathlib import Path
from shlex import split

import pytest

from ops.cli.commands.doctor import show
from ops.cli.screen import CommandResult
from ops.doctor.checks import table
from ops.doctor.checks.stripe import put_key_command
from ops.doctor.diagnosis import Diagnosis, run_checks
from ops.doctor.facts import FunctionFacts, KeyPermissions, KeyPrefix
from ops.doctor.permissions import classify_key
from ops.doctor.shell import Shell
from ops.runs.finding import Verdict
from ops.stack.stack import StackSelector
from recon.dynamodb.watermark import Watermark
from tests.unit.ops.doctor_faults import (
    CUSTOMER,
    DENIED,
    FAULTS,
    OF_AWS,
    OTHER_FUNCTION,
    REJECTED,
    TABLE_KEY,
    encrypted,
    environment,
    sessions,
)
from tests.unit.ops.healthy_stack import ALLOWED, CONSUMER, HEALTHY, STACK, an_alarm, entry, stack

REFERENCE = Path(__file__).parents[3] / "docs" / "reference.md"


def find(facts):
    return {finding.name: finding for finding in run_checks(facts)}


def test_healthy_stack_has_only_ok_findings():
    findings = run_checks(HEALTHY)
    assert [finding for finding in findings if finding.verdict is not Verdict.OK] == []
    assert [finding for finding in findings if finding.command] == []
    assert len(findings) == len({finding.name for finding in findings}) == 50
    assert not Diagnosis(STACK, findings).needs_attention


UNAVAILABLE = [
    stack(**{name: DENIED})
    for name, value in vars(HEALTHY).items()
    if name not in {"shell", "names", "is_sandbox", "skew_seconds", "settings", "permissions", "ledger_table"}
    and not isinstance(value, FunctionFacts)
] + [
    stack(consumer=replace(CONSUMER, **{name: DENIED}))
    for name in ("configuration", "concurrency", "log_group")
]


@pytest.mark.parametrize("facts", UNAVAILABLE, ids=range(len(UNAVAILABLE)))
def test_unavailable_fact_is_unknown_and_hides_no_other_finding(facts):
    findings = run_checks(facts)
    unknowns = {one.name: one for one in findings if one.verdict is Verdict.UNKNOWN}
    assert unknowns
    assert all("service:Action" in one.what for one in unknowns.values())
    others = {one for one in run_checks(HEALTHY) if one.name not in unknowns}
    assert {one for one in findings if one.name not in unknowns} <= others
    assert Diagnosis(STACK, findings).needs_attention


@pytest.mark.parametrize(("facts", "expected"), FAULTS, ids=[f"{one.name}-{one.what}" for _, one in FAULTS])
def test_fault_is_found_with_its_command_and_changes_no_other_part(facts, expected):
    findings, healthy = find(facts), find(HEALTHY)
    found = findings[expected.name]
    assert (found.verdict, found.command) == (expected.verdict, expected.command)
    assert expected.what in found.what
    is_serious = expected.verdict in (Verdict.FIX, Verdict.UNKNOWN)
    assert Diagnosis(STACK, run_checks(facts)).needs_attention == is_serious
    checked = expected.name.split(":")[0]
    others = {name: one.verdict for name, one in findings.items() if name.split(":")[0] != checked}
    if expected.name != "key: accepted":
        assert others == {name: healthy[name].verdict for name in others}


@pytest.mark.parametrize(
    "facts", [sessions(0, 0, 0), sessions(9, 1, 0), sessions(9, 9, 4), sessions(9, 9, 0, "")]
)
def test_filter_and_sources_that_fit_have_no_finding(facts):
    findings = find(facts)
    assert {findings[f"sessions: {name}"].verdict for name in ("filter", "users")} == {Verdict.OK}


def test_rejected_key_has_one_finding():
    findings = run_checks(stack(permissions=KeyPermissions(*[REJECTED] * 5)))
    assert [one.name for one in findings if "401" in one.what] == ["key: accepted"]


@pytest.mark.parametrize(
    "changes",
    [{"Arn": OTHER_FUNCTION}, {"Input": "{}"}],
    ids=["target", "input"],
)
def test_schedule_is_fixed_by_sending_it_whole(changes):
    facts = entry("schedule", Target={**HEALTHY.schedule["Target"], **changes})
    [command] = [one.command for one in run_checks(facts) if one.verdict is Verdict.FIX]
    *words, sent = split(command)
    assert words == ["aws", "scheduler", "update-schedule", "--cli-input-json"]
    read_only = {"Arn", "CreationDate"}
    assert json.loads(sent) == {
        name: value for name, value in HEALTHY.schedule.items() if name not in read_only
    }


def test_checks_that_need_settings_are_unknown_without_them():
    findings = run_checks(stack(settings=None, parameter=None, key=None, permissions=None))
    unknowns = {one.name for one in findings if one.verdict is Verdict.UNKNOWN}
    assert unknowns == {"key", "queue: redrive", "mapping: concurrency"}


def test_command_contains_no_key_of_the_environment():
    facts = environment(STRIPE_SECRET="sk_live_abcdefgh", COMMERCE_TABLE="other")
    assert find(facts)["consumer: settings"].verdict is Verdict.FIX
    assert not any("sk_live" in f"{one.what}{one.command}" for one in run_checks(facts))


@pytest.mark.parametrize(
    ("value", "kind", "livemode"),
    [
        ("rk_live_51abc", "restricted", True),
        ("rk_test_51abc", "restricted", False),
        ("sk_live_51abc", "secret", True),
        ("sk_test_51abc", "secret", False),
        ("sk_org_51abc", "secret", None),
        ("pk_live_51abc", "publishable", None),
        ("whsec_51abc", None, None),
        ("", None, None),
    ],
)
def test_key_is_classified_by_its_prefix(value, kind, livemode):
    assert classify_key(value) == KeyPrefix(kind, livemode)


def test_commands_select_the_checked_stack():
    shell = Shell("other", StackSelector(profile="night shift", region="eu-west-1"))
    options = "--profile 'night shift' --region eu-west-1"
    assert shell.sync("resume") == "nightly-sync resume"
    assert shell.deploy("DryRun=true") == (
        "AWS_PROFILE='night shift' make deploy ARGS=\"--stack other --region eu-west-1 --set DryRun=true\""
    )
    assert shell.destroy().endswith('make destroy ARGS="--stack other --region eu-west-1"')
    assert put_key_command("/k", shell).startswith(f"aws {options} ssm put-parameter ")


def test_commands_select_the_sandbox():
    shell = Shell("sync-1", StackSelector(sandbox=Path(".sandbox")), "http://127.0.0.1:4566")
    assert shell.sync("resume") == "nightly-sync resume"
    assert shell.destroy() == "make demo ARGS=--stop"


@pytest.mark.parametrize(
    ("setting", "mailing", "silent"),
    [("one", "needs-a-person", "dead-letters"), ("each", "dead-letters", "needs-a-person")],
)
def test_alarm_that_sends_no_mail_by_parameter_may_be_silent(setting, mailing, silent):
    parameters = [{"ParameterKey": "AlarmMails", "ParameterValue": setting}]
    facts = stack(
        stack=HEALTHY.stack | {"Parameters": parameters},
        alarm_names=[f"{STACK}-{name}" for name in (mailing, silent)],
        alarms=[an_alarm(mailing), an_alarm(silent, ActionsEnabled=False)],
    )
    findings = find(facts)
    assert {findings[f"alarm: {name}"].verdict for name in (mailing, silent)} == {Verdict.OK}
    both_silent = [an_alarm(name, ActionsEnabled=False) for name in (mailing, silent)]
    assert find(replace(facts, alarms=both_silent))[f"alarm: {mailing}"].verdict is Verdict.FIX


NO_RUN = an_alarm("no-completed-run", ActionsEnabled=False)
LEFT_OUT = an_alarm(
    "needs-a-person", AlarmRule=f'ALARM("a") OR (ALARM("{STACK}-no-completed-run") AND FALSE)'
)


@pytest.mark.parametrize(("alarm", "mails"), [(NO_RUN, "each"), (LEFT_OUT, "one")])
@pytest.mark.parametrize(("state", "verdict"), [("DISABLED", Verdict.OK), ("ENABLED", Verdict.FIX)])
def test_alarm_of_a_missed_run_is_silent_during_a_pause_only(alarm, mails, state, verdict):
    facts = stack(
        stack=HEALTHY.stack | {"Parameters": [{"ParameterKey": "AlarmMails", "ParameterValue": mails}]},
        alarm_names=[alarm["AlarmName"]],
        alarms=[alarm],
        schedule=HEALTHY.schedule | {"State": state},
    )
    finding = find(facts)[f"alarm: {alarm['AlarmName'].removeprefix(f'{STACK}-')}"]
    assert finding.verdict is verdict


def test_right_key_after_a_wrong_one_is_right():
    findings = run_checks(stack(livemode=False))
    (mode,) = [each for each in findings if each.name == "key: mode"]
    assert (mode.verdict, mode.what) == (Verdict.OK, "live mode, like the shop's orders")


def test_confirmed_key_is_accepted():
    findings = run_checks(
        stack(permissions=KeyPermissions(*[ALLOWED] * 5), watermark=Watermark(confirmed_by="run-1"))
    )
    (account,) = [each for each in findings if each.name == "key: account"]
    assert account.verdict is Verdict.OK


def test_doctor_shows_findings_and_a_count_and_all_checks_on_request(context):
    broken = replace(HEALTHY, skew_seconds=None, time_to_live={"TimeToLiveStatus": "DISABLED"})
    diagnosis = Diagnosis(STACK, run_checks(broken))
    short = context.show(CommandResult(None, lambda screen: show(screen, diagnosis))).splitlines()
    assert short[0] == "unknown: clock: AWS did not send its time"
    assert short[1].startswith("advice: table: expiry: off: records of runs should expire.")
    assert short[2].strip().startswith("aws dynamodb update-time-to-live")
    assert short[3:] == ["", f"{STACK}: 48 ok, 1 advice, 0 fix, 1 unknown"]
    everything = context.show(CommandResult(None, lambda screen: show(screen, diagnosis, verbose=True)))
    assert everything.count("\nok: ") == 48


@pytest.mark.parametrize(
    "code", sorted({one.code for one in (*run_checks(HEALTHY), *(fault for _, fault in FAULTS))})
)
def test_code_of_a_finding_is_in_the_reference(code):
    if not code.startswith("alarm_"):
        assert f"`{code}`" in REFERENCE.read_text()


def test_doctor_of_a_healthy_stack_is_one_line(context):
    diagnosis = Diagnosis(STACK, run_checks(HEALTHY))
    shown = context.show(CommandResult(None, lambda screen: show(screen, diagnosis)))
    assert shown == f"{STACK}: 50 ok, 0 advice, 0 fix, 0 unknown\n"


@pytest.mark.parametrize("facts", [encrypted(OF_AWS), encrypted(CUSTOMER, TABLE_KEY)])
def test_encryption_that_the_functions_may_use_is_fine(facts):
    [found] = [one for one in table.check(facts) if one.name == "table: encryption"]
    assert found.verdict is Verdict.OK
