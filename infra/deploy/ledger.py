"""Where the ledger of a stack is, which stack it belongs to, taking it over, and what a new filter leaves."""

from collections.abc import Mapping

from infra.deploy.aws import AwsServices
from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from recon.dynamodb.keys import STATE_KEY, WATERMARK_KEY
from recon.dynamodb.ledger_table import check_ledger_items
from recon.dynamodb.table import Item, Key, from_wire
from recon.dynamodb.watermark import parse_watermark
from recon.errors import LedgerNotMoved

CREATE = "create"
_NO_TABLE = "ResourceNotFoundException"


def name_ledger(stack: str, parameters: Mapping[str, str]) -> str:
    """Return the name of the table with the ledger: the shop's, the one that the stack makes, or another."""
    setting = parameters.get("LedgerTable", "")
    if setting == CREATE:
        return f"{stack}-ledger"
    return setting or parameters["CommerceTable"]


def find_other_owner(
    aws: AwsServices, wanted: DeploySettings, deployed: Mapping[str, str], *, adopt: bool
) -> str | None:
    """Return the stack that the ledger is to be taken over from, or None if no other stack owns it.

    `deployed` are the parameters of the stack as it is, none of a new one. Raise DeployError if the ledger is
    in another table, if another stack owns it and `adopt` is False, or if there is nothing to adopt.
    """
    table = name_ledger(wanted.stack, wanted.parameters)
    own = _read(aws, table, WATERMARK_KEY)
    _check_table(aws, wanted, own)
    _check_kept(aws, wanted, deployed)
    owner = parse_watermark(own or {}).stack_name
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


def find_backfill(aws: AwsServices, wanted: DeploySettings) -> str | None:
    """Return the command that lists the time of an earlier filter again, or None if there is no such time."""
    ledger = name_ledger(wanted.stack, wanted.parameters)
    watermark = parse_watermark(_read(aws, ledger, WATERMARK_KEY) or {})
    former = watermark.with_filter(wanted.parameters.get("SessionFilter", "").strip()).former_filter
    if former is None:
        return None
    return f"{former.backfill_command} --stack {wanted.stack} --region {wanted.region}"


def adopt_ledger(aws: AwsServices, wanted: DeploySettings, owner: str) -> None:
    """Make the stack the owner of the ledger. Raise AwsError if `owner` is not the owner any more."""
    aws.call(
        "dynamodb",
        "update_item",
        TableName=name_ledger(wanted.stack, wanted.parameters),
        Key=_wire(WATERMARK_KEY),
        UpdateExpression="SET stackName = :stack",
        ConditionExpression="stackName = :owner",
        ExpressionAttributeValues={":stack": {"S": wanted.stack}, ":owner": {"S": owner}},
    )


def _check_table(aws: AwsServices, wanted: DeploySettings, own: Item | None) -> None:
    """Raise DeployError if the runs would be refused, since the ledger is in another table."""
    shop, ledger = wanted.parameters["CommerceTable"], name_ledger(wanted.stack, wanted.parameters)
    try:
        parse_watermark(own or {}).check_open()
        if ledger != shop:
            # The table of a shop with its own layout may have other keys, and then no ledger was ever in it.
            missing = "ValidationException" if wanted.parameters.get("Shape") else _NO_TABLE
            items = {key: _read(aws, shop, key, missing) for key in (STATE_KEY, WATERMARK_KEY)}
            found = {key: item for key, item in items.items() if item is not None}
            check_ledger_items(shop, ledger, wanted.stack, own, found)
    except LedgerNotMoved as error:
        raise DeployError(f"{error}{_describe_first_step(wanted)}") from error


def _check_kept(aws: AwsServices, wanted: DeploySettings, deployed: Mapping[str, str]) -> None:
    """Raise DeployError if another LedgerTable would leave the records of the deployed stack behind.

    Nothing in the new table shows that they exist if the old one is not the shop's.
    """
    former = deployed.get("LedgerTable")
    if not former:
        return
    old, new = name_ledger(wanted.stack, deployed), name_ledger(wanted.stack, wanted.parameters)
    item = None if old == new else _read(aws, old, WATERMARK_KEY)
    watermark = parse_watermark(item or {})
    if item is None or watermark.moved_to == new:
        return
    try:
        watermark.check_open()
    except LedgerNotMoved as error:
        raise DeployError(str(error)) from error
    raise DeployError(
        f"table {old} holds the ledger of stack {wanted.stack}, and LedgerTable would begin another in table "
        f"{new}, so that dismissed sessions and deleted orders would be written again. Keep --set "
        f"LedgerTable={former}, or move it{_describe_first_step(wanted)}"
    )


def _describe_first_step(wanted: DeploySettings) -> str:
    """Return what precedes the move to a table that only the deployment would make."""
    if wanted.parameters.get("LedgerTable") != CREATE:
        table = name_ledger(wanted.stack, wanted.parameters)
        return f" (`nightly-sync ledger move --to {table}` before this deployment)"
    return (
        ". The stack makes a table only for a new ledger: to move one, make the table yourself "
        "(docs/deploy.md), move the ledger with --to, and name the table in LedgerTable"
    )


def _read(aws: AwsServices, table: str, key: Key, missing: str = _NO_TABLE) -> Item | None:
    """Return the item with plain values. Return None if it does not exist, or for the error `missing`."""
    answer = aws.find(
        "dynamodb",
        "get_item",
        missing=missing,
        TableName=table,
        Key=_wire(key),
        ConsistentRead=True,
    )
    item = (answer or {}).get("Item")
    return None if item is None else from_wire(item)


def _wire(key: Key) -> dict[str, dict[str, str]]:
    return {"PK": {"S": key[0]}, "SK": {"S": key[1]}}
