"""Checks before anything is created: account, table, Stripe key parameter, bucket, free names."""

import re
from collections.abc import Mapping
from typing import Any

from infra.deploy.aws import AwsError, AwsServices
from infra.deploy.errors import BucketNotFoundError, DeployError
from infra.deploy.ledger import CREATE, name_ledger
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template

# The resources that infra/template.yaml names after the stack and that remain when it is deleted.
QUEUES = ("{stack}-sessions", "{stack}-dead-letters", "{stack}-missed-starts")
LOG_GROUPS = "/aws/lambda/{stack}-"
# The executions that Lambda keeps for functions without a reservation.
UNRESERVED = 100
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# The error codes of HeadBucket if no account has a bucket of this name.
_NO_BUCKET = ("404", "NoSuchBucket")


def fetch_account(aws: AwsServices) -> str:
    """Return the account of the credentials, which also proves that they are valid."""
    account: str = aws.call("sts", "get_caller_identity")["Account"]
    return account


def check_location(aws: AwsServices, stored: DeploySettings | None) -> str:
    """Return the account. Raise DeployError if the file is for another account or region."""
    account = fetch_account(aws)
    if stored and (stored.account not in ("", account) or stored.region != aws.region):
        place = ", ".join(filter(None, (stored.account and f"account {stored.account}", stored.region)))
        raise DeployError(
            f"{stored.stack} belongs to {place}; these credentials are for account {account}, {aws.region}"
        )
    return account


def describe_secret(aws: AwsServices, name: str) -> Mapping[str, Any]:
    """Return the parameter's metadata, but not its value. Raise DeployError if it is not encrypted."""
    wanted = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    found = aws.list_all("ssm", "describe_parameters", "Parameters", ParameterFilters=wanted)
    if not found:
        raise DeployError(
            f"there is no parameter {name} in {aws.region}; put the Stripe key there yourself: "
            f"aws ssm put-parameter --region {aws.region} --name {name} --type SecureString "
            '--value "$STRIPE_KEY"'
        )
    if (kind := found[0]["Type"]) != "SecureString":
        raise DeployError(f"the parameter {name} must be a SecureString; it is a {kind}")
    secret: Mapping[str, Any] = found[0]
    return secret


def check_concurrency(aws: AwsServices, settings: DeploySettings, template: Template) -> None:
    """Raise DeployError if Lambda would reject the reservation of ConsumerConcurrency.

    An account keeps at least 100 executions that no function reserves.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    """
    if settings.value_of("ReserveConcurrency", template) != "true":
        return
    wanted = int(settings.value_of("ConsumerConcurrency", template))
    limit = aws.call("lambda", "get_account_settings")["AccountLimit"]
    function = f"{settings.stack}-consumer"
    own = aws.find(
        "lambda", "get_function_concurrency", missing="ResourceNotFoundException", FunctionName=function
    )
    free = limit["UnreservedConcurrentExecutions"] + (own or {}).get("ReservedConcurrentExecutions", 0)
    if free - wanted < UNRESERVED:
        raise DeployError(
            f"ReserveConcurrency=true would reserve {wanted} executions, and Lambda keeps {UNRESERVED} of "
            f"the account's {limit['ConcurrentExecutions']} unreserved: {free} are unreserved now, so at "
            f"most {max(free - UNRESERVED, 0)} can be reserved. Set ReserveConcurrency=false, or raise "
            "Lambda's quota `Concurrent executions`"
        )


def check_bucket(aws: AwsServices, name: str, account: str) -> None:
    """Check that the bucket belongs to the account: the functions' code is taken from it.

    Raise BucketNotFoundError if it does not exist, DeployError if its account or region is wrong.
    """
    if not _BUCKET.fullmatch(name):
        raise DeployError(
            f"{name!r} cannot be a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens, "
            "with a letter or digit at both ends"
        )
    try:
        found = aws.call("s3", "head_bucket", Bucket=name, ExpectedBucketOwner=account)
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


def fetch_bucket_region(aws: AwsServices, name: str) -> str:
    """Return the bucket's region if HeadBucket omits it. S3 has special names for its first two.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
    """
    answer = aws.call("s3", "get_bucket_location", Bucket=name)
    region: str = answer.get("LocationConstraint") or "us-east-1"
    return "eu-west-1" if region == "EU" else region


def check_names(aws: AwsServices, settings: DeploySettings) -> None:
    """Raise DeployError if a deleted stack left queues, logs or a ledger whose names a new one needs."""
    stack = settings.stack
    if settings.parameters.get("LedgerTable") == CREATE:
        check_no_ledger(aws, name_ledger(settings.stack, settings.parameters))
    if commands := list_leftovers(aws, stack):
        raise DeployError(
            f"an earlier {stack} left resources whose names a new one needs; check the queues, delete them, "
            "wait a minute (SQS keeps a deleted queue's name for 60 seconds), and deploy again, or choose "
            "another --stack:\n" + "\n".join(commands)
        )


def check_no_ledger(aws: AwsServices, table: str) -> None:
    found = aws.find("dynamodb", "describe_table", missing="ResourceNotFoundException", TableName=table)
    if found is not None:
        raise DeployError(
            f"an earlier stack left its ledger in table {table}: use it with --set LedgerTable={table}"
        )


def list_leftovers(aws: AwsServices, stack: str) -> list[str]:
    """Return a command for each remaining queue and log group that deletes it."""
    names = [queue.format(stack=stack) for queue in QUEUES]
    found = aws.list_all("sqs", "list_queues", "QueueUrls", QueueNamePrefix=f"{stack}-")
    urls = [url for url in found if url.rpartition("/")[2] in names]
    prefix = LOG_GROUPS.format(stack=stack)
    groups = aws.list_all("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    ours = [f"{prefix}{function}" for function in ("producer", "consumer")]
    logs = [group["logGroupName"] for group in groups if group["logGroupName"] in ours]
    region = f"--region {aws.region}"
    return [
        *(f"  aws sqs delete-queue {region} --queue-url {url}" for url in urls),
        *(f"  aws logs delete-log-group {region} --log-group-name {name}" for name in logs),
    ]
