"""Which stack the ledger in the shop's table belongs to, taking it over, and what a new filter leaves out."""

import json
from typing import Any

from infra.deploy.aws_cli import AwsCli
from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from recon.dynamodb.attribute_values import from_attribute
from recon.dynamodb.watermark import parse_watermark

_KEY = json.dumps({"PK": {"S": "SYSTEM"}, "SK": {"S": "STRIPE_SYNC_WATERMARK"}})


def find_other_owner(aws: AwsCli, wanted: DeploySettings, *, adopt: bool) -> str | None:
    """Return the stack that the ledger is to be taken over from, or None if no other stack owns it.

    Raise DeployError if another stack owns it and `adopt` is False, or if there is nothing to adopt.
    """
    table = wanted.parameters["CommerceTable"]
    owner: str | None = _read_item(aws, wanted).get("stackName", {}).get("S")
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


def _read_item(aws: AwsCli, wanted: DeploySettings) -> dict[str, Any]:
    table = wanted.parameters["CommerceTable"]
    answer = aws.call("dynamodb", "get-item", "--table-name", table, "--key", _KEY, "--consistent-read")
    return (answer or {}).get("Item") or {}


def find_backfill(aws: AwsCli, wanted: DeploySettings) -> str | None:
    """Return the command that lists the time of an earlier filter again, or None if there is no such time."""
    item = {name: from_attribute(value) for name, value in _read_item(aws, wanted).items()}
    watermark = parse_watermark(item).with_filter(wanted.parameters.get("SessionFilter", "").strip())
    former = watermark.former_filter
    if former is None:
        return None
    return f"{former.backfill_command} --stack {wanted.stack} --region {wanted.region}"


def adopt_ledger(aws: AwsCli, wanted: DeploySettings, owner: str) -> None:
    """Make the stack the owner of the ledger. Raise AwsError if `owner` is not the owner any more."""
    values = {":stack": {"S": wanted.stack}, ":owner": {"S": owner}}
    aws.call(
        "dynamodb",
        "update-item",
        "--table-name",
        wanted.parameters["CommerceTable"],
        "--key",
        _KEY,
        "--update-expression",
        "SET stackName = :stack",
        "--condition-expression",
        "stackName = :owner",
        "--expression-attribute-values",
        json.dumps(values),
    )
