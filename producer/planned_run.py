"""A requested run as it would start: its window, and what it covers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from producer.request import Request
from producer.window import plan
from recon.dynamodb.records import Run
from recon.dynamodb.watermark import Watermark
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from recon.config import Settings


def plan_run(
    request: Request,
    settings: "Settings",
    started: int,
    run_id: str,
    watermark: Watermark,
    was_held: Callable[[], bool] = lambda: False,
) -> Run:
    """Return the run before anything is written. `started` is in epoch seconds; `was_held` as for `plan`."""
    planned = plan(request, settings, started, watermark, was_held)
    return Run(
        run_id=run_id,
        trigger=request.trigger,
        started_at=to_iso(started),
        lookback_hours=request.lookback_hours or settings.lookback_hours,
        lookback_start=planned.window.start,
        lookback_end=planned.window.end,
        max_sessions=request.max_sessions,
        covers_through=planned.covers_through,
        warnings=planned.warnings,
        session_filter=settings.session_filter.text,
    )
