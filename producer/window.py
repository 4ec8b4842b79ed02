"""Which sessions a run looks at: its window, how far it moves the watermark, and whom it leaves to the next.

A session that no run lists is an order lost for good. The watermark (`lastCoveredThrough`, LCT) says up to
which moment every completed session has been looked at; each scheduled run goes on from there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.request import Request
from recon.domain.run import Trigger
from recon.dynamodb.records import State
from recon.timestamps import DAY, HOUR, MINUTE, to_iso

if TYPE_CHECKING:
    from recon.config import Settings

# A session stays open for 24 hours: who completed it at the watermark opened it up to a day before.
SESSION_LIFE = DAY
# Between a clock of Stripe's and another: cheap, and a night too many is better than one too few.
MARGIN = 10 * MINUTE
# Stripe keeps events for 30 days; what is older can only be looked at by hand, with `from` and `to`.
FURTHEST_BACK = 30 * DAY


@dataclass(frozen=True)
class Window:
    """Sessions created from `start` to `end`, both included, in epoch seconds."""

    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What a run is to look at. `covers_through`: where the watermark moves when it is done, None: nowhere.
    `leaves_after`: what was completed after that moment is left to the next run, None: nothing is."""

    window: Window
    covers_through: int | None
    leaves_after: int | None
    warnings: tuple[str, ...] = ()


def plan(request: Request, settings: "Settings", started: int, state: State) -> Plan:
    """The rules of the window; `started` in epoch seconds.

    A run by hand is taken exactly. A scheduled one without `lookbackHours` begins where the watermark says.
    All times follow from the scheduled time: a run that is repeated later looks at the same sessions.
    """
    at = started if request.at is None else request.at
    grace = settings.grace_minutes * MINUTE
    hours = request.lookback_hours or settings.lookback_hours
    warnings: tuple[str, ...] = ()
    scheduled = request.trigger == Trigger.SCHEDULED
    if request.period:
        window = Window(*request.period)
    elif scheduled and request.lookback_hours is None:
        window, warnings = _from_watermark(at, hours, grace, _needed_start(state))
    else:
        window = Window(at - hours * HOUR, at - grace if scheduled else at)
    through = min(window.end if scheduled else window.end - grace, started - grace)
    needed = _needed_start(state)
    if needed is None:
        # Nothing to go on from: a run by hand begins the watermark only where a scheduled one could.
        whole = scheduled or (request.period is None and hours >= settings.lookback_hours)
    else:
        whole = window.start <= needed or bool(warnings)
    return Plan(window, through if whole else None, window.end if scheduled else None, warnings)


def _from_watermark(at: int, hours: int, grace: int, needed: int | None) -> tuple[Window, tuple[str, ...]]:
    start = at - hours * HOUR
    if needed is not None:
        start = min(start, needed)
    if start >= at - FURTHEST_BACK:
        return Window(start, at - grace), ()
    gap = (
        f"gap: no run has covered the time since {to_iso(start)}, and a scheduled run looks back 30 days at "
        f'most; run by hand with {{"from": "{to_iso(start)}", "to": "{to_iso(at - FURTHEST_BACK)}"}}'
    )
    return Window(at - FURTHEST_BACK, at - grace), (gap,)


def _needed_start(state: State) -> int | None:
    """Where a run has to begin so that nothing is left out: a session's life before the watermark, or, while
    no scheduled run has ended yet, where the first of them began."""
    if state.covered_through is None:
        return state.first_lookback_start
    return state.covered_through - SESSION_LIFE - MARGIN
