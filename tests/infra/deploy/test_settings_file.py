"""The file of the settings: what is stored in it, when, and what it leaves out."""

from dataclasses import replace

import pytest

from infra.deploy.errors import DeployError
from infra.deploy.settings_file import read_settings
from tests.infra.deploy.recorded import (
    ACCOUNT,
    DEPLOYED,
    NO_BUCKET,
    PARAMETERS,
    REGION,
    ROLLED_BACK,
    SETTINGS,
    refusal,
    stacks,
)

ADDRESS, KEY = "ops@example.com", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"


def test_change_on_the_command_line_is_deployed_and_stored(make_deployment):
    deployment = make_deployment(**DEPLOYED)
    deployment.deploy(changes=["ScheduleState=ENABLED", "MaxSessions=100"])
    assert deployment.parameters == PARAMETERS | {"ScheduleState": "ENABLED", "MaxSessions": "100"}
    assert deployment.stored_settings.parameters == deployment.parameters


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize("bucket", [{}, NO_BUCKET])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["MaxSessions"], "it takes NAME=VALUE"),
        (["MaxSession=1"], "MaxSession is no parameter of the template"),
        (["LookbackHours=0"], "LookbackHours must be 1 or more"),
        (["ConsumerTimeout=61"], "ConsumerTimeout must be one of"),
        (["ProducerMemory=128"], "ProducerMemory must be 256 or more"),
        (["ScheduleExpression=cron(0 25 * * ? *)"], "Invalid hour value '25'"),
        (["ScheduleTimezone=Berlin"], "ScheduleTimezone must be a name of the IANA time zone database"),
        (["AlarmEmail=ops"], "AlarmEmail must be one e-mail address"),
    ],
)
def test_invalid_change_is_rejected_before_anything_is_written(
    make_deployment, verb, bucket, changes, problem
):
    deployment = make_deployment(**bucket)
    assert problem in deployment.error(verb, changes=changes)
    assert (deployment.stored_settings, deployment.writes) == (SETTINGS, [])


def test_every_problem_of_a_file_is_named_at_once(make_deployment):
    wrong = replace(SETTINGS, parameters={"CommerceTable": "x y", "Gone": "1"})
    message = make_deployment(stored=wrong).error()
    assert "Gone is no parameter" in message
    assert "CommerceTable must be a table's name of 3 to 255 letters" in message
    assert "StripeSecretParameter is missing" in message


@pytest.mark.parametrize(
    "content", ["no json", "[]", "{}", '{"stack": 1, "account": "", "region": "", "bucket": ""}']
)
def test_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "deploy.sync.json"
    path.write_text(content)
    with pytest.raises(DeployError, match=r"deploy\.sync\.json cannot be read"):
        read_settings(path)


def test_file_belongs_to_one_account_and_region(make_deployment):
    other = make_deployment(sts__get_caller_identity={"Account": "999999999999"})
    assert "belongs to account 123456789012, eu-west-1" in other.error()
    assert other.formation == []


def test_declined_change_is_not_stored(make_deployment):
    deployment = make_deployment(["n"], **DEPLOYED)
    deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings == SETTINGS


def test_file_holds_no_account_and_no_address(make_deployment):
    answers = ["shop", "/shop/stripe-key", ADDRESS, "", "y", "n"]
    first = make_deployment(answers, stored=None)
    first.deploy(changes=[f"StripeSecretKmsKeyArn={KEY}"])
    assert ACCOUNT not in first.stored_text
    assert ADDRESS not in first.stored_text
    assert (first.parameters["AlarmEmail"], first.parameters["StripeSecretKmsKeyArn"]) == (ADDRESS, KEY)
    deployed = [stacks("UPDATE_COMPLETE", first.parameters)]
    later = make_deployment(stored=first.stored_settings, cloudformation__describe_stacks=deployed)
    later.deploy(changes=["MaxSessions=100"])
    assert later.parameters == first.parameters | {"MaxSessions": "100"}
    assert ADDRESS not in later.stored_text


@pytest.mark.parametrize("option", [True, False])
def test_file_holds_account_and_address_on_request(make_deployment, option):
    """A file that names the account, as earlier versions wrote it, keeps both."""
    stored = SETTINGS if not option else replace(SETTINGS, account="")
    deployment = make_deployment(stored=stored, **DEPLOYED)
    deployment.deploy(changes=[f"AlarmEmail={ADDRESS}"], store_private=option)
    assert (deployment.stored_settings.account, ADDRESS in deployment.stored_text) == (ACCOUNT, True)


def test_stack_without_a_file_is_deployed_with_its_own_parameters(make_deployment):
    given = PARAMETERS | {
        "AlarmEmail": ADDRESS,
        "LookbackHours": "48",
        "BackoffBaseSeconds": "30",
        "Gone": "1",
    }
    deployed = [stacks("UPDATE_COMPLETE", given)]
    deployment = make_deployment(["y", "n"], stored=None, cloudformation__describe_stacks=deployed)
    assert deployment.deploy() == 0
    expected = {
        name: one for name, one in given.items() if name not in {"BackoffBaseSeconds", "Gone"} and one
    }
    assert deployment.parameters == expected
    assert deployment.stored_settings.bucket == "packages"
    assert "the settings are those of the deployed stack" in deployment.text


def test_rolled_back_change_is_not_stored(make_deployment):
    deployment = make_deployment(**ROLLED_BACK)
    deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings == SETTINGS


def test_change_that_continues_without_the_program_is_stored(make_deployment):
    expired = refusal("ExpiredToken")
    deployment = make_deployment(cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), expired])
    assert "credentials have expired" in deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings.parameters["MaxSessions"] == "100"
