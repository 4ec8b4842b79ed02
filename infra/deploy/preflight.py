"""Checks before anything is created: account, table, Stripe key parameter, bucket, free names."""

from collections.abc import Mapping
from typing import Any

from infra.deploy.aws_cli import AwsCli, AwsError
from infra.deploy.errors import BucketNotFoundError, DeployError
from infra.deploy.ledger import CREATE, name_ledger
from infra.deploy.settings import DeploySettings

KEYS = [("PK", "HASH", "S"), ("SK", "RANGE", "S")]
# The resources that infra/template.yaml names after the stack and that remain when it is deleted.
QUEUES = ("{stack}-sessions", "{stack}-dead-letters", "{stack}-missed-starts")
LOG_GROUPS = "/aws/lambda/{stack}-"
# The error codes of head-bucket if no account has a bucket of this name.
_NO_BUCKET = ("404", "NoSuchBucket")


def fetch_account(aws: AwsCli) -> str:
    """Return the account of the credentials, which also proves that they are valid."""
    account: str = aws.call("sts", "get-caller-identity")["Account"]
    return account


def check_location(settings: DeploySettings, account: str, region: str) -> None:
    """Raise DeployError if the credentials are for another account or region than the settings."""
    if (settings.account, settings.region) != (account, region):
        raise DeployError(
            f"{settings.stack} belongs to account {settings.account}, {settings.region}; "
            f"these credentials are for account {account}, {region}"
        )


def check_shop(aws: AwsCli, settings: DeploySettings) -> None:
    """Raise DeployError if the table or the key's parameter is missing or of the wrong kind."""
    shop, ledger = settings.parameters["CommerceTable"], settings.parameters.get("LedgerTable", "")
    check_table(aws, shop)
    if ledger == shop:
        raise DeployError(f"LedgerTable must be another table than CommerceTable; leave it empty for {shop}")
    if ledger not in ("", CREATE):
        check_table(aws, ledger)
    check_key(aws, settings.parameters["StripeSecretParameter"])


def check_table(aws: AwsCli, name: str) -> None:
    found = aws.find("dynamodb", "describe-table", "--table-name", name, missing="ResourceNotFoundException")
    if found is None:
        raise DeployError(f"there is no table {name} in {aws.region}")
    if (keys := parse_keys(found["Table"])) != KEYS:
        described = ", ".join(f"{key} {kind} {form}" for key, kind, form in keys)
        raise DeployError(f"the table {name} must have the string keys PK and SK; its keys are {described}")


def parse_keys(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, key type, attribute type) of each key attribute."""
    forms = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    return [(key["AttributeName"], key["KeyType"], forms[key["AttributeName"]]) for key in table["KeySchema"]]


def check_key(aws: AwsCli, name: str) -> None:
    """Check that the parameter exists and is encrypted, without reading its value."""
    wanted = f"Key=Name,Option=Equals,Values={name}"
    answer = aws.call("ssm", "describe-parameters", "--parameter-filters", wanted)
    if not answer["Parameters"]:
        raise DeployError(
            f"there is no parameter {name} in {aws.region}; put the Stripe key there yourself: "
            f"aws ssm put-parameter --region {aws.region} --name {name} --type SecureString "
            '--value "$STRIPE_KEY"'
        )
    if (kind := answer["Parameters"][0]["Type"]) != "SecureString":
        raise DeployError(f"the parameter {name} must be a SecureString; it is a {kind}")


def check_bucket(aws: AwsCli, name: str, account: str) -> None:
    """Check that the bucket belongs to the account: the functions' code is taken from it.

    Raise BucketNotFoundError if it does not exist, DeployError if its account or region is wrong.
    """
    try:
        found = aws.call("s3api", "head-bucket", "--bucket", name, "--expected-bucket-owner", account) or {}
    except AwsError as error:
        kind = BucketNotFoundError if error.code in _NO_BUCKET else DeployError
        raise kind(
            f"the bucket {name} does not exist or is not owned by account {account} ({error.code}); "
            f"create one: aws s3 mb s3://{name} --region {aws.region}"
        ) from error
    if (region := found.get("BucketRegion") or fetch_bucket_region(aws, name)) != aws.region:
        raise DeployError(
            f"the bucket {name} is in {region}, and Lambda takes packages from its own region only; name one "
            f"in {aws.region}, or create it: aws s3 mb s3://NAME --region {aws.region}"
        )


def fetch_bucket_region(aws: AwsCli, name: str) -> str:
    """Return the bucket's region if the CLI's head-bucket omits it. S3 has special names for its first two.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
    """
    answer = aws.call("s3api", "get-bucket-location", "--bucket", name) or {}
    region: str = answer.get("LocationConstraint") or "us-east-1"
    return "eu-west-1" if region == "EU" else region


def check_names(aws: AwsCli, settings: DeploySettings) -> None:
    """Raise DeployError if a deleted stack left queues, logs or a ledger whose names a new one needs."""
    stack = settings.stack
    if settings.parameters.get("LedgerTable") == CREATE:
        check_no_ledger(aws, name_ledger(settings))
    if commands := list_leftovers(aws, stack):
        raise DeployError(
            f"an earlier {stack} left resources whose names a new one needs; check the queues, then delete "
            "them, or choose another --stack:\n" + "\n".join(commands)
        )


def check_no_ledger(aws: AwsCli, table: str) -> None:
    found = aws.find("dynamodb", "describe-table", "--table-name", table, missing="ResourceNotFoundException")
    if found is not None:
        raise DeployError(
            f"an earlier stack left its ledger in table {table}: use it with --set LedgerTable={table}"
        )


def list_leftovers(aws: AwsCli, stack: str) -> list[str]:
    """Return a command for each remaining queue and log group that deletes it."""
    names = [queue.format(stack=stack) for queue in QUEUES]
    found = aws.call("sqs", "list-queues", "--queue-name-prefix", f"{stack}-") or {}
    urls = [url for url in found.get("QueueUrls", ()) if url.rpartition("/")[2] in names]
    prefix = LOG_GROUPS.format(stack=stack)
    groups = aws.call("logs", "describe-log-groups", "--log-group-name-prefix", prefix)["logGroups"]
    ours = [f"{prefix}{function}" for function in ("producer", "consumer")]
    logs = [group["logGroupName"] for group in groups if group["logGroupName"] in ours]
    region = f"--region {aws.region}"
    return [
        *(f"  aws sqs delete-queue {region} --queue-url {url}" for url in urls),
        *(f"  aws logs delete-log-group {region} --log-group-name {name}" for name in logs),
    ]
