"""One invocation's part of a run: it lists sessions, sends them and counts them."""

from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from producer.page_sender import PageSender, Steps
from producer.pending_sender import PendingSender
from producer.run_context import RunContext
from producer.session_lister import SessionLister, list_oldest
from producer.webhook_events import MISSING_EVENTS, NO_EVENTS, UNREADABLE, WebhookEvents, find_times
from recon.domain.message import SessionMessage, build_message
from recon.domain.run import Listing, Part, Trigger
from recon.dynamodb.records import Run, State
from recon.dynamodb.runs import Progress
from recon.errors import OutOfTime
from recon.telemetry import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon.stripe.pages import Page

# No page is requested with less time left. It is enough to list and send those in flight.
HURRY_SECONDS = 30
# Pages requested at a time: with answers of 350 ms they use 25 requests a second, which is all that Stripe
# allows, also while the oldest one is late.
MOST_REQUESTS = 10
MATCHES_NOTHING = (
    "filter_matches_nothing: SYNC_ONLY leaves out every session of the window, so the watermark is not "
    "moved; compare its conditions with the sessions that Stripe lists"
)


@dataclass(frozen=True)
class _ReadPage:
    """The messages of a page that pass the filter, and what else it tells: the times of its sessions."""

    messages: list[SessionMessage]
    times: list[int]
    filtered: int
    unreadable: int


