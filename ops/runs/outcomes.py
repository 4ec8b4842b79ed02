"""The reasons for which a run skipped sessions."""

from collections import Counter

from recon.domain.outcome import Outcome
from recon.dynamodb.keys import outcome_partition
from recon.dynamodb.records import parse_outcome
from recon.dynamodb.table import Table


def skip_reasons(table: Table, run_id: str) -> Counter[str]:
    """Count the skipped sessions of a run by reason."""
    items = table.query(
        "PK = :run",
        {":run": outcome_partition(run_id), ":skipped": Outcome.SKIPPED.value},
        projection="SK, reason",
        only="outcome = :skipped",
    )
    return Counter(parse_outcome(item).reason or "unknown" for item in items)
