"""A table that is not plain, and keys of the customer: what is asked for, said and refused."""

import re

import pytest

from infra.deploy import shop_table
from tests.infra.deploy.recorded import ACCOUNT, DEPLOYED, REGION, ROOT, refusal, table

PLAIN = (("PK", "HASH", "S"), ("SK", "RANGE", "S"))
KEY, OTHER_KEY = (f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}" for name in ("1", "2"))


def shop(**properties):
    return {"dynamodb__describe_table": table(*PLAIN, **properties)}


def secret(key):
    return {"ssm__describe_parameters": {"Parameters": [{"Type": "SecureString", "KeyId": key}]}}


def described(manager="CUSTOMER", arn=KEY):
    return {"kms__describe_key": {"KeyMetadata": {"KeyId": "1", "Arn": arn, "KeyManager": manager}}}


ENCRYPTED = shop(SSEDescription={"SSEType": "KMS", "KMSMasterKeyArn": KEY})
CASES = {
    "TableKeyArn": ENCRYPTED | described(),
    "StripeSecretKmsKeyArn": secret("alias/shop") | described(),
}

# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize("parameter", CASES)
def test_needed_key_without_questions_is_refused_with_its_option(make_deployment, verb, parameter):
    deployment = make_deployment(**CASES[parameter])
    assert f"--set {parameter}={KEY}" in deployment.error(verb)
    assert deployment.writes == []


@pytest.mark.parametrize("parameter", CASES)
def test_needed_key_is_asked_for_and_deployed(make_deployment, parameter):
    deployment = make_deployment(["y", "y", "n"], **CASES[parameter], **DEPLOYED)
    assert deployment.deploy() == 0
    assert KEY in deployment.asked[0]
    assert deployment.parameters[parameter] == KEY
    assert ACCOUNT in deployment.stored_text  # the file of this test names the account


@pytest.mark.parametrize("parameter", CASES)
def test_declined_key_deploys_nothing(make_deployment, parameter):
    deployment = make_deployment(["n"], **CASES[parameter])
    assert f"without {parameter} the functions are denied" in deployment.error()
    assert deployment.writes == []


@pytest.mark.parametrize("parameter", CASES)
def test_given_key_is_compared_with_the_needed_one(make_deployment, parameter):
    assert make_deployment(**CASES[parameter]).deploy(changes=[f"{parameter}={KEY}"]) == 0
    wrong = make_deployment(["y"], **CASES[parameter])
    assert f"{parameter} names {OTHER_KEY}" in wrong.error(changes=[f"{parameter}={OTHER_KEY}"])


@pytest.mark.parametrize(
    "recorded",
    [
        ENCRYPTED | described("AWS"),
        shop(SSEDescription={"SSEType": "AES256"}),
        secret("alias/aws/ssm"),
        secret(""),
    ],
)
def test_key_of_aws_needs_no_permission(make_deployment, recorded):
    assert make_deployment(**recorded).deploy() == 0


def test_table_key_that_may_not_be_described_is_asked_for(make_deployment):
    denied = {"kms__describe_key": refusal("AccessDeniedException")}
    assert f"--set TableKeyArn={KEY}" in make_deployment(**ENCRYPTED, **denied).error()


def test_secret_key_is_named_by_its_arn(make_deployment):
    denied = {"kms__describe_key": refusal("AccessDeniedException", "no")}
    assert make_deployment(**secret(KEY), **denied).deploy(changes=[f"StripeSecretKmsKeyArn={KEY}"]) == 0
    message = make_deployment(**secret("alias/shop"), **denied).error()
    assert "KMS key alias/shop, whose ARN cannot be read" in message
    assert message.endswith("--set StripeSecretKmsKeyArn=ARN")


# --- capacity, streams, global tables -----------------------------------------------------------------------

CAPACITY = {"ProvisionedThroughput": {"WriteCapacityUnits": 40, "ReadCapacityUnits": 80}}
PROVISIONED = shop(BillingModeSummary={"BillingMode": "PROVISIONED"}, **CAPACITY)


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize("recorded", [PROVISIONED, shop(BillingModeSummary={}, **CAPACITY)])
def test_provisioned_capacity_is_compared_with_a_night(make_deployment, verb, recorded):
    deployment = make_deployment(**recorded, **DEPLOYED)
    assert getattr(deployment, verb)(changes=["ConsumerConcurrency=4"]) == 0
    assert "40 write and 80 read units a second" in deployment.text
    assert "With ConsumerConcurrency=4 a night takes up to 782 write and 1394 read units" in deployment.text
    assert "ConsumerConcurrency=2 (391 write and 697 read units)" in deployment.text
    assert "LedgerTable=create" in deployment.text


def test_units_of_a_night_are_those_of_the_scaling_page():
    page = (ROOT / "docs" / "scaling.md").read_text()
    for name, units in (("write", shop_table.WRITE_UNITS), ("read", shop_table.READ_UNITS)):
        row = re.search(rf"^\| {name} units \|(.*)\|$", page, re.MULTILINE)[1]
        of_ten_thousand = int(row.split("|")[2].replace(",", ""))
        assert units == pytest.approx(of_ten_thousand / 10_000, rel=0.1)
    rates = dict(re.findall(r"^\| (consumers|Stripe, listing) \| (\d+) \|", page, re.MULTILINE))
    assert int(rates["consumers"]) / 5 == pytest.approx(shop_table.SESSIONS_OF_A_CONSUMER, rel=0.1)
    writes, reads = (round(units, -2) for units in shop_table.units_a_second(5))
    assert f"about {writes:,} write and {reads:,} read units" in (ROOT / "docs" / "deploy.md").read_text()
    assert int(rates["Stripe, listing"]) == pytest.approx(shop_table.SESSIONS_OF_THE_PRODUCER, rel=0.1)


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (
            {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}},
            "stream (NEW_IMAGE)",
        ),
        (
            {"Replicas": [{"RegionName": "us-east-1"}], "MultiRegionConsistency": "EVENTUAL"},
            "global table (us-east-1). Deploy this stack in one region only",
        ),
    ],
)
def test_property_that_the_shop_has_to_know_is_said(make_deployment, verb, properties, words):
    deployment = make_deployment(**shop(**properties), **DEPLOYED)
    assert getattr(deployment, verb)() == 0
    assert words in deployment.text


def test_plain_table_is_not_remarked_on(make_deployment):
    deployment = make_deployment(
        **shop(StreamSpecification={"StreamEnabled": False}, Replicas=[]), **DEPLOYED
    )
    deployment.deploy()
    assert "The table" not in deployment.text


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
def test_strong_consistency_across_regions_is_refused(make_deployment, verb):
    deployment = make_deployment(**shop(MultiRegionConsistency="STRONG"))
    assert "multi-Region strong consistency (MRSC), which has no transactions" in deployment.error(verb)
    assert deployment.writes == []


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(("region", "account"), [("us-east-1", ACCOUNT), (REGION, "999999999999")])
def test_table_of_another_account_or_region_is_refused(make_deployment, verb, region, account):
    deployment = make_deployment()
    named = f"CommerceTable=arn:aws:dynamodb:{region}:{account}:table/shop"
    assert f"own region and account ({region}, {account})" in deployment.error(verb, changes=[named])
    assert deployment.writes == []


def test_missing_table_names_the_reason_for_one_account_and_region(make_deployment):
    missing = {"dynamodb__describe_table": refusal("ResourceNotFoundException")}
    message = make_deployment(**missing).error()
    assert "the stack has to be deployed in the table's own account and region" in message
