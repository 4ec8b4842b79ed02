"""The checks before a deployment creates anything."""

from dataclasses import replace

import pytest

from infra.deploy.aws_cli import ProgramResult, find_program, find_region
from infra.deploy.errors import DeployError
from tests.infra.deploy.recorded import (
    ACCOUNT,
    DEPLOYED,
    NO_BUCKET,
    PARAMETERS,
    QUEUE_URL,
    REGION,
    SETTINGS,
    RecordedCli,
    refusal,
    stacks,
    table,
)

TABLE, PARAMETER, BUCKET = "dynamodb__describe_table", "ssm__describe_parameters", "s3api__head_bucket"
IDENTITY, STACKS = "sts__get_caller_identity", "cloudformation__describe_stacks"
NO_CREDENTIALS = ProgramResult(255, "", "Unable to locate credentials. You can configure…")
OTHER_OWNER = {"dynamodb__get_item": {"Item": {"stackName": {"S": "older-sync"}}}}
LOG_GROUP = {"logGroups": [{"logGroupName": "/aws/lambda/sync-producer"}]}


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (
            {TABLE: refusal("ResourceNotFoundException", "DescribeTable")},
            "there is no table shop in eu-west-1",
        ),
        ({TABLE: table(("PK", "HASH", "S"))}, "must have the string keys PK and SK; its keys are PK HASH S"),
        ({TABLE: table(("PK", "HASH", "S"), ("SK", "RANGE", "N"))}, "SK RANGE N"),
        ({PARAMETER: {"Parameters": []}}, "--name /shop/stripe-key --type SecureString"),
        ({PARAMETER: {"Parameters": [{"Type": "String"}]}}, "must be a SecureString; it is a String"),
        (NO_BUCKET | DEPLOYED, "aws s3 mb s3://packages --region eu-west-1"),
        ({BUCKET: refusal("403", "HeadBucket", "Forbidden")}, f"not owned by account {ACCOUNT} (403)"),
        ({BUCKET: {"BucketRegion": "us-west-2"}}, "the bucket packages is in us-west-2"),
        (
            {BUCKET: {}, "s3api__get_bucket_location": {"LocationConstraint": None}},
            "the bucket packages is in us-east-1",
        ),
        ({IDENTITY: NO_CREDENTIALS}, "no AWS credentials"),
        ({IDENTITY: refusal("ExpiredToken", "GetCallerIdentity")}, "credentials have expired"),
        (
            {IDENTITY: refusal("AccessDenied", "GetCallerIdentity", "no")},
            "AWS: GetCallerIdentity: AccessDenied: no",
        ),
        (
            {"sqs__list_queues": {"QueueUrls": [QUEUE_URL]}},
            f"aws sqs delete-queue --region eu-west-1 --queue-url {QUEUE_URL}",
        ),
        ({"logs__describe_log_groups": LOG_GROUP}, "delete-log-group"),
        (OTHER_OWNER, "belongs to stack older-sync"),
        ({STACKS: [stacks("ROLLBACK_COMPLETE")]}, "aws cloudformation delete-stack"),
        ({STACKS: [stacks("UPDATE_ROLLBACK_FAILED")]}, "continue-update-rollback"),
        ({STACKS: [stacks("UPDATE_IN_PROGRESS")]}, "another operation is in progress"),
    ],
)
def test_unmet_requirement_stops_before_anything_is_written(make_deployment, verb, recorded, message):
    deployment = make_deployment(**recorded)
    assert message in deployment.error(verb)
    assert deployment.writes == []


def test_first_deployment_without_a_bucket_is_rejected(make_deployment):
    deployment = make_deployment(**NO_BUCKET)
    assert "aws s3 mb s3://packages" in deployment.error()
    assert deployment.writes == []


def test_queue_of_another_stack_with_a_similar_name_is_ignored(make_deployment):
    assert make_deployment(sqs__list_queues={"QueueUrls": [f"{QUEUE_URL}-other"]}).deploy() == 0


@pytest.mark.parametrize("name", [REGION, "EU"])
def test_bucket_region_is_fetched_if_head_bucket_omits_it(make_deployment, name):
    location = {"LocationConstraint": name}
    recorded = {BUCKET: ProgramResult(0, "", ""), "s3api__get_bucket_location": location}
    assert make_deployment(**recorded).deploy() == 0


