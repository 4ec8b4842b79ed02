"""The questions of a deployment, and what becomes of the answers."""

from dataclasses import replace

import pytest

from infra.deploy.errors import DeployError
from tests.infra.deploy.recorded import (
    DEPLOYED,
    PARAMETERS,
    RAW,
    RECORDED,
    ROLLED_BACK,
    SETTINGS,
    TEMPLATE,
    refusal,
)

FIRST_ANSWERS = ["shop", "/shop/stripe-key", "", ""]


def test_first_deployment_asks_and_stores_the_answers(make_deployment):
    first = make_deployment([*FIRST_ANSWERS, "y", "n"], stored=None)
    first.deploy()
    assert [question.partition(" [")[0].rstrip(": ") for question in first.asked[:4]] == [
        "CommerceTable",
        "StripeSecretParameter",
        "AlarmEmail",
        "Bucket in this region for the packages",
    ]
    assert first.stored_settings == replace(
        SETTINGS, account="", bucket="stripe-nightly-sync-{account}-eu-west-1"
    )
    assert RAW["Parameters"]["CommerceTable"]["Description"] in first.text
    assert first.parameters["ScheduleState"] == "DISABLED"
    assert "--set ScheduleState=ENABLED" in first.text


def test_later_deployment_asks_only_for_consent(make_deployment):
    later = make_deployment(["y", "n"])
    later.deploy()
    assert [question.partition("(")[0] for question in later.asked] == [
        "Deploy this? ",
        "Preview the last day with `nightly-sync run --dry-run`? Nothing is written. ",
    ]


def test_invalid_answer_is_asked_again(make_deployment):
    answers = ["no", "arn:aws:table", "shop", "key", "/shop/stripe-key", "", "", "y", "n"]
    deployment = make_deployment(answers, stored=None)
    deployment.deploy()
    assert deployment.stored_settings.parameters["CommerceTable"] == "shop"
    assert "StripeSecretParameter must be a parameter name that starts with a slash" in deployment.text


def test_all_parameters_are_asked_on_request(make_deployment):
    deployment = make_deployment([""] * (len(TEMPLATE.parameters) + 1) + ["y", "n"])
    deployment.deploy(everything=True)
    defaults = {name: one.default for name, one in TEMPLATE.parameters.items()}
    assert deployment.stored_settings.parameters == defaults | PARAMETERS


def test_first_deployment_without_questions_is_rejected(make_deployment):
    deployment = make_deployment(stored=None)
    assert deployment.error() == (
        "CommerceTable is missing, and --yes never prompts: --set CommerceTable=…; "
        "StripeSecretParameter is missing, and --yes never prompts: --set StripeSecretParameter=…"
    )
    assert deployment.writes == []


def test_first_deployment_without_questions_takes_its_options(make_deployment):
    deployment = make_deployment(stored=None)
    named = ["CommerceTable=shop", "StripeSecretParameter=/shop/stripe-key"]
    assert deployment.deploy(changes=named) == 0
    assert deployment.parameters["ScheduleState"] == "DISABLED"


@pytest.mark.parametrize("end", ["n", KeyboardInterrupt()])
def test_answers_of_a_first_deployment_are_kept_if_it_ends_early(make_deployment, end):
    first = make_deployment([*FIRST_ANSWERS, end], stored=None)
    with pytest.raises((DeployError, KeyboardInterrupt)):
        first.deploy()
    again = make_deployment(["y", "n"], stored=first.stored_settings)
    assert again.deploy() == 0
    assert len(again.asked) == 2


def test_interrupted_questions_go_on_where_they_ended(make_deployment):
    first = make_deployment(["shop", KeyboardInterrupt()], stored=None)
    with pytest.raises(KeyboardInterrupt):
        first.deploy()
    again = make_deployment([*FIRST_ANSWERS[1:], "y", "n"], stored=first.stored_settings)
    assert again.deploy() == 0
    assert again.asked[0].startswith("StripeSecretParameter")


def test_answer_that_the_account_lacks_is_asked_again(make_deployment):
    tables = [refusal("ResourceNotFoundException"), RECORDED["dynamodb", "describe_table"]]
    answers = ["shp", "shop", *FIRST_ANSWERS[1:], "y", "n"]
    deployment = make_deployment(answers, stored=None, dynamodb__describe_table=tables)
    assert deployment.deploy() == 0
    assert "there is no table shp in eu-west-1" in deployment.text
    assert deployment.parameters["CommerceTable"] == "shop"


def answer_everything(*ends, **answers):
    return [answers.get(name, "") for name in TEMPLATE.parameters] + ["", *ends]


@pytest.mark.parametrize("end", ["declined", "interrupted", "rolled back"])
def test_answers_of_a_later_deployment_are_repeated_as_options(make_deployment, end):
    zone = {"ScheduleTimezone": "Europe/Berlin"}
    typed = {
        "declined": answer_everything("n", **zone),
        "interrupted": [*answer_everything(**zone)[:-1], KeyboardInterrupt()],
        "rolled back": answer_everything("y", **zone),
    }[end]
    deployment = make_deployment(typed, **(ROLLED_BACK if end == "rolled back" else DEPLOYED))
    with pytest.raises((DeployError, KeyboardInterrupt)):
        deployment.deploy(everything=True)
    assert deployment.text.rstrip().endswith("repeat them: --set ScheduleTimezone=Europe/Berlin")
    assert deployment.stored_settings == SETTINGS


def test_refused_answer_is_not_offered_again(make_deployment):
    """Enter then accepts the value from before, of a parameter as of the bucket."""
    *answers, bucket, end = answer_everything("n", MaxSessions="7")
    table = list(TEMPLATE.parameters).index("CommerceTable")
    answers[table : table + 1] = ["x y", "nope", ""]
    found = [refusal("ResourceNotFoundException"), RECORDED["dynamodb", "describe_table"]]
    owned = [refusal("404"), RECORDED["s3", "head_bucket"]]
    deployment = make_deployment(
        [*answers, "X", "other", bucket, end],
        dynamodb__describe_table=found,
        s3__head_bucket=owned,
        **DEPLOYED,
    )
    with pytest.raises(DeployError):
        deployment.deploy(everything=True)
    asked = [one for one in deployment.asked if one.startswith(("CommerceTable", "Bucket"))]
    of_bucket = "Bucket in this region for the packages [packages]: "
    assert asked == ["CommerceTable [shop]: "] * 3 + [of_bucket] * 3
    assert deployment.text.rstrip().endswith("repeat them: --set MaxSessions=7")


def test_answers_that_are_deployed_are_not_repeated(make_deployment):
    deployment = make_deployment(answer_everything("y", "n", MaxSessions="7"), **DEPLOYED)
    assert deployment.deploy(everything=True) == 0
    assert "repeat them" not in deployment.text
