"""The checks before a deployment creates anything."""

from dataclasses import replace

import pytest
from botocore.exceptions import LoginRefreshRequired, NoCredentialsError, UnauthorizedSSOTokenError

from infra.deploy.aws import AwsServices, connect_to
from infra.deploy.errors import DeployError
from infra.deploy.preflight import check_bucket
from tests.infra.deploy.recorded import (
    ACCOUNT,
    DEPLOYED,
    NO_BUCKET,
    PARAMETERS,
    QUEUE_URL,
    REGION,
    SETTINGS,
    refusal,
    stacks,
    table,
)

TABLE, PARAMETER, BUCKET = "dynamodb__describe_table", "ssm__describe_parameters", "s3__head_bucket"
IDENTITY, STACKS = "sts__get_caller_identity", "cloudformation__describe_stacks"
OTHER_OWNER = {"dynamodb__get_item": {"Item": {"stackName": {"S": "older-sync"}}}}
LOG_GROUP = {"logGroups": [{"logGroupName": "/aws/lambda/sync-producer"}]}


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (
            {TABLE: refusal("ResourceNotFoundException")},
            "there is no table shop in eu-west-1",
        ),
        ({TABLE: table(("PK", "HASH", "S"))}, "must have the string keys PK and SK; its keys are PK HASH S"),
        ({TABLE: table(("PK", "HASH", "S"), ("SK", "RANGE", "N"))}, "SK RANGE N"),
        ({PARAMETER: {"Parameters": []}}, "--name /shop/stripe-key --type SecureString"),
        ({PARAMETER: {"Parameters": [{"Type": "String"}]}}, "must be a SecureString; it is a String"),
        (NO_BUCKET | DEPLOYED, "aws s3 mb s3://packages --region eu-west-1"),
        ({BUCKET: refusal("403", "Forbidden")}, f"not owned by account {ACCOUNT} (403)"),
        ({BUCKET: {"BucketRegion": "us-west-2"}}, "the bucket packages is in us-west-2"),
        (
            {BUCKET: {}, "s3__get_bucket_location": {"LocationConstraint": ""}},
            "the bucket packages is in us-east-1",
        ),
        ({IDENTITY: NoCredentialsError()}, "no AWS credentials"),
        ({IDENTITY: LoginRefreshRequired()}, "reauthenticate using 'aws login'"),
        ({IDENTITY: UnauthorizedSSOTokenError()}, "run aws sso login"),
        ({IDENTITY: refusal("ExpiredToken")}, "credentials have expired"),
        (
            {IDENTITY: refusal("AccessDenied", "no")},
            "AWS: GetCallerIdentity: AccessDenied: no",
        ),
        (
            {"sqs__list_queues": {"QueueUrls": [QUEUE_URL]}},
            f"aws sqs delete-queue --region eu-west-1 --queue-url {QUEUE_URL}",
        ),
        ({"logs__describe_log_groups": LOG_GROUP}, "delete-log-group"),
        (OTHER_OWNER, "belongs to stack older-sync"),
        ({STACKS: [stacks("DELETE_FAILED")]}, "`make destroy` tries it again"),
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
    recorded = {BUCKET: {}, "s3__get_bucket_location": location}
    assert make_deployment(**recorded).deploy() == 0


def test_deployment_requires_its_own_bucket_and_never_reads_the_key(make_deployment):
    deployment = make_deployment()
    deployment.deploy()
    [head] = deployment.calls("s3", "head_bucket")
    assert head["ExpectedBucketOwner"] == ACCOUNT
    assert [call[1] for call in deployment.aws.calls if call[0] == "ssm"] == ["describe_parameters"]


def test_region_is_the_named_one_or_that_of_the_environment(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[default]\nregion = us-west-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert AwsServices(connect_to(None)).region == "us-west-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert AwsServices(connect_to(None)).region == "eu-central-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert AwsServices(connect_to(None)).region == "eu-west-3"
    assert AwsServices(connect_to(REGION)).region == REGION


def test_missing_region_and_unknown_profile_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DeployError, match="no AWS region: give --region"):
        AwsServices(connect_to(None))
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(DeployError, match=r"profile .*absent.* could not be found"):
        AwsServices(connect_to(REGION))


def test_expired_credentials_are_loaded_again_once(make_deployment):
    renewed = [refusal("ExpiredToken"), {"Account": ACCOUNT}]
    deployment = make_deployment(sts__get_caller_identity=renewed)
    assert deployment.deploy() == 0
    assert deployment.aws.sessions == 2


def test_connections_are_kept_alive_while_nothing_is_sent():
    client = AwsServices(connect_to(REGION)).client("cloudformation")
    assert client.meta.config.tcp_keepalive is True


def test_every_page_of_a_response_is_read(make_deployment):
    first = {"QueueUrls": [f"{QUEUE_URL}-other"], "NextToken": "more"}
    deployment = make_deployment(sqs__list_queues=[first, {"QueueUrls": [QUEUE_URL]}])
    assert "delete-queue" in deployment.error()


def test_adopt_takes_the_ledger_over_after_the_deployment(make_deployment):
    deployment = make_deployment(**OTHER_OWNER)
    assert deployment.deploy(adopt=True) == 0
    assert "The ledger of stack older-sync belongs to sync now." in deployment.text
    [update] = deployment.calls("dynamodb", "update_item")
    assert update["ConditionExpression"] == "stackName = :owner"
    assert deployment.writes.index("update_item") > deployment.writes.index("execute_change_set")


def test_dry_run_shows_the_takeover_of_the_ledger(make_deployment):
    deployment = make_deployment(**OTHER_OWNER | DEPLOYED)
    deployment.dry_run(adopt=True)
    assert "The ledger of stack older-sync would be taken over." in deployment.text
    assert deployment.calls("dynamodb", "update_item") == []


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


LIMIT, RESERVED = "lambda__get_account_settings", "lambda__get_function_concurrency"


def account_limit(unreserved, total=1000):
    return {"AccountLimit": {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved}}


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (
            {LIMIT: account_limit(10, 10)},
            "would reserve 5 executions, and Lambda keeps 100 of the account's 10",
        ),
        ({LIMIT: account_limit(104)}, "104 are unreserved now, so at most 4 can be reserved"),
        ({LIMIT: account_limit(99), RESERVED: {"ReservedConcurrentExecutions": 5}}, "at most 4"),
    ],
)
def test_reservation_beyond_the_quota_is_refused(make_deployment, verb, recorded, message):
    deployment = make_deployment(**recorded)
    assert message in deployment.error(verb, changes=["ReserveConcurrency=true"])
    assert deployment.writes == []


@pytest.mark.parametrize(
    "recorded",
    [
        {LIMIT: account_limit(105), RESERVED: refusal("ResourceNotFoundException")},
        {LIMIT: account_limit(100), RESERVED: {"ReservedConcurrentExecutions": 5}},
    ],
)
def test_reservation_within_the_quota_is_deployed(make_deployment, recorded):
    assert make_deployment(**recorded).deploy(changes=["ReserveConcurrency=true"]) == 0


def test_quota_is_not_read_without_a_reservation(make_deployment):
    deployment = make_deployment()
    deployment.deploy()
    assert deployment.calls("lambda", "get_account_settings") == []


@pytest.mark.parametrize("name", ["Bad_Bucket", "n", "-shop", "shop-", "x" * 64])
def test_impossible_bucket_name_is_refused_before_aws_is_asked(name):
    with pytest.raises(DeployError, match="cannot be a bucket's name: 3 to 63"):
        check_bucket(AwsServices(connect_to(REGION)), name, ACCOUNT)