def test_deployment_requires_its_own_bucket_and_never_reads_the_key(make_deployment):
    deployment = make_deployment()
    deployment.deploy()
    [head] = deployment.calls("s3api", "head-bucket")
    assert head[head.index("--expected-bucket-owner") + 1] == ACCOUNT
    assert [call[1] for call in deployment.calls("ssm")] == ["describe-parameters"]


def test_missing_aws_cli_is_named(tmp_path):
    with pytest.raises(DeployError, match="the AWS CLI is needed"):
        find_program({"PATH": str(tmp_path)})


def test_region_has_the_precedence_of_the_cli():
    run = RecordedCli(configure__get=ProgramResult(0, "us-west-2\n", "")).run
    both = {"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}
    assert find_region(run, "named", both) == "named"
    assert find_region(run, None, both) == "a"
    assert find_region(run, None, {"AWS_DEFAULT_REGION": "b"}) == "b"
    assert find_region(run, None, {}) == "us-west-2"
    with pytest.raises(DeployError, match="no AWS region"):
        find_region(RecordedCli(configure__get=ProgramResult(1, "", "")).run, None, {})


def test_adopt_takes_the_ledger_over_after_the_deployment(make_deployment):
    deployment = make_deployment(**OTHER_OWNER)
    assert deployment.deploy(adopt=True) == 0
    assert "The ledger of stack older-sync belongs to sync now." in deployment.text
    [update] = deployment.calls("dynamodb", "update-item")
    assert update[update.index("--condition-expression") + 1] == "stackName = :owner"
    assert deployment.cli.calls.index(update) > deployment.cli.calls.index(
        deployment.calls("cloudformation", "execute-change-set")[0]
    )


def test_dry_run_shows_the_takeover_of_the_ledger(make_deployment):
    deployment = make_deployment(**OTHER_OWNER | DEPLOYED)
    deployment.dry_run(adopt=True)
    assert "The ledger of stack older-sync would be taken over." in deployment.text
    assert deployment.calls("dynamodb", "update-item") == []


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize("item", [{}, {"Item": {"stackName": {"S": "sync"}}}])
def test_adopt_without_another_owner_is_refused(make_deployment, verb, item):
    deployment = make_deployment(dynamodb__get_item=item)
    assert "none owns that in table shop" in deployment.error(verb, adopt=True)
    assert deployment.writes == []


def watermark(text, **former):
    period = {"sessionFilter": {"S": "b"}} | {name: {"N": str(at)} for name, at in former.items()}
    item = {
        "stackName": {"S": "sync"},
        "sessionFilter": {"S": text},
        "sessionFilterFrom": {"N": "1732500000"},
        "lastCoveredThrough": {"N": "1732672800"},
    }
    return {"Item": item | ({"formerFilter": {"M": period}} if former else {})}


@pytest.mark.parametrize(
    ("stored", "wanted", "start"),
    [
        ("a", "mode", "2024-11-25T02:00:00Z"),
        ("a", "", "2024-11-25T02:00:00Z"),
        ("mode", " mode ", None),
        ("", "mode", None),
    ],
)
def test_changed_filter_prints_the_backfill_of_the_time_before(make_deployment, stored, wanted, start):
    changed = replace(SETTINGS, parameters=PARAMETERS | {"SessionFilter": wanted})
    deployment = make_deployment(stored=changed, dynamodb__get_item=watermark(stored))
    assert deployment.deploy() == 0
    command = f"nightly-sync run --from {start} --to 2024-11-27T02:00:00Z --stack sync --region eu-west-1"
    assert (command in deployment.text) is (start is not None)
    assert ("SessionFilter was changed" in deployment.text) is (start is not None)


def test_backfill_is_printed_until_a_run_has_listed_that_time(make_deployment):
    item = watermark("", **{"from": 1732500000, "to": 1732586400})
    deployment = make_deployment(dynamodb__get_item=item)
    deployment.deploy()
    assert "nightly-sync run --from 2024-11-25T02:00:00Z --to 2024-11-26T02:00:00Z" in deployment.text
