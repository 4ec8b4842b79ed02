"""The lease of a listing: `listingUntil` on the sync state, until when (epoch seconds) a run lists sessions.

The transactions that start a run, move its cursor and end its listing set it. In between the producer renews
it, so that it ends soon after one that was killed. Consumers read it with each batch.
"""

from dataclasses import dataclass

from recon.dynamodb.attribute_readers import read_integer, read_text
from recon.dynamodb.keys import STATE_KEY
from recon.dynamodb.table import Item, Table, TransactionCancelled
from recon.retry import Deadline


@dataclass(frozen=True)
class Lease:
    """Until when (epoch seconds) sessions are listed, and the run that lists them."""

    until: int = 0
    run_id: str | None = None


NO_LEASE = Lease()
# Long enough to send a part between two requests, short enough if the function is killed.
LEASE_SECONDS = 60


def parse_lease(state: Item) -> Lease:
    """Return the lease on the sync state; one of another type is none."""
    return Lease(read_integer(state, "listingUntil") or 0, read_text(state, "listingRunId"))


def take_lease(table: Table, lease: Lease, now: int, deadline: Deadline) -> bool:
    """Take or renew the lease. Return False if another run has it."""
    values: Item = {":until": lease.until, ":run": lease.run_id, ":now": now}
    action = table.update(
        STATE_KEY,
        "SET listingUntil = :until, listingRunId = :run",
        values,
        # An absent time, or one of another type, is not later than now.
        condition="listingRunId = :run OR NOT listingUntil > :now",
    )
    try:
        table.transact([action], deadline)
    except TransactionCancelled:
        return False
    return True
