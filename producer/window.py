"""The window of a run: which sessions it lists, which it defers, and how far it moves the watermark.

A session that no run lists is never recovered. Every session completed up to the watermark
(`lastCoveredThrough`) has been checked, so each scheduled run starts from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.request import Request
from recon.domain.run import Trigger
from recon.domain.stripe_objects import SESSION_LIFE
from recon.dynamodb.watermark import Watermark
from recon.timestamps import DAY, HOUR, MINUTE, to_iso

if TYPE_CHECKING:
    from recon.config import Settings

# Tolerance for clock skew between Stripe and Lambda. Overlapping windows cost little, a gap loses orders.
MARGIN = 10 * MINUTE
# Stripe keeps events for 30 days. Older sessions need a manual run with `from` and `to`.
FURTHEST_BACK = 30 * DAY
# A hold may last until somebody reads its alarm. The records of the held runs are kept that long.
FURTHEST_BACK_AFTER_HOLD = 90 * DAY


@dataclass(frozen=True)
class Window:
    """Sessions created from `start` to `end`, both inclusive, in epoch seconds."""

    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """The sessions that a run has to check.

    `covers_through` is the watermark after the run is done, or None if the run does not move it. Sessions
    completed after `defer_after` are left to the next run; with None no session is.
    """

    window: Window
    covers_through: int | None
    defer_after: int | None
    warnings: tuple[str, ...] = ()


def plan(
    request: Request,
    settings: "Settings",
    started: int,
    watermark: Watermark,
    was_held: Callable[[], bool] = lambda: False,
) -> Plan:
    """Return what a run has to check. `started` is in epoch seconds.

    `was_held` returns whether a run was held that was to move the watermark; it is called for an old one.

    A manual run uses its window exactly. A scheduled run without `lookbackHours` starts from the watermark,
    and so does a run that confirms a table and names no window: it does what was held.
    All times derive from the scheduled time, so that a repeated run checks the same sessions.
    """
    at = started if request.at is None else request.at
    grace = settings.grace_minutes * MINUTE
    hours = request.lookback_hours or settings.lookback_hours
    warnings: tuple[str, ...] = ()
    scheduled = request.trigger == Trigger.SCHEDULED
    required = _required_start(watermark)
    if request.period:
        window = Window(*request.period)
    elif (scheduled and (request.lookback_hours is None or required is None)) or (
        request.confirm_empty and request.lookback_hours is None
    ):
        is_old = required is not None and required < at - FURTHEST_BACK
        furthest = FURTHEST_BACK_AFTER_HOLD if is_old and was_held() else FURTHEST_BACK
        window, warnings = _from_watermark(at, hours, grace, required, furthest)
    else:
        window = Window(at - hours * HOUR, at - grace if scheduled else at)
    through = min(window.end if scheduled else window.end - grace, started - grace)
    if required is None:
        # There is no watermark yet. The window may set it if it reaches as far as that of a scheduled run.
        reaches_back = request.period is None and window.start <= _first_start(at, settings.lookback_hours)
        whole = scheduled or reaches_back
    else:
        whole = window.start <= required or bool(warnings)
    return Plan(window, through if whole else None, window.end if scheduled else None, warnings)


def _from_watermark(
    at: int, hours: int, grace: int, required: int | None, furthest: int
) -> tuple[Window, tuple[str, ...]]:
    if required is None:
        return Window(_first_start(at, hours), at - grace), ()
    start = min(at - hours * HOUR, required)
    if start >= at - furthest:
        return Window(start, at - grace), ()
    gap = (
        f"gap: no run has covered the time since {to_iso(start)}, and a scheduled run looks back at most "
        f"{furthest // DAY} days; start a manual run with "
        f'{{"from": "{to_iso(start)}", "to": "{to_iso(at - furthest)}"}}'
    )
    return Window(at - furthest, at - grace), (gap,)


def _first_start(at: int, hours: int) -> int:
    """Return the start of the first window: a session paid within its hours was opened up to a day before."""
    return max(at - hours * HOUR - SESSION_LIFE - MARGIN, at - FURTHEST_BACK)


def _required_start(watermark: Watermark) -> int | None:
    """Return the latest start of a window that leaves no session out.

    That is a session's life before the watermark. Before the first scheduled run is done, it is the start of
    that run's window.
    """
    if watermark.covered_through is None:
        return watermark.first_lookback_start
    return watermark.covered_through - SESSION_LIFE - MARGIN
