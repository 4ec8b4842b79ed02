"""Sends the sessions that wait again, for their payment or a missing order, entry by entry in flat memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import batched, islice

from producer.run_context import RunContext
from producer.webhook_events import WebhookEvents
from recon.domain.message import SessionMessage, loads
from recon.domain.waiting import is_due, is_missing_due
from recon.dynamodb.attribute_readers import read_integer, read_text
from recon.dynamodb.keys import PENDING_PREFIX
from recon.dynamodb.records import Run
from recon.dynamodb.table import Item
from recon.errors import MalformedMessage
from recon.timestamps import parse_epoch

# So many entries are in memory at a time.
CHUNK = 500


class PendingSender:
    """Sends the pending sessions of one run that are due, except those in the run's window.

    `counted` is how many sessions of the run wait, each once: those that were sent now, and those that an
    earlier invocation sent before it died and that have an outcome already. `sent` were sent now. `is_cut` is
    True if the run's `maxSessions` left some out.
    """

    def __init__(self, context: RunContext, run: Run, events: WebhookEvents) -> None:
        self.sent = 0
        self.is_cut = False
        self._context = context
        self._run = run
        self._events = events
        # With a hard limit, the sessions that an earlier invocation sent take their part of it first. They
        # are at most as many as the limit.
        limit = run.max_sessions
        self._settled = frozenset() if limit is None else context.runs.find_settled_pending(run.run_id)
        self.counted = len(self._settled)

    def send(
        self,
        refresh_events: Callable[[], None],
        group: Callable[[list[SessionMessage]], list[SessionMessage]],
    ) -> None:
        """Send the messages chunk by chunk. `group` puts those of a chunk into the order of sending."""
        after = ""
        for number, entries in enumerate(batched(self._context.runs.pending(), CHUNK)):
            if number == 0:
                refresh_events()
            through = entries[-1]["SK"].removeprefix(PENDING_PREFIX)
            self._send_chunk(entries, after, through, group)
            if self.is_cut:
                return
            after = through
        self._count_settled(after, None, frozenset())

    def _send_chunk(
        self,
        entries: Iterable[Item],
        after: str,
        through: str,
        group: Callable[[list[SessionMessage]], list[SessionMessage]],
    ) -> None:
        due = [message for message in self._read_due(entries) if message.session_id not in self._settled]
        self._events.read_for_waiting([message.created for message in due])
        messages = [filtered for message in due if (filtered := self._events.filter_message(message))]
        # After the entries: the consumer settles what an earlier invocation sent at any time.
        self._count_settled(after, through, frozenset(message.session_id for message in messages))
        limit = self._run.max_sessions
        room = len(messages) if limit is None else max(0, limit - self.counted)
        self.is_cut = len(messages) > room
        chosen = list(islice(messages, room))
        self._context.queue.send(group(chosen), self._context.pool, self._context.deadline)
        self.counted += len(chosen)
        self.sent += len(chosen)

    def _count_settled(self, after: str, through: str | None, waiting: frozenset[str]) -> None:
        settled = self._context.runs.find_settled_pending(self._run.run_id, after, through)
        self.counted += len(settled - waiting - self._settled)

    def _read_due(self, entries: Iterable[Item]) -> Iterator[SessionMessage]:
        run = self._run
        for entry in entries:
            try:
                message = _parse_message(entry)
            except MalformedMessage as error:
                self._context.telemetry.error(
                    f"A pending entry cannot be read: {type(error).__name__}", run_id=run.run_id
                )
                continue
            if run.lookback_start <= message.created <= run.lookback_end:
                continue
            since = read_integer(entry, "missingSince")
            if not _is_due(entry, message, since, run.lookback_end):
                continue
            yield replace(message, run_id=run.run_id, pending=self._events.known_until, missing_since=since)


def _parse_message(entry: Item) -> SessionMessage:
    """Return the message of an entry. Raise MalformedMessage also if it is that of another session."""
    message = loads(read_text(entry, "message") or "")
    if message.session_id != entry["SK"].removeprefix(PENDING_PREFIX):
        raise MalformedMessage("the message is that of another session")
    return message


def _is_due(entry: Item, message: SessionMessage, missing_since: int | None, night: int) -> bool:
    if missing_since is not None:
        return is_missing_due(missing_since, night)
    expires_at = read_integer(entry, "expiresAt")
    return is_due(message.created, _find_asked_at(entry), expires_at, night)


def _find_asked_at(entry: Item) -> int | None:
    """Return when a run last checked the session, or None if the entry does not say it."""
    try:
        return parse_epoch(read_text(entry, "updatedAt") or "")
    except ValueError:
        return None
