"""One invocation's part of a run: it lists sessions, sends them range by range and moves the run's cursor."""

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.pending_sender import PendingSender
from producer.run_context import RunContext
from producer.session_lister import ListedRange, SessionLister, TimeRange
from producer.webhook_events import NO_EVENTS, UNREADABLE, WebhookEvents
from recon.domain.message import SessionMessage, build_message
from recon.domain.run import Trigger
from recon.dynamodb.records import Run, State
from recon.dynamodb.runs import Progress
from recon.errors import OutOfTime
from recon.telemetry import Metric

if TYPE_CHECKING:
    from recon.domain.stripe_objects import Json
    from recon.stripe.source import Page

# Half of this has to be left for one more range.
HURRY_SECONDS = 60
# When an invocation has sent its part (`max_sessions`), a page or more of later sessions may be buffered. It
# sends those too, up to this many times its part, since the next invocation would have to list them again.
PAGE, MOST_PARTS = 100, 16
MATCHES_NOTHING = (
    "filter_matches_nothing: SYNC_ONLY leaves out every session of the window, so the watermark is not "
    "moved; compare its conditions with the sessions that Stripe lists"
)


class RunLister:
    """One invocation's part of a run. `run` is the latest record, `sent` how many messages were sent."""

    def __init__(self, context: RunContext, run: Run, state: State, events: WebhookEvents) -> None:
        self.run = run
        self.sent = 0
        self._context = context
        self._last_mode = state.livemode
        self._events = events
        self._unreadable = 0

    def send_pending(self) -> None:
        """Send the pending sessions again if the run is scheduled, except those in the run's window."""
        run = self.run
        if run.trigger != Trigger.SCHEDULED:
            return
        pending = PendingSender(self._context, run, self._events)
        pending.send(self._refresh_events, _group_by_customer)
        self.sent += pending.sent
        self._context.telemetry.count(Metric.SESSIONS_ENQUEUED, pending.sent)
        if pending.counted or pending.is_cut:
            progress = Progress(run.lookback_start - 1, 0, listed=False, truncated=pending.is_cut)
            self._send([], self._truncate(progress) if pending.is_cut else progress, counted=pending.counted)

    def send_listed(self) -> None:
        """List and send sessions, oldest first, to the end of the window or of this invocation's part.

        Raise OutOfTime if the invocation's time ends before the cursor has moved.
        """
        run = self.run
        window = TimeRange(
            (run.lookback_start - 1 if run.cursor is None else run.cursor) + 1, run.lookback_end
        )
        if window.start > window.end:
            self._send([], Progress(run.lookback_end, 0, listed=True))
            return
        stripe = self._context.stripe()
        lister: SessionLister[SessionMessage | None] = SessionLister(
            lambda start, end, after: self._count_unreadable(stripe.list_sessions(start, end, after=after)),
            self._build_message,
            self._context.pool,
            demand=self._demand,
        )
        # Close it also on early exit, so that no thread keeps calling Stripe.
        with closing(lister.list_ranges(window, run.slice_seconds)) as ranges:
            try:
                for listed in ranges:
                    self._send_range(listed, lister.seconds)
                    if self.run.listed or self._has_done_its_part(lister.buffered):
                        return
            except OutOfTime:
                if self.run.cursor == run.cursor:
                    raise

    def _send_range(self, listed: ListedRange[SessionMessage | None], seconds: int) -> None:
        """Send a range, oldest first, so that a hard limit takes the oldest sessions."""
        self._refresh_events()
        own = [message for message in reversed(listed.items) if message]
        messages = [message for one in own if (message := self._events.filter_message(one))]
        limit = self._remaining_limit()
        cut = limit is not None and len(messages) > limit
        livemode = _livemode(own) if self.run.livemode is None else None
        progress = Progress(
            cursor=_cursor_before(messages, limit, listed) if cut and limit is not None else listed.end,
            sent=0,
            listed=cut or listed.end >= self.run.lookback_end,
            truncated=cut,
            slice_seconds=seconds,
            livemode=livemode,
            filtered=len(listed.items) - len(own),
        )
        if cut:
            progress = self._truncate(progress)
        if progress.listed and self._matches_nothing(progress):
            self._context.warn(self.run.run_id, MATCHES_NOTHING)
            progress = replace(progress, covers_through=0)
        if self._unreadable:
            self._context.warn(self.run.run_id, UNREADABLE)
            # The next night may be able to read them.
            progress = replace(progress, covers_through=0)
        if livemode is not None:
            self._warn_if_mode_changed(livemode)
        self._send(messages[:limit], progress)

    def _refresh_events(self) -> None:
        could_read = self._events.may_read
        self._events.refresh()
        if could_read and not self._events.may_read:
            self._context.warn(self.run.run_id, NO_EVENTS)

    def _count_unreadable(self, page: "Page") -> "Page":
        self._unreadable += page.unreadable
        return page

    def _truncate(self, progress: Progress) -> Progress:
        """Warn that the run is truncated. Return the progress with the watermark that this leaves."""
        limit = self.run.max_sessions
        first = self._context.warn(
            self.run.run_id,
            f"truncated: the window holds more than the {limit} sessions of maxSessions; newer sessions were "
            "not checked",
        )
        self._context.telemetry.count(Metric.TRUNCATED_RUNS, first)
        covers = 0
        if self.run.trigger == Trigger.SCHEDULED and self.run.covers_through:
            covers = min(self.run.covers_through, progress.cursor)
        return replace(progress, covers_through=covers)

    def _warn_if_mode_changed(self, livemode: bool) -> None:
        last = self._last_mode
        if last is not None and last is not livemode:
            modes = {True: "live", False: "test"}
            self._context.warn(
                self.run.run_id,
                f"livemode: this run reads {modes[livemode]} sessions, the last one read {modes[last]} ones; "
                "check the key",
            )

    def _send(self, messages: list[SessionMessage], progress: Progress, counted: int = 0) -> None:
        """Send messages, then count them and `counted` more, which were sent but not counted before."""
        context = self._context
        context.queue.send(_group_by_customer(messages), context.pool, context.deadline)
        progress = replace(progress, sent=len(messages) + counted)
        self.run = context.runs.advance(self.run, progress, context.now())
        context.attempt.track(self.run)
        self.sent += len(messages)
        context.telemetry.count(Metric.SESSIONS_ENQUEUED, len(messages))

    def _matches_nothing(self, progress: Progress) -> bool:
        """Return whether the run has listed sessions and the filter has left out all of them."""
        # `livemode` is known once a session has passed the filter.
        none_passed = self.run.livemode is None and progress.livemode is None
        return none_passed and self.run.filtered + progress.filtered > 0

    def _build_message(self, session: "Json") -> SessionMessage | None:
        """Return the message of a session, or None if the filter leaves it out."""
        settings = self._context.settings
        if not settings.session_filter.passes(session):
            return None
        return build_message(session, self.run.run_id, settings.user_ids)

    def _remaining_limit(self) -> int | None:
        limit = self.run.max_sessions
        return None if limit is None else max(0, limit - self.run.enqueued)

    def _demand(self) -> int:
        """Return how many more sessions this invocation can use."""
        limit = self._remaining_limit()
        # One more than a hard limit shows whether the window holds more.
        return self._context.settings.max_sessions - self.sent if limit is None else limit + 1

    def _has_done_its_part(self, buffered: int) -> bool:
        """Return True if the next invocation should continue.

        Buffered sessions are sent first, up to `MOST_PARTS` times this invocation's part.
        """
        if self._context.deadline.remaining() < HURRY_SECONDS / 2:
            return True
        part = self._context.settings.max_sessions
        if self.run.max_sessions is not None or self.sent < part:
            return False
        return buffered < PAGE or self.sent >= part * MOST_PARTS


def _livemode(messages: list[SessionMessage]) -> bool | None:
    """Return the mode of the latest session, or None if there is none. Its type is not checked yet."""
    return messages[-1].livemode is True if messages else None


def _group_by_customer(messages: list[SessionMessage]) -> list[SessionMessage]:
    """Return the messages with each customer's sessions together.

    A consumer then queries the orders of a customer once per batch.
    """
    customers = list(dict.fromkeys(message.user_id for message in messages))
    place = {customer: number for number, customer in enumerate(customers)}
    return sorted(messages, key=lambda message: place[message.user_id])


def _cursor_before(
    messages: list[SessionMessage], limit: int, listed: ListedRange[SessionMessage | None]
) -> int:
    """Return the second before the first message beyond the limit, since that second is not complete.

    Where that message has no valid `created`, the last message before it that has one counts.
    """
    up_to = [message.created for message in messages[: limit + 1]]
    known = [at for at in up_to if type(at) is int and listed.start <= at <= listed.end]
    return (known[-1] if known else listed.start) - 1