class RunLister:
    """One invocation's part of a run. `run` is the latest record, `sent` how many messages were sent."""

    def __init__(self, context: RunContext, run: Run, state: State, events: WebhookEvents) -> None:
        self.run = run
        self.sent = 0
        self._context = context
        self._taken = 0  # sessions that were sent or are about to be
        self._last_mode = state.livemode
        self._events = events
        self._unreadable = 0
        self._filtered = 0  # and not counted on the run yet
        self._livemode: bool | None = None
        self._warned: set[str] = set()

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
            progress = self._truncate(progress) if pending.is_cut else progress
            self._advance(replace(progress, sent=pending.counted))

    def send_listed(self) -> None:
        """List and send sessions, to the end of the window or of this invocation's part.

        Raise OutOfTime if the invocation's time ends before any is sent.
        """
        run = self.run
        start = run.lookback_start if run.cursor is None else run.cursor + 1
        if start > run.lookback_end:
            self._count(Progress(run.lookback_end, 0, listed=True), 0)
            return
        window = Part(start, run.lookback_end)
        try:
            if run.max_sessions is None:
                self._send_parts(run.listing or Listing((window,)))
            else:
                self._send_oldest(window, max(0, run.max_sessions - run.enqueued))
        except OutOfTime:
            if self.run is run:
                raise

    def _send_parts(self, listing: Listing) -> None:
        """Send sessions as they are listed, oldest first in each batch, with what is left of the parts."""
        lister = SessionLister(self._list_page, self._context.pool, listing, self._demand)
        undelivered = self._context.pool.submit(self._events.read_undelivered)
        try:
            lister.list_first()
        finally:
            # Before an error is raised, so that no thread keeps calling Stripe.
            wait([undelivered])
        undelivered.result()
        width = 1 if self._events.need_order else MOST_REQUESTS
        self._taken = self.sent
        steps = Steps(
            self._events.begin_refresh,
            self._events.is_refreshed,
            self._filter_pages,
            self._enqueue,
            self._count_parts,
        )
        # Close them also on early exit, so that no thread keeps calling Stripe.
        with (
            closing(self._events),
            PageSender(steps, self._context.deadline.clock) as sender,
            closing(lister.list_pages(width, together=1)) as batches,
        ):
            for pages in batches:
                read = [self._read_page(page) for page in pages]
                self._taken += sum(len(page.messages) for page in read)
                sender.add(read, lister.listing)

    def _filter_pages(self, pages: list[_ReadPage]) -> list[SessionMessage]:
        return _group_by_customer(self._filter_messages(pages)[::-1])

    def _count_parts(self, sent: int, left: Listing) -> None:
        end = None if left.parts else self.run.lookback_end
        progress = Progress(end, 0, listed=not left.parts, listing=left if left.parts else None)
        self._count(self._with_facts(progress), sent)

    def _send_oldest(self, window: Part, limit: int) -> None:
        """Send the oldest sessions of a window up to a hard limit, in the order of their parts."""

        def convert(page: "Page") -> list[SessionMessage]:
            return self._filter_messages([self._read_page(page)])

        parts = list_oldest(self._list_page, self._context.pool, window, limit, convert)
        with closing(parts):
            for part, messages in parts:
                cut = len(messages) > limit
                cursor = _cursor_before(messages, limit, part) if cut else part.end
                progress = Progress(cursor, 0, listed=cut or part.end == window.end, truncated=cut)
                progress = self._truncate(progress) if cut else progress
                self._enqueue(_group_by_customer(messages[:limit]))
                self._count(self._with_facts(progress), len(messages[:limit]))
                limit -= len(messages)
                if self.run.listed or self._is_short_of_time():
                    return

    def _read_page(self, page: "Page") -> _ReadPage:
        """Return the messages of a page. Sessions that the filter leaves out are only counted."""
        settings = self._context.settings
        own = [session for session in page.sessions if settings.session_filter.passes(session)]
        messages = [
            build_message(session, self.run.run_id, settings.user_ids, settings.shape) for session in own
        ]
        filtered = len(page.sessions) - len(own)
        return _ReadPage(messages, find_times(page.sessions), filtered, page.unreadable)

    def _filter_messages(self, pages: "Sequence[_ReadPage]") -> list[SessionMessage]:
        """Return the messages to send of pages, with the events that are known now, after their listing."""
        self._refresh_events()
        messages = []
        for page in pages:
            self._unreadable += page.unreadable
            self._filtered += page.filtered
            self._events.read_for([{"created": at} for at in page.times])
            for message in page.messages:
                self._livemode = message.livemode is True if self._livemode is None else self._livemode
                if filtered := self._events.filter_message(message):
                    messages.append(filtered)
        if self._events.are_missing:
            self._warn_once(MISSING_EVENTS)
        return messages

    def _with_facts(self, progress: Progress) -> Progress:
        """Return the progress with what the listed sessions tell about the run."""
        progress = replace(progress, filtered=self._filtered)
        self._filtered = 0
        # The mode is known once a session has passed the filter.
        none_passed = self._livemode is None and self.run.livemode is None
        if progress.listed and none_passed and self.run.filtered + progress.filtered:
            self._warn_once(MATCHES_NOTHING)
            progress = replace(progress, covers_through=0)
        if self._context.settings.session_filter.text != self.run.session_filter:
            # A part of the run was listed with another filter, so the next run lists all of it with one.
            progress = replace(progress, covers_through=0)
        if self._unreadable:
            self._warn_once(UNREADABLE)
            # The next night may be able to read them.
            progress = replace(progress, covers_through=0)
        if self.run.livemode is None and self._livemode is not None:
            progress = replace(progress, livemode=self._livemode)
            self._warn_if_mode_changed(self._livemode)
        return progress

    def _list_page(self, start: int, end: int, after: str | None) -> "Page":
        return self._context.stripe().list_sessions(start, end, after=after)

    def _refresh_events(self) -> None:
        self._events.refresh()
        if not self._events.may_read:
            self._warn_once(NO_EVENTS)

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warned:
            self._warned.add(warning)
            self._context.warn(self.run.run_id, warning)

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
            covers = min(self.run.covers_through, progress.cursor or 0)
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

    def _enqueue(self, messages: list[SessionMessage]) -> None:
        """Send messages. Raise OutOfTime if the time is up: the next invocation sends what is not counted."""
        self._context.deadline.check()
        self._context.queue.send(messages, self._context.pool, self._context.deadline)

    def _count(self, progress: Progress, sent: int) -> None:
        """Count sent messages, with the progress that they make."""
        self._advance(replace(progress, sent=sent))
        self.sent += sent
        self._context.telemetry.count(Metric.SESSIONS_ENQUEUED, sent)

    def _advance(self, progress: Progress) -> None:
        self.run = self._context.runs.advance(self.run, progress, self._context.now())
        self._context.attempt.track(self.run)

    def _demand(self) -> float:
        """Return how many more sessions this invocation can use."""
        if self._is_short_of_time():
            return 0
        part = self._context.settings.sessions_per_invocation
        return part - max(self.sent, self._taken) if part else float("inf")

    def _is_short_of_time(self) -> bool:
        return self._context.deadline.remaining() < HURRY_SECONDS


def _group_by_customer(messages: list[SessionMessage]) -> list[SessionMessage]:
    """Return the messages with each customer's sessions together.

    A consumer then queries the orders of a customer once per batch.
    """
    customers = list(dict.fromkeys(message.user_id for message in messages))
    place = {customer: number for number, customer in enumerate(customers)}
    return sorted(messages, key=lambda message: place[message.user_id])


def _cursor_before(messages: list[SessionMessage], limit: int, part: Part) -> int:
    """Return the second before the first message beyond the limit, since that second is not complete.

    Where that message has no valid `created`, the last message before it that has one counts.
    """
    up_to = [message.created for message in messages[: limit + 1]]
    known = [at for at in up_to if type(at) is int and part.start <= at <= part.end]
    return (known[-1] if known else part.start) - 1
