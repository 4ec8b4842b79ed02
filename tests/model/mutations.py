"""The product, broken by hand in one place each: what the model has to find, and what it says then.

Each is one rule of docs/correctness.md taken away. `finds` is a part of the sentence.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from consumer.batch_processor import BatchProcessor
from consumer.session_group import SessionGroup
from producer import webhook_events, window
from producer.sync_run import RunLister
from recon.aws.queue import SessionQueue
from recon.dynamodb import orders
from recon.dynamodb.outcomes import Recheck, SessionResult
from recon.dynamodb.records import STATE_KEY, Run
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Action, Item, Key, Table
from recon.retry import Deadline
from recon.timestamps import DAY, HOUR

BEHIND, BY_WEBHOOK = "is behind the watermark", "is doubled by its webhook"
MISCOUNTED = "more and not"
_put, _update, _transact = Table.put, Table.update, Table.transact
_orders_under, _start, _from_watermark = orders._orders_under, Runs.start, window._from_watermark
_send = SessionQueue.send


@dataclass(frozen=True)
class Mutation:
    """`patches`: owner, attribute, replacement. `seed`: of the first history that finds it."""

    rule: str
    finds: str
    seed: int
    patches: Sequence[tuple[Any, str, Any]] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def applied(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, replacement in self.patches:
                stack.enter_context(mock.patch.object(owner, name, replacement))
            yield


def _put_whatever_is_there(prefix: str) -> Callable[..., Action]:
    """Without the condition on keys that begin so."""

    def put(self: Table, item: Item, condition: str, values: Item | None = None) -> Action:
        key = f"{item['PK']} {item['SK']}"
        if prefix in key:
            condition = f"({condition}) OR attribute_not_exists(neverThere)"
        return _put(self, item, condition, values)

    return put


def _update_whatever_is_there(part: str) -> Callable[..., Action]:
    """Without the condition that has this part."""

    def update(
        self: Table,
        key: Key,
        expression: str,
        values: Item,
        *,
        condition: str | None = None,
        names: dict[str, str] | None = None,
    ) -> Action:
        if condition and part in condition:
            condition = f"({condition}) OR attribute_not_exists(neverThere)"
        return _update(self, key, expression, values, condition=condition, names=names)

    return update


def _counters_apart(self: Table, actions: Sequence[Action], *args: Any, **kwargs: Any) -> None:
    """What is counted is written in a transaction of its own, afterwards."""
    outcomes = [action for action in actions if action.key[0].startswith("SYNC_RUN#")]
    counters = [action for action in actions if outcomes and action.kind == "Update"]
    _transact(self, [action for action in actions if action not in counters], *args, **kwargs)
    if counters:
        _transact(self, counters, *args, **kwargs)


def _covered_at_the_start(self: Runs, run: Run, now: int) -> Run:
    started = _start(self, run, now)
    if run.covers_through:
        move = self._table.update(STATE_KEY, "SET lastCoveredThrough = :to", {":to": run.covers_through})
        self._table.transact([move], self._deadline)
    return started


def _cursor_first(self: RunLister, messages: Any, progress: Any, counted: int = 0) -> None:
    with_sent = replace(progress, sent=len(messages) + counted)
    self.run = self._with.runs.advance(self.run, with_sent, self._with.now())
    self._with.queue.send(messages, self._with.pool, self._with.deadline)
    self.sent += len(messages)


def _count_one_less(self: RunLister, messages: Any, progress: Any, counted: int = 0) -> None:
    self._with.queue.send(messages, self._with.pool, self._with.deadline)
    progress = replace(progress, sent=max(0, len(messages) + counted - 1))
    self.run = self._with.runs.advance(self.run, progress, self._with.now())
    self.sent += len(messages)


def _send_one_less(self: SessionQueue, messages: Any, pool: Any, deadline: Any) -> None:
    _send(self, messages[:-1], pool, deadline)


def _first_order_only(table: Table, pk: str, since: int, deadline: Deadline | None) -> list[Any]:
    return _orders_under(table, pk, since, deadline)[:1]


def _see_nothing(self: SessionGroup, results: Sequence[SessionResult]) -> Recheck:
    return Recheck(list(results), {})


def _send_once(self: SessionQueue, entries: list[Any]) -> None:
    self._batch_call(self._client.send_message_batch, entries)


def _as_if_the_last_night_was_there(at: int, hours: int, grace: int, needed: int | None) -> Any:
    return _from_watermark(at, hours, grace, needed and at - DAY - grace - HOUR)


MUTATIONS = (
    Mutation(
        "the order's key is free", "is changed", 13, [(Table, "put", _put_whatever_is_there(" ORDER#"))]
    ),
    Mutation(
        "the outcome is the one that was read",
        "goes from",
        4,
        [(Table, "put", _put_whatever_is_there("SYNC_RUN#"))],
    ),
    Mutation("counters are in the transaction", "counts", 0, [(Table, "transact", _counters_apart)]),
    Mutation(
        "the state is this run's",
        "the state says",
        5,
        [(Table, "update", _update_whatever_is_there("lastSyncRunId = :run"))],
    ),
    Mutation(
        "the cursor is the one that was read",
        "never ends",
        4,
        [(Table, "update", _update_whatever_is_there("cursor"))],
    ),
    Mutation("the watermark moves at the end", BEHIND, 0, [(Runs, "start", _covered_at_the_start)]),
    Mutation(
        "messages are sent before they are counted", "never ends", 10, [(RunLister, "_send", _cursor_first)]
    ),
    Mutation("all that is sent is counted", MISCOUNTED, 0, [(RunLister, "_send", _count_one_less)]),
    Mutation("all that is counted is sent", MISCOUNTED, 0, [(SessionQueue, "send", _send_one_less)]),
    Mutation("rejected entries are sent again", "never ends", 0, [(SessionQueue, "_send_once", _send_once)]),
    Mutation(
        "errors are written before the last attempt",
        "began without its outcome",
        98,
        [(SessionGroup, "announce_last_attempts", lambda self, works: 0)],
    ),
    Mutation(
        "what failed comes back",
        "never ends",
        8,
        [(BatchProcessor, "_release_messages", lambda self, *_: [])],
    ),
    Mutation(
        "look again before the commit",
        "is doubled by us",
        105,
        [(SessionGroup, "_recheck_orders", _see_nothing)],
    ),
    Mutation(
        "every order of a user is looked at",
        "is doubled by us",
        1,
        [(orders, "_orders_under", _first_order_only)],
    ),
    Mutation("the fence", BY_WEBHOOK, 0, env={"SYNC_WEBHOOK_FENCE": "false"}),
    Mutation(
        "webhooks are asked about before sending",
        BY_WEBHOOK,
        52,
        [(webhook_events.WebhookEvents, "look", lambda self: None)],
    ),
    Mutation("a session lives for a day", BEHIND, 0, [(window, "SESSION_LIFE", 0), (window, "MARGIN", 0)]),
    Mutation(
        "missed nights are caught up",
        "has 0 orders",
        0,
        [(window, "_from_watermark", _as_if_the_last_night_was_there)],
    ),
    Mutation(
        "delayed payments are asked about", "has 0 orders", 9, [(Runs, "pending", lambda self: iter(()))]
    ),
)
