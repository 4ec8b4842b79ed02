"""A real run: take it, send its sessions slice by slice, mark how far it got, and go on in another invocation
when this one has done its part."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from producer.attempt import Attempt
from producer.request import Continuation
from producer.session_lister import ListedRange, SessionLister, TimeRange
from producer.webhook_events import NO_EVENTS, UNREADABLE, WebhookEvents
from recon.aws.queue import SessionQueue
from recon.domain.message import SessionMessage, build_message, loads
from recon.domain.run import RunStatus, Trigger
from recon.dynamodb.records import Run, State
from recon.dynamodb.runs import CursorConflict, Progress, Runs
from recon.errors import MalformedMessage, OutOfTime, TooManyHops
from recon.retry import Deadline
from recon.telemetry import Metric, Telemetry

if TYPE_CHECKING:
    from recon.config import Settings
    from recon.domain.stripe_objects import Json
    from recon.dynamodb.table import Item
    from recon.stripe.source import Page, StripeSource

# An invocation that has less left goes on in the next one: a slice may take half of it.
HURRY_SECONDS = 60
# At the edge where the setting's number is reached, more than a page of later sessions may have been
# listed already; an invocation goes on for them up to so many times its part.
PAGE, MOST_PARTS = 100, 16
# Of one run. At 500 sessions each it is two and a half million; a run that needs more is a run gone wrong.
MOST_HOPS = 5000
SCHEDULED_COMPARED = 7
NO_SESSIONS = (
    "no_sessions: no completed session at all, where the scheduled runs before found some; check the key's "
    "account and mode, and whether the shop still sells through Checkout"
)


@dataclass(frozen=True)
class SyncRun:
    """Everything a real run needs. `now` gives epoch seconds; `go_on` invokes the producer again. `attempt`
    is kept up to date with the run's record."""

    settings: "Settings"
    runs: Runs
    stripe: "Callable[[], StripeSource]"
    queue: SessionQueue
    pool: Executor
    deadline: Deadline
    now: Callable[[], int]
    telemetry: Telemetry
    go_on: Callable[[Continuation], None]
    attempt: Attempt = field(default_factory=Attempt)

    def begin(self, wanted: Run, state: State) -> Run:
        """Begins a run, or goes on with one that another invocation began, in its own window and to its own
        maximum. `state`: as it was before. Returns the run's record as it stands then."""
        # The record first: whatever fails from here on is kept on it.
        run = self.runs.start(wanted, self.now())
        self.attempt.hold(run)
        self._close_others(run.run_id)
        for warning in wanted.warnings:
            self.warn(run.run_id, warning)
        return self._go_on_with(run, state, hop=0)

    def resume(self, hop: Continuation) -> Run | None:
        """Goes on with a run where its cursor stands, not where the event says; None: no such run."""
        run = self.runs.get(hop.run_id)
        if run is None:
            return None
        run = self.runs.resume(run, self.now())
        self.attempt.hold(run)
        return self._go_on_with(run, self.runs.state(), hop.number)

    def _go_on_with(self, run: Run, state: State, hop: int) -> Run:
        if run.status == RunStatus.RUNNING and not run.listed:
            try:
                run = self._list(run, state)
            except CursorConflict:
                # What this one sent is sent twice and counted once.
                self.attempt.release()
                self.telemetry.info("Another invocation lists this run; this one stops", run_id=run.run_id)
            else:
                self._hop_on(run, hop)
        if run.listed:
            self._look_at_the_whole(run)
        run = self._finished(self.runs.get(run.run_id) or run)
        self._tell_if_open(run)
        return run

    def _hop_on(self, run: Run, hop: int) -> None:
        if run.listed:
            return
        if hop >= MOST_HOPS:
            raise TooManyHops(f"run {run.run_id} has not ended after {MOST_HOPS} invocations")
        self.go_on(Continuation(run.run_id, hop + 1))
        self.attempt.release()

    def _list(self, run: Run, state: State) -> Run:
        """Sends what is left of the run, or as much as one invocation should."""
        listing = RunLister(self, run, state, self._webhooks(run, state))
        if run.cursor is None:
            listing.send_pending()
        listing.send_slices()
        self.telemetry.info(
            f"Enqueued {listing.sent} sessions", run_id=run.run_id, enqueued=listing.run.enqueued
        )
        return listing.run

    def _webhooks(self, run: Run, state: State) -> WebhookEvents:
        since = min(run.lookback_start, state.covered_through or run.lookback_start)
        return WebhookEvents(
            self.stripe,
            self.now,
            self.pool,
            leaves_after=run.lookback_end if run.trigger == Trigger.SCHEDULED else None,
            fence_since=since if self.settings.webhook_fence else None,
        )

    def _look_at_the_whole(self, run: Run) -> None:
        """Nothing at all is suspicious where there used to be something."""
        if run.trigger == Trigger.SCHEDULED and run.livemode is None:
            # No session told its mode: none was listed, whatever waited for its payment.
            before = self.runs.scheduled_before(run.run_id, SCHEDULED_COMPARED)
            if any(earlier.livemode is not None for earlier in before):
                self.warn(run.run_id, NO_SESSIONS)
                self.telemetry.count(Metric.NO_SESSIONS)

    def warn(self, run_id: str, warning: str) -> bool:
        """Loudly, and once a run: whether this was the time."""
        first = self.runs.warn(run_id, warning)
        if first:
            self.telemetry.warning(warning, run_id=run_id)
            self.telemetry.count(Metric.RUN_WARNINGS)
        return first

    def _close_others(self, run_id: str) -> None:
        for run in self.runs.close_stale_runs(run_id, self.now()):
            if run.status == RunStatus.FAILED:
                self.telemetry.error(
                    "Run failed: its listing ended before its window was through", run_id=run.run_id
                )
            elif run.status == RunStatus.DONE:
                self._completed(run)
            self._tell_if_open(run)

    def _tell_if_open(self, run: Run) -> None:
        if run.status == RunStatus.RUNNING:
            self.telemetry.record_open_run(run, self.now())

    def _finished(self, run: Run) -> Run:
        """As it is after it was marked done, if it is; somebody else may do so at the same time."""
        if done := self.runs.finish(run, self.now()):
            self._completed(done)
        return done or run

    def _completed(self, run: Run) -> None:
        self.telemetry.record_completed_run(run, run.seconds(self.now()))
        self.telemetry.record_watermark(self.runs.state(), self.now())


