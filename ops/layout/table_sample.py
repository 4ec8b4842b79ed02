"""A bounded part of the shop's table, read with eventually consistent reads.

Only the operator's command reads it: no function ever scans.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.layout.model import ReadCounts
from recon.dynamodb.table import Item, from_wire, to_domain_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

MOST_QUERIES = 600
ITEMS_OF_A_KEY = 50
# One request to each segment, so that the sample is spread over the table. A response has 1 MB at most.
SCAN_SEGMENTS = 10
ITEMS_OF_A_SEGMENT = 100


class TableSample:
    """Reads by partition key and one sample, and counts what it has read."""

    def __init__(self, client: "DynamoDBClient", name: str, pool: Executor) -> None:
        self._client = client
        self._name = name
        self._pool = pool
        self._queries = 0
        self._scanned = 0
        self._scan_requests = 0
        self._seen: set[str] = set()

    @property
    def counts(self) -> ReadCounts:
        """Return what was read until now."""
        return ReadCounts(self._queries, self._scan_requests, self._scanned)

    def query(self, keys: Iterable[str]) -> list[Item]:
        """Return the last 50 items under each of these partition keys.

        A key is read once, and at most 600 are read in all.
        """
        new = [key for key in keys if key not in self._seen][: MOST_QUERIES - self._queries]
        self._seen.update(new)
        self._queries += len(new)
        return [item for items in self._pool.map(self._query, new) for item in items]

    def scan(self) -> list[Item]:
        """Return up to 1,000 items in ten requests. Raise NotAllowed if the credentials may not scan."""
        pages = list(self._pool.map(self._scan, range(SCAN_SEGMENTS)))
        items = [item for page in pages for item in page]
        self._scan_requests += len(pages)
        self._scanned += len(items)
        return items

    def _query(self, key: str) -> Sequence[Item]:
        return self._read(
            self._client.query,
            KeyConditionExpression="PK = :pk",
            ExpressionAttributeValues={":pk": {"S": key}},
            ScanIndexForward=False,
            Limit=ITEMS_OF_A_KEY,
        )

    def _scan(self, segment: int) -> Sequence[Item]:
        return self._read(
            self._client.scan, Segment=segment, TotalSegments=SCAN_SEGMENTS, Limit=ITEMS_OF_A_SEGMENT
        )

    def _read(self, method: "Callable[..., Any]", **request: Any) -> list[Item]:  # noqa: ANN401 - boto3's shapes
        try:
            answer = method(TableName=self._name, **request)
        except (ClientError, BotoCoreError) as error:
            raise to_domain_error(error) from error
        return list(map(from_wire, answer["Items"]))
