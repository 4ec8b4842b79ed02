"""The harm that storms did to the table, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from testkit.invariants import (
    TableRecords,
    check_run_done,
    compare_counters,
    compare_outcomes,
    compare_state,
    find_changed_items,
    find_missing_orders,
    find_surplus_orders,
    to_wire,
)
from testkit.shop import Shop


@dataclass
class StormVerdict:
    """Violations as sentences, by harm."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    def list_all(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.miscounted, *self.touched]


def judge(records: TableRecords, shops: Sequence[Shop], *, runs_see_all: bool = True) -> StormVerdict:
    """Judge the table after all that failed was redriven.

    `runs_see_all`: every run examined every session, so that the first run created all missing orders.
    """
    wanted = {
        session: number for shop in shops for session, number in shop.wanted_orders(healed=True).items()
    }
    webhook_items = chain.from_iterable((*shop.webhook_orders, *shop.webhook_events) for shop in shops)
    miscounted = list(compare_state(records))
    for run_id in records.runs:
        miscounted += compare_counters(records, run_id)
        miscounted += check_run_done(records, run_id, len(wanted) if runs_see_all else None)
    if runs_see_all and records.runs:
        for shop in shops:
            miscounted += compare_outcomes(records, shop, min(records.runs), healed=True)
    return StormVerdict(
        lost=list(map(str, find_missing_orders(records, wanted))),
        doubled=list(map(str, find_surplus_orders(records, wanted))),
        miscounted=list(map(str, miscounted)),
        touched=list(map(str, find_changed_items(records, map(to_wire, webhook_items)))),
    )