class RunLister:
    """One invocation's part of a run."""

    def __init__(self, enqueue: SyncRun, run: Run, state: State, events: WebhookEvents) -> None:
        self.run = run
        self.sent = 0
        self._with = enqueue
        self._last_mode = state.livemode
        self._events = events
        self._unreadable = 0

    def send_pending(self) -> None:
        """What waited for its payment is asked about again by every scheduled run. What lies in the window
        is listed anyway."""
        run = self.run
        if run.trigger != Trigger.SCHEDULED:
            return
        messages = list(self._pending(list(self._with.runs.pending())))
        # An invocation that died may have sent some of which the consumer has deleted the entries since.
        waiting = {message.session_id for message in messages}
        settled = len(self._with.runs.find_settled_pending(run.run_id) - waiting)
        room = len(messages) if run.max_sessions is None else max(0, run.max_sessions - settled)
        if messages or settled:
            cut = len(messages) > room
            progress = Progress(run.lookback_start - 1, 0, listed=False, truncated=cut)
            self._send(messages[:room], self._truncated(progress) if cut else progress, counted=settled)

    def _pending(self, entries: "Sequence[Item]") -> Iterator[SessionMessage]:
        if entries:
            self._look_at_events()
        for entry in entries:
            try:
                message = loads(entry["message"])
            except (KeyError, MalformedMessage) as error:
                self._with.telemetry.error(
                    f"A pending entry cannot be read: {type(error).__name__}", run_id=self.run.run_id
                )
                continue
            if self.run.lookback_start <= message.created <= self.run.lookback_end:
                continue
            asked = replace(message, run_id=self.run.run_id, pending=self._events.known_until)
            if sent := self._events.left(asked):
                yield sent

    def send_slices(self) -> None:
        """Oldest first, up to the end of the window or of what one invocation should do."""
        run = self.run
        window = TimeRange(
            (run.lookback_start - 1 if run.cursor is None else run.cursor) + 1, run.lookback_end
        )
        if window.start > window.end:
            self._send([], Progress(run.lookback_end, 0, listed=True))
            return
        stripe = self._with.stripe()
        listing = SessionLister(
            lambda start, end, after: self._readable(stripe.list_sessions(start, end, after=after)),
            self._message,
            self._with.pool,
            wanted=self._room,
        )
        # Closed by itself at the end, also of a part: no thread goes on listing behind our back.
        with closing(listing(window, run.slice_seconds)) as slices:
            try:
                for listed in slices:
                    self._send_slice(listed, listing.seconds)
                    if self.run.listed or self._has_done_its_part(listing.held):
                        return
            except OutOfTime:
                if self.run.cursor == run.cursor:
                    raise

    def _send_slice(self, listed: ListedRange[SessionMessage], seconds: int) -> None:
        """Oldest first within the slice too, so that a hard limit takes the oldest."""
        self._look_at_events()
        messages = [sent for found in reversed(listed.found) if (sent := self._events.left(found))]
        left = self._left()
        cut = left is not None and len(messages) > left
        livemode = self._mode_of(listed) if self.run.livemode is None else None
        progress = Progress(
            cursor=_before(messages, left, listed) if cut and left is not None else listed.end,
            sent=0,
            listed=cut or listed.end >= self.run.lookback_end,
            truncated=cut,
            slice_seconds=seconds,
            livemode=livemode,
        )
        if cut:
            progress = self._truncated(progress)
        if self._unreadable:
            self._with.warn(self.run.run_id, UNREADABLE)
            # Perhaps the next night can read them.
            progress = replace(progress, covers_through=0)
        if livemode is not None:
            self._compare_mode(livemode)
        self._send(messages[:left], progress)

    def _look_at_events(self) -> None:
        could_read = self._events.may_read
        self._events.look()
        if could_read and not self._events.may_read:
            self._with.warn(self.run.run_id, NO_EVENTS)

    def _readable(self, page: "Page") -> "Page":
        self._unreadable += page.unreadable
        return page

    def _truncated(self, progress: Progress) -> Progress:
        limit = self.run.max_sessions
        first = self._with.warn(
            self.run.run_id,
            f"truncated: the window holds more than the {limit} sessions of maxSessions; what is newer than "
            "the last of them was not looked at",
        )
        self._with.telemetry.count(Metric.TRUNCATED_RUNS, first)
        covers = 0
        if self.run.trigger == Trigger.SCHEDULED and self.run.covers_through:
            covers = min(self.run.covers_through, progress.cursor)
        return replace(progress, covers_through=covers)

    def _mode_of(self, listed: ListedRange[SessionMessage]) -> bool | None:
        """Live or test; None where nothing was listed. The consumer checks messages, so nobody has yet."""
        return listed.found[0].livemode is True if listed.found else None

    def _compare_mode(self, livemode: bool) -> None:
        last = self._last_mode
        if last is not None and last is not livemode:
            modes = {True: "live", False: "test"}
            self._with.warn(
                self.run.run_id,
                f"livemode: this run reads {modes[livemode]} sessions, the last one read {modes[last]} ones; "
                "check the key",
            )

    def _send(self, messages: list[SessionMessage], progress: Progress, counted: int = 0) -> None:
        """Sends and then counts; `counted`: those that were sent before and not counted then."""
        self._with.queue.send(_side_by_side(messages), self._with.pool, self._with.deadline)
        progress = replace(progress, sent=len(messages) + counted)
        self.run = self._with.runs.advance(self.run, progress, self._with.now())
        self._with.attempt.hold(self.run)
        self.sent += len(messages)
        self._with.telemetry.count(Metric.SESSIONS_ENQUEUED, len(messages))

    def _message(self, session: "Json") -> SessionMessage:
        return build_message(session, self.run.run_id)

    def _left(self) -> int | None:
        limit = self.run.max_sessions
        return None if limit is None else max(0, limit - self.run.enqueued)

    def _room(self) -> int:
        """How many sessions more this invocation can use."""
        part = self._with.settings.max_sessions - self.sent
        left = self._left()
        # One more than a hard limit tells whether there were more.
        return part if left is None else left + 1

    def _has_done_its_part(self, held: int) -> bool:
        """What is listed already is sent rather than listed again by the next invocation, within reason."""
        if self._with.deadline.remaining() < HURRY_SECONDS / 2:
            return True
        part = self._with.settings.max_sessions
        if self.run.max_sessions is not None or self.sent < part:
            return False
        return held < PAGE or self.sent >= part * MOST_PARTS


def _side_by_side(messages: list[SessionMessage]) -> list[SessionMessage]:
    """A customer's sessions after that customer's first: a batch looks each customer's orders up once."""
    customers = list(dict.fromkeys(message.user_id for message in messages))
    place = {customer: number for number, customer in enumerate(customers)}
    return sorted(messages, key=lambda message: place[message.user_id])


def _before(messages: list[SessionMessage], left_out: int, listed: ListedRange[SessionMessage]) -> int:
    """The second before the first that a hard limit leaves out: that second has not been looked at whole.
    Where the session does not say when it was created, one before it does."""
    up_to = [sent.created for sent in messages[: left_out + 1]]
    known = [at for at in up_to if type(at) is int and listed.start <= at <= listed.end]
    return (known[-1] if known else listed.start) - 1
