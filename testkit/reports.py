"""Runs and outcomes of a shop in a table in memory, as the consumer leaves them."""

from typing import Any

from ops.report import Report, collect
from recon.dynamodb.records import Run, outcome_key, run_fields, run_key
from recon.dynamodb.table import Table, to_wire
from recon.timestamps import DAY, to_iso, to_run_id
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB

TODAY = NOW // DAY * DAY


class ReportedShop:
    """Nights are counted back from the latest one, at 02:00 of `NOW`'s day."""

    def __init__(self) -> None:
        self.memory = MemoryDynamoDB(lambda: NOW, validate=False)
        self.memory.add_table(TABLE)

    def put(self, item: dict[str, Any]) -> None:
        self.memory.put_item(TableName=TABLE, Item=to_wire(item))

    def run(
        self, run_id: str | None = None, *, nights_ago: int = 0, at: int | None = None, **attributes: Any
    ) -> str:
        """A run that took 90 seconds; the attributes given are put into its record as they are."""
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

    def recovers(
        self, run_id: str, session_id: str, amount: int | None = None, currency: str = "usd"
    ) -> None:
        money = {} if amount is None else {"amount": amount, "currency": currency}
        self.outcome(run_id, session_id, "created", orderNumber=f"BC-{session_id[-8:].upper()}", **money)

    def finds(self, run_id: str, session_id: str, **attributes: Any) -> None:
        self.outcome(run_id, session_id, "skipped", reason="exists", **attributes)

    def fails(self, run_id: str, session_id: str, message: str = "Stripe: 404", **attributes: Any) -> None:
        given = {"errorType": "SessionNotFound", "errorMessage": message} | attributes
        self.outcome(run_id, session_id, "error", **given)

    def report(self, *, days: int = 30, now: int = NOW + 3600, stack: str = "shop-sync") -> Report:
        return collect(Table(self.memory, TABLE), now=now, days=days, stack=stack)  # type: ignore[arg-type]


def a_busy_month() -> ReportedShop:
    """Thirty nights of two currencies: lost orders, an error that is open, a difference, a failed run."""
    shop = ReportedShop()
    for night in range(29, -1, -1):
        lost = (night * 7) % 4 if night % 3 else 0
        broken = night == 11
        run = shop.run(
            nights_ago=night,
            enqueued=60,
            processed=60,
            created=lost,
            skipped=60 - lost,
            syncCompletedAt=to_iso(NOW - night * DAY + 40 + (night * 37) % 160),
            **({"status": "failed"} if broken else {}),
        )
        for n in range(lost):
            currency, amount = (
                ("jpy", 1980 + 300 * n) if (night + n) % 5 == 0 else ("usd", 4999 + 731 * night)
            )
            shop.recovers(run, f"cs_live_a1B2c3D4e5F6g7H8lost{night:02}{n:02}", amount, currency)
        for n in range(60 - lost):
            shop.finds(run, f"cs_live_a1B2c3D4e5F6g7H8kept{night:02}{n:02}")
    shop.finds(
        "20241125T020000Z",
        "cs_live_a1B2c3D4e5F6g7H8diff0001",
        drift=["amount: the order says 4999, Stripe 5999"],
    )
    shop.fails(
        "20241124T020000Z", "cs_live_a1B2c3D4e5F6g7H8gone0001", "Stripe: 404, there is no such session"
    )
    return shop
