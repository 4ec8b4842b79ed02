"""A bounded part of the shop's table, read with eventually consistent reads.

Only the operator's command reads it: no function ever scans.
"""

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.layout.model import ReadCounts
from recon.dynamodb.table import Item, from_wire, to_domain_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

# An index, or None for the table itself, and the values of one or two of its keys.
type Place = tuple[str | None, tuple[tuple[str, str], ...]]

MOST_QUERIES = 600
ITEMS_OF_A_KEY = 50
# One request to each segment, so that the sample is spread over the table. A response has 1 MB at most.
SCAN_SEGMENTS = 10
ITEMS_OF_A_SEGMENT = 100


class TableSample:
    """Reads by key and one sample, and counts what it has read.

    No key is read twice, and at most 600 are read in all.
    """

    def __init__(self, client: "DynamoDBClient", name: str, pool: Executor) -> None:
        self._client = client
        self._name = name
        self._pool = pool
        self._found: dict[Place, list[Item]] = {}
        self._scanned: list[Item] | None = None
        self._scan_requests = 0
        self._is_whole = False

    @property
    def counts(self) -> ReadCounts:
        """Return what was read until now."""
        return ReadCounts(len(self._found), self._scan_requests, len(self._scanned or ()))

    @property
    def is_whole(self) -> bool:
        """Return whether the sample is the whole table."""
        return self._is_whole

    @property
    def items(self) -> list[Item]:
        """Return all items that were read until now; those of several reads occur as often."""
        return [*(self._scanned or ()), *(item for found in self._found.values() for item in found)]

    def query(self, keys: Iterable[str]) -> list[Item]:
        """Return the last 50 items under each of these partition keys that was not read before."""
        places = [place for key in keys if (place := (None, (("PK", key),))) not in self._found]
        found = self.find(places)
        return [item for place in dict.fromkeys(places) for item in found.get(place, [])]

    def find(self, places: Iterable[Place]) -> dict[Place, list[Item]]:
        """Return the last 50 items at each place, but for those beyond the limit."""
        wanted = list(dict.fromkeys(places))
        new = [place for place in wanted if place not in self._found][: MOST_QUERIES - len(self._found)]
        self._found |= dict(zip(new, self._pool.map(self._query, new), strict=True))
        return {place: self._found[place] for place in wanted if place in self._found}

    def scan(self) -> list[Item]:
        """Return up to 1,000 items, read once in ten requests.

        Raise NotAllowed if the credentials may not scan.
        """
        if self._scanned is None:
            answers = list(self._pool.map(self._scan, range(SCAN_SEGMENTS)))
            self._scanned = [from_wire(item) for answer in answers for item in answer["Items"]]
            self._scan_requests += len(answers)
            self._is_whole = not any("LastEvaluatedKey" in answer for answer in answers)
        return self._scanned

    def _query(self, place: Place) -> list[Item]:
        index, key = place
        answer = self._read(
            self._client.query,
            **({"IndexName": index} if index else {}),
            KeyConditionExpression=" AND ".join(f"#k{n} = :k{n}" for n in range(len(key))),
            ExpressionAttributeNames={f"#k{n}": name for n, (name, _) in enumerate(key)},
            ExpressionAttributeValues={f":k{n}": {"S": value} for n, (_, value) in enumerate(key)},
            ScanIndexForward=False,
            Limit=ITEMS_OF_A_KEY,
        )
        return list(map(from_wire, answer["Items"]))

    def _scan(self, segment: int) -> dict[str, Any]:
        return self._read(
            self._client.scan, Segment=segment, TotalSegments=SCAN_SEGMENTS, Limit=ITEMS_OF_A_SEGMENT
        )

    def _read(self, method: "Callable[..., Any]", **request: Any) -> dict[str, Any]:  # noqa: ANN401 - boto3's shapes
        try:
            answer: dict[str, Any] = method(TableName=self._name, **request)
        except (ClientError, BotoCoreError) as error:
            raise to_domain_error(error) from error
        return answer
