"""A run that started at NOW, with the keys and times of its record and of the sync state."""

from dataclasses import replace
from typing import Any

from recon.dynamodb.records import Run
from recon.timestamps import HOUR
from testkit.builders import NOW, RUN

BEGAN = "2024-11-27T02:00:00Z"
LATER = NOW + 60
AFTER_A_MINUTE = "2024-11-27T02:01:00Z"
RECORD = ("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}")
STATE = ("SYSTEM", "STRIPE_ORDER_SYNC")
OTHER = "20241128T020000Z"


def a_run(**changes: Any) -> Run:
    run = Run(
        run_id=RUN,
        trigger="scheduled",
        started_at=BEGAN,
        lookback_hours=25,
        lookback_start=NOW - 25 * HOUR,
        lookback_end=NOW - 600,
        max_sessions=500,
        covers_through=NOW - 600,
    )
    return replace(run, **changes)


def by_hand(**changes: Any) -> Run:
    return a_run(run_id=f"{RUN}-8f3c1d", trigger="manual", covers_through=None, **changes)
