"""Which sessions a run looks at: its window, how far it moves the watermark, and whom it leaves to the next.

A session that no run lists is an order lost for good. The watermark (`lastCoveredThrough`, LCT) says up to
which moment every completed session has been looked at; each scheduled run goes on from there.
"""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from producer.request import SCHEDULED, Request
from recon.domain.message import SessionMessage
from recon.domain.reconcile import UNPAID
from recon.dynamodb.records import State
from recon.errors import KeyNotAllowed
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from recon.config import Settings
    from recon.stripe.source import SessionEvent, StripeSource

MINUTE, HOUR = 60, 3600
DAY = 24 * HOUR
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
    scheduled = request.trigger == SCHEDULED
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


NO_EVENTS = (
    "no_events: the Stripe key may not read events, so a webhook that comes late is not fenced off and the "
    "grace is by creation alone; give the key read access to Events"
)
UNREADABLE = (
    "unreadable: Stripe lists sessions without an id; all others were looked at, and the next scheduled run "
    "goes back to the same time"
)
COMPLETED = "checkout.session.completed"
# Stripe tries to deliver an event for three days.
DELIVERY = 3 * DAY + HOUR


class WebhookEvents:
    """What Stripe's events say of webhooks: which sessions to leave to the next run, since theirs may still
    be at work, and which events of the others a webhook may still get.

    `leaves_after`: what happened after that moment is left to the next run; None: nothing is. `fence_since`:
    from when on (epoch seconds) to ask for events that no webhook has acknowledged, three days at least;
    None: they are not asked for.
    """

    def __init__(
        self,
        stripe: "Callable[[], StripeSource]",
        now: Callable[[], int],
        pool: Executor,
        *,
        leaves_after: int | None,
        fence_since: int | None,
    ) -> None:
        self._stripe = stripe
        self._now = now
        self._pool = pool
        self._leaves_after = leaves_after
        self._fence_since = fence_since
        self._looked_at: int | None = None
        self._completing: set[str] = set()
        self._paying: set[str] = set()
        self._events: dict[str, dict[str, str]] = defaultdict(dict)
        self.may_read = True

    @property
    def known_until(self) -> int:
        """What happened after that moment (epoch seconds) nobody here has asked about."""
        return (self._looked_at or 0) - MINUTE

    def look(self) -> None:
        """Right before anything is sent, so that what happened while sessions were listed is seen too. What
        no webhook has acknowledged is asked for once, at the same time as what is younger than the grace."""
        if not self.may_read or (self._leaves_after is None and self._fence_since is None):
            return
        began, stripe = self._now(), self._stripe()
        asked = [(self._take, self._pool.submit(list, stripe.events(self._young_since(began))))]
        if self._fence_since is not None and self._looked_at is None:
            since = min(self._fence_since, began - DELIVERY)
            undelivered = self._pool.submit(list, stripe.events(since, undelivered=True))
            asked.append((self._fence_off, undelivered))
        # All of them, before one raises: nobody goes on asking behind the back of whoever handles the error.
        wait([answer for _, answer in asked])
        try:
            for keep, answer in asked:
                keep(answer.result())
        except KeyNotAllowed:
            self.may_read = False
        self._looked_at = began

    def _young_since(self, began: int) -> int:
        """What the grace leaves to the next run, and without a grace what the last look may have missed."""
        graced = 0 if self._leaves_after is None else self._leaves_after + 1
        if self._leaves_after is not None and self._looked_at is None:
            return graced
        return max((self._looked_at or began) - MARGIN, graced)

    def _fence_off(self, events: "list[SessionEvent]") -> None:
        for event in events:
            self._events[event.session_id][event.id] = event.type

    def _take(self, events: "list[SessionEvent]") -> None:
        if self._leaves_after is None:
            self._fence_off(events)
            return
        for event in events:
            (self._completing if event.type == COMPLETED else self._paying).add(event.session_id)

    def left(self, message: SessionMessage) -> SessionMessage | None:
        """The message as it is to be sent, or None: the next run is sure to see the session.

        A session that was completed within the grace lies in the next run's window. One that was only paid
        within it may be older than that: it is sent as it was before, unpaid, and waits as pending.
        """
        session_id = message.session_id
        if session_id in self._completing or (session_id in self._paying and message.pending is not None):
            return None
        if session_id in self._paying:
            return replace(message, payment_status=UNPAID)
        events = self._events.get(session_id, {})
        return replace(message, event_ids=tuple(events), event_types=tuple(events.values()))
