"""Why sessions were skipped."""

from collections import Counter

from recon.ledger.records import outcomes_of
from recon.ledger.table import Table
from recon.reconcile import Outcome


def skip_reasons(table: Table, run_id: str) -> Counter[str]:
    """How many sessions a run skipped for which reason."""
    items = table.query(
        "PK = :run",
        {":run": outcomes_of(run_id), ":skipped": Outcome.SKIPPED.value},
        projection="reason",
        only="outcome = :skipped",
    )
    return Counter(item.get("reason", "unknown") for item in items)
