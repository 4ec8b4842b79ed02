"""Which stack the ledger in the shop's table belongs to, and taking it over."""

from infra.deploy.aws import AwsServices
from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings

_KEY = {"PK": {"S": "SYSTEM"}, "SK": {"S": "STRIPE_SYNC_WATERMARK"}}


def find_other_owner(aws: AwsServices, wanted: DeploySettings, *, adopt: bool) -> str | None:
    """Return the stack that the ledger is to be taken over from, or None if no other stack owns it.

    Raise DeployError if another stack owns it and `adopt` is False, or if there is nothing to adopt.
    """
    table = wanted.parameters["CommerceTable"]
    answer = aws.call("dynamodb", "get_item", TableName=table, Key=_KEY, ConsistentRead=True)
    owner: str | None = answer.get("Item", {}).get("stackName", {}).get("S")
    if owner in (None, wanted.stack):
        if adopt:
            raise DeployError(
                f"--adopt takes the ledger of another stack over, and none owns that in table {table}; "
                "leave --adopt out"
            )
        return None
    if not adopt:
        raise DeployError(
            f"the ledger in table {table} belongs to stack {owner}: two stacks on one table would move each "
            f"other's watermark. Update that stack (--stack {owner}), or take its ledger over with --adopt; "
            f"the runs of {owner} then fail until it is deleted"
        )
    return owner


def adopt_ledger(aws: AwsServices, wanted: DeploySettings, owner: str) -> None:
    """Make the stack the owner of the ledger. Raise AwsError if `owner` is not the owner any more."""
    aws.call(
        "dynamodb",
        "update_item",
        TableName=wanted.parameters["CommerceTable"],
        Key=_KEY,
        UpdateExpression="SET stackName = :stack",
        ConditionExpression="stackName = :owner",
        ExpressionAttributeValues={":stack": {"S": wanted.stack}, ":owner": {"S": owner}},
    )
