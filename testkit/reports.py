"""Runs and outcomes of a shop in a table in memory, as the consumer stores them."""

from typing import Any

from ops.report import SyncReport, collect_report
from ops.runs.system_state import StateLevel, SystemState
from recon.dynamodb.keys import outcome_key, run_key
from recon.dynamodb.records import Run, run_fields
from recon.dynamodb.table import Table, to_wire
from recon.timestamps import DAY, to_iso, to_run_id
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB

TODAY = NOW // DAY * DAY
FINE = SystemState(StateLevel.FINE, "All is well.")


class ReportedShop:
    """A table of runs. Nights are counted back from the latest one, which begins at `NOW`."""

    def __init__(self) -> None:
        self.memory = MemoryDynamoDB(lambda: NOW, validate=False)
        self.memory.add_table(TABLE)

    def put(self, item: dict[str, Any]) -> None:
        self.memory.put_item(TableName=TABLE, Item=to_wire(item))

    def run(
        self, run_id: str | None = None, *, nights_ago: int = 0, at: int | None = None, **attributes: Any
    ) -> str:
        """Put a run of 90 seconds with these attributes and return its id."""
        started = NOW - nights_ago * DAY if at is None else at
        run = Run(
            run_id or to_run_id(started), "scheduled", to_iso(started), 25, started - 25 * 3600, started
        )
        pk, sk = run_key(run.run_id)
        ended = {"status": "done", "syncCompletedAt": to_iso(started + 90), "listed": True}
        self.put(run_fields(run, started) | ended | {"PK": pk, "SK": sk} | attributes)
        return run.run_id

    def outcome(self, run_id: str, session_id: str, outcome: str, **attributes: Any) -> None:
        pk, sk = outcome_key(run_id, session_id)
        self.put({"PK": pk, "SK": sk, "outcome": outcome, "attempts": 1} | attributes)

    def create(self, run_id: str, session_id: str, amount: int | None = None, currency: str = "usd") -> None:
        money = {} if amount is None else {"amount": amount, "currency": currency}
        self.outcome(run_id, session_id, "created", orderNumber=f"BC-{session_id[-8:].upper()}", **money)

    def find(self, run_id: str, session_id: str, **attributes: Any) -> None:
        self.outcome(run_id, session_id, "skipped", reason="exists", **attributes)

    def fail(self, run_id: str, session_id: str, message: str = "Stripe: 404", **attributes: Any) -> None:
        error = {"errorType": "SessionNotFound", "errorMessage": message} | attributes
        self.outcome(run_id, session_id, "error", **error)

    def report(
        self, *, days: int = 30, now: int = NOW + 3600, stack: str = "shop-sync", state: SystemState = FINE
    ) -> SyncReport:
        dynamodb: Any = self.memory
        return collect_report(Table(dynamodb, TABLE), now=now, days=days, stack=stack, state=state)


def a_busy_month() -> ReportedShop:
    """Return thirty nights with lost orders in two currencies, an open error, a drift and a failed run."""
    shop = ReportedShop()
    for night in range(29, -1, -1):
        lost = (night * 7) % 4 if night % 3 else 0
        run = shop.run(
            nights_ago=night,
            enqueued=60,
            processed=60,
            created=lost,
            skipped=60 - lost,
            syncCompletedAt=to_iso(NOW - night * DAY + 40 + (night * 37) % 160),
            status="failed" if night == 11 else "done",
        )
        for n in range(lost):
            money = (1980 + 300 * n, "jpy") if (night + n) % 5 == 0 else (4999 + 731 * night, "usd")
            shop.create(run, f"cs_live_a1B2c3D4e5F6g7H8lost{night:02}{n:02}", *money)
        for n in range(60 - lost):
            shop.find(run, f"cs_live_a1B2c3D4e5F6g7H8kept{night:02}{n:02}")
    drift = ["amount: the order says 4999, Stripe 5999"]
    shop.find("20241125T020000Z", "cs_live_a1B2c3D4e5F6g7H8diff0001", drift=drift)
    missing = "Stripe: 404, there is no such session"
    shop.fail("20241124T020000Z", "cs_live_a1B2c3D4e5F6g7H8gone0001", missing)
    return shop
