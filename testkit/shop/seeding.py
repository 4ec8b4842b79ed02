"""Writes the items of a shop into a table."""

import time
from itertools import batched
from typing import TYPE_CHECKING, Final

from boto3.dynamodb.types import TypeSerializer

from testkit.shop.truth import Shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef, WriteRequestUnionTypeDef

# DynamoDB takes this many writes in one BatchWriteItem.
_WRITES_PER_BATCH: Final = 25
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0
_MAX_ATTEMPTS: Final = 12


def seed_table(client: "DynamoDBClient", table_name: str, shop: Shop) -> None:
    """Write the webhook's items. Raise RuntimeError if DynamoDB keeps leaving some of them unprocessed."""
    serialize = TypeSerializer().serialize
    for batch in batched([*shop.webhook_orders, *shop.webhook_events], _WRITES_PER_BATCH):
        puts: list[WriteRequestTypeDef] = [
            {"PutRequest": {"Item": {name: serialize(value) for name, value in item.items()}}}
            for item in batch
        ]
        _write(client, table_name, puts)


def _write(client: "DynamoDBClient", table_name: str, writes: "Sequence[WriteRequestUnionTypeDef]") -> None:
    """Write a batch and retry its unprocessed items, with longer waits each time."""
    wait = _FIRST_WAIT_SECONDS
    for _ in range(_MAX_ATTEMPTS):
        answer = client.batch_write_item(RequestItems={table_name: writes})
        writes = answer.get("UnprocessedItems", {}).get(table_name, [])
        if not writes:
            return
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
    raise RuntimeError(f"DynamoDB left {len(writes)} items of a batch unwritten, {_MAX_ATTEMPTS} times")
