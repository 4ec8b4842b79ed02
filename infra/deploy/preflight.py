"""What can be known before anything is made: account, table, the key's parameter, bucket, names."""

from collections.abc import Mapping
from typing import Any

from infra.deploy.aws import Aws, AwsError
from infra.deploy.errors import BucketMissing, CannotDeploy
from infra.deploy.settings import Settings

KEYS = [("PK", "HASH", "S"), ("SK", "RANGE", "S")]
# What infra/template.yaml names after the stack and a deletion leaves behind.
QUEUES = ("{stack}-sessions", "{stack}-dead-letters", "{stack}-missed-starts")
# What head-bucket answers where no account has a bucket of the name.
_NO_BUCKET = ("404", "NoSuchBucket")
LOG_GROUPS = "/aws/lambda/{stack}-"


def account_of(aws: Aws) -> str:
    """Also the proof that the credentials are good."""
    account: str = aws("sts", "get-caller-identity")["Account"]
    return account


def check_place(settings: Settings, account: str, region: str) -> None:
    """The file says where its stack is; the same credentials as last time are the usual case."""
    if (settings.account, settings.region) != (account, region):
        raise CannotDeploy(
            f"{settings.stack} belongs into account {settings.account}, {settings.region}; "
            f"these credentials are of account {account}, {region}"
        )


def check_shop(aws: Aws, settings: Settings) -> None:
    """Raises CannotDeploy for the first thing of the shop that is not there, or not what the sync expects."""
    check_table(aws, settings.parameters["CommerceTable"])
    check_key(aws, settings.parameters["StripeSecretParameter"])


def check_table(aws: Aws, name: str) -> None:
    found = aws.find("dynamodb", "describe-table", "--table-name", name, missing="ResourceNotFoundException")
    if found is None:
        raise CannotDeploy(f"there is no table {name} in {aws.region}")
    if (keys := keys_of(found["Table"])) != KEYS:
        said = ", ".join(f"{key} {kind} {form}" for key, kind, form in keys)
        raise CannotDeploy(f"the table {name} must have the string keys PK and SK; its keys are {said}")


def keys_of(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    forms = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    return [(key["AttributeName"], key["KeyType"], forms[key["AttributeName"]]) for key in table["KeySchema"]]


def check_key(aws: Aws, name: str) -> None:
    """That the parameter is there, without reading what it holds."""
    wanted = f"Key=Name,Option=Equals,Values={name}"
    answer = aws("ssm", "describe-parameters", "--parameter-filters", wanted)
    if not answer["Parameters"]:
        raise CannotDeploy(
            f"there is no parameter {name} in {aws.region}; put the Stripe key there yourself: "
            f"aws ssm put-parameter --region {aws.region} --name {name} --type SecureString "
            '--value "$STRIPE_KEY"'
        )
    if (kind := answer["Parameters"][0]["Type"]) != "SecureString":
        raise CannotDeploy(f"the parameter {name} must be a SecureString; it is a {kind}")


def check_bucket(aws: Aws, name: str, account: str) -> None:
    """The functions' code is taken from it: a bucket of somebody else's could hold any other. Raises
    BucketMissing where there is none of this name, CannotDeploy where it is not the right one."""
    try:
        found = aws("s3api", "head-bucket", "--bucket", name, "--expected-bucket-owner", account) or {}
    except AwsError as error:
        kind = BucketMissing if error.code in _NO_BUCKET else CannotDeploy
        raise kind(
            f"the bucket {name} is not there or not of account {account} ({error.code}); make one: "
            f"aws s3 mb s3://{name} --region {aws.region}"
        ) from error
    if (region := found.get("BucketRegion") or region_of_bucket(aws, name)) != aws.region:
        raise CannotDeploy(
            f"the bucket {name} is in {region}, and Lambda takes packages from its own region only; name one "
            f"in {aws.region}, or make it: aws s3 mb s3://NAME --region {aws.region}"
        )


def region_of_bucket(aws: Aws, name: str) -> str:
    """For a CLI whose head-bucket does not say it. S3's first two regions have names of their own here.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html"""
    answer = aws("s3api", "get-bucket-location", "--bucket", name) or {}
    region: str = answer.get("LocationConstraint") or "us-east-1"
    return "eu-west-1" if region == "EU" else region


def check_names(aws: Aws, stack: str) -> None:
    """A deleted stack leaves its queues and logs, whose names a new one needs. Raises CannotDeploy."""
    if left := leftovers(aws, stack):
        raise CannotDeploy(
            f"an earlier {stack} left things whose names a new one needs; look into the queues, then delete "
            "them, or choose another --stack:\n" + "\n".join(left)
        )


def leftovers(aws: Aws, stack: str) -> list[str]:
    """A command for each, that deletes it."""
    names = [queue.format(stack=stack) for queue in QUEUES]
    found = aws("sqs", "list-queues", "--queue-name-prefix", f"{stack}-") or {}
    urls = [url for url in found.get("QueueUrls", ()) if url.rpartition("/")[2] in names]
    prefix = LOG_GROUPS.format(stack=stack)
    groups = aws("logs", "describe-log-groups", "--log-group-name-prefix", prefix)["logGroups"]
    ours = [f"{prefix}{function}" for function in ("producer", "consumer")]
    logs = [group["logGroupName"] for group in groups if group["logGroupName"] in ours]
    region = f"--region {aws.region}"
    return [
        *(f"  aws sqs delete-queue {region} --queue-url {url}" for url in urls),
        *(f"  aws logs delete-log-group {region} --log-group-name {name}" for name in logs),
    ]
