"""Rules of docs/correctness.md, switched off one at a time: the model must find that each is missing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from consumer import batch_processor, session_results, stripe_decision, webhook_fence
from consumer.batch_processor import BatchProcessor
from consumer.session_group import SessionGroup
from consumer.session_results import ResultBuilder
from consumer.stripe_decision import StripeDecision
from consumer.webhook_fence import WebhookFence
from producer import pending_sender, sync_run, webhook_events, window
from producer.page_sender import PageSender
from producer.proof import ProofVerdict
from producer.run_lister import RunLister
from recon.aws.queue import SessionQueue
from recon.domain import waiting
from recon.domain.attention import Attention
from recon.domain.fence import EventMark
from recon.domain.message import SessionMessage
from recon.domain.order_keys import OrderSortKey
from recon.domain.outcome import SkipReason
from recon.domain.payment_state import PaymentState
from recon.domain.run import Listing, Part
from recon.domain.session_filter import SessionFilter
from recon.domain.shape import Shape
from recon.domain.table_decision import ExistingOrder
from recon.domain.waiting import NIGHTLY, is_wait_over
from recon.dynamodb import (
    attention,
    ledger_table,
    order_write,
    outcomes,
    records,
    runs,
    session_result,
    user_orders,
)
from recon.dynamodb.attention import AttentionRecord, update_attention
from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.outcome_writer import Recheck
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.records import Run
from recon.dynamodb.run_reader import RunReader
from recon.dynamodb.runs import Runs
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import Action, Item, Key, Table
from recon.dynamodb.watermark import Watermark
from recon.errors import LedgerNotMoved
from recon.retry import Deadline
from recon.stripe.source import StripeSource
from recon.timestamps import DAY

BEHIND, BY_WEBHOOK, BY_SYNC = "is behind the watermark", "is doubled by its webhook", "is doubled by the sync"
UNPAID = "has an order without a payment"
MISCOUNTED, ENDLESS, MISSING = "more and not", "never ends", "the order is missing"
_name_for = Table.name_for
_put, _update, _transact = Table.put, Table.update, Table.transact
_orders_under, _start, _from_watermark = user_orders._orders_under, Runs.start, window._from_watermark
_mark_events, _first_sort_key = webhook_fence.mark_events, user_orders.first_sort_key
_listing_field, _move_watermark = records.listing_field, Runs._move_watermark
_send, _read_state = SessionQueue.send, stripe_decision.read_payment_state
_count, _read_watermark = RunLister._count, RunReader.watermark
_build_missing, _get_shop_items = ResultBuilder.build_missing, Table.get_shop_items
_is_due, _load_prior_state = pending_sender._is_due, outcomes.load_prior_state
_describe_unpaid_orders, _decide = stripe_decision.describe_unpaid_orders, stripe_decision._decide


@dataclass(frozen=True)
class DisabledRule:
    """A rule that `patches` (owner, attribute, replacement) or the settings `env` switch off.

    `finds` is a part of the violation, `seed` that of the first history with it.
    """

    rule: str
    finds: str = ""
    seed: int = 0
    patches: Sequence[tuple[Any, str, Any]] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def disable(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, replacement in self.patches:
                stack.enter_context(mock.patch.object(owner, name, replacement))
            yield


def put_without_condition(*prefixes: str) -> Callable[..., Action]:
    """Return a put without its condition for keys with one of these prefixes."""

    def put(self: Table, item: Item, condition: str, values: Item | None = None) -> Action:
        key = f"{item['PK']} {item['SK']}"
        if any(prefix in key for prefix in prefixes):
            condition = f"({condition}) OR attribute_not_exists(neverThere)"
        return _put(self, item, condition, values)

    return put


def _update_without_condition(part: str) -> Callable[..., Action]:
    """Return an update without the condition that has this part."""

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


def _keep_outcomes_in_shop(self: Table, partition: str) -> str:
    return self.shop if partition.startswith("SYNC_RUN#") else _name_for(self, partition)


def _count_separately(self: Table, actions: Sequence[Action], *args: Any, **kwargs: Any) -> None:
    outcomes = [action for action in actions if action.key[0].startswith("SYNC_RUN#")]
    counters = [action for action in actions if outcomes and action.kind == "Update"]
    _transact(self, [action for action in actions if action not in counters], *args, **kwargs)
    if counters:
        _transact(self, counters, *args, **kwargs)


def _move_watermark_at_start(self: Runs, run: Run, now: int, watermark: Watermark, stack: str) -> Run:
    started = _start(self, run, now, watermark, stack)
    if run.covers_through:
        move = self._table.update(WATERMARK_KEY, "SET lastCoveredThrough = :to", {":to": run.covers_through})
        self._table.transact([move], self._deadline)
    return started


def _count_before_sending(self: PageSender[Any]) -> None:
    messages, left = self._steps.filter_pages(self._refreshing), self._left
    self._refreshing, self._left = [], None
    assert left is not None
    self._steps.count(len(messages), left)
    self._steps.enqueue(messages)


def _count_one_less(self: RunLister, progress: Any, sent: int) -> None:
    _count(self, progress, max(0, sent - 1))


def _send_one_less(self: SessionQueue, messages: Any, pool: Any, deadline: Any) -> None:
    _send(self, messages[:-1], pool, deadline)


def _first_order_only(table: Table, pk: str, first: str, deadline: Deadline | None) -> list[Any]:
    return list(_orders_under(table, pk, first, deadline))[:1]


def _see_nothing(self: SessionGroup, results: Sequence[SessionResult]) -> Recheck:
    return Recheck(list(results), {})


def _send_once(self: SessionQueue, entries: list[Any]) -> None:
    self._batch_call(self._client.send_message_batch, entries)


def _ignore_missed_nights(at: int, hours: int, grace: int, needed: int | None, furthest: int) -> Any:
    return _from_watermark(at, hours, grace, needed and at - DAY - grace, furthest)


def _move_watermark_anyway(self: Runs, run: Run, at: str) -> Any:
    return _move_watermark(self, replace(run, session_filter=self.watermark().session_filter), at)


def _read_watermark_from_state(self: RunReader) -> Watermark:
    state = self.state()
    times = {"covered_through": state.covered_through, "first_lookback_start": state.first_lookback_start}
    return replace(_read_watermark(self), **times)


def _resume_by_time(item: Item) -> Part:
    return Part(item["from"], item.get("reached", item["to"] + 1) - 1)


def _forget_oldest_part(listing: Listing) -> Item:
    return _listing_field(replace(listing, parts=listing.parts[1:] or listing.parts))


def _with_state(reason: SkipReason | None, **changes: Any) -> tuple[Any, str, Any]:
    """Return the patch that changes the payment's state wherever it gives this reason."""

    def read(session: Any, payment: Any) -> PaymentState:
        state = _read_state(session, payment)
        return replace(state, **changes) if state.skip is reason else state

    return (stripe_decision, "read_payment_state", read)


def _refuse_any_ledger(shop: str, ledger: str, stack: str, own: Any, shop_items: Mapping[Key, Item]) -> None:
    if shop_items:
        raise LedgerNotMoved(f"table {shop} holds a ledger")


def _forget_filtered(*args: Any) -> StripeDecision:
    decision = _decide(*args)
    return replace(decision, waits=False) if decision.result is SkipReason.FILTERED else decision


def _belongs_by_session(self: ExistingOrder, message: SessionMessage) -> bool:
    return message.session_id in (self.stripe_session_id, self.order_id)


def _leave_claims(events: Any, markers: Any, **options: Any) -> tuple[EventMark, ...]:
    return tuple(mark for mark in _mark_events(events, markers, **options) if not mark.is_claimed)


def _without_wait(*args: Any, **kwargs: Any) -> StripeDecision:
    return replace(_describe_unpaid_orders(*args, **kwargs), waits=False)


def _forget_acknowledgement(
    before: AttentionRecord | None, said: AttentionRecord, *, order_says_paid: bool
) -> AttentionRecord | None:
    after = update_attention(before, said, order_says_paid=order_says_paid)
    return after and replace(after, acknowledged_by=None)


def _report_without_entry(self: ResultBuilder, task: Any, missing: Any) -> SessionResult:
    return replace(_build_missing(self, task, missing), pending=None)


def _get_one_shop_item(self: Table, keys: Sequence[Item], *args: Any) -> list[Item]:
    return _get_shop_items(self, keys[:1], *args)


def _ask_for_payments_only(entry: Item, message: Any, since: int | None, night: int) -> bool:
    return since is None and _is_due(entry, message, since, night)


def _forget_dismissals(*args: Any) -> PriorState:
    return replace(_load_prior_state(*args), dismissed=frozenset())


DISABLED_RULES = (
    DisabledRule(
        "the order's key and its guard are free",
        "is changed",
        7,
        [(Table, "put", put_without_condition(" ORDER#", "SYNC_ORDER"))],
    ),
    DisabledRule(
        "the outcome is the one that was read",
        "goes from",
        24,
        [(Table, "put", put_without_condition("SYNC_RUN#"))],
    ),
    DisabledRule(
        "counters are in the transaction", "created is", 0, [(Table, "transact", _count_separately)]
    ),
    DisabledRule(
        "the state is this run's",
        "as in its run",
        13,
        [(Table, "update", _update_without_condition("lastSyncRunId = :run"))],
    ),
    DisabledRule(
        "the cursor is the one that was read",
        ENDLESS,
        8,
        [(Table, "update", _update_without_condition("cursor"))],
    ),
    DisabledRule(
        "the parts are as they were read",
        ENDLESS,
        552,
        [(Table, "update", _update_without_condition("enqueued = :read"))],
    ),
    DisabledRule(
        "a part is resumed after its last session",
        BEHIND,
        28,
        [(records, "_parse_part", _resume_by_time)],
    ),
    DisabledRule(
        "every open part is listed",
        BEHIND,
        76,
        [(runs, "listing_field", _forget_oldest_part)],
    ),
    DisabledRule("the watermark moves at the end", BEHIND, 0, [(Runs, "start", _move_watermark_at_start)]),
    DisabledRule(
        "the watermark is apart from the state",
        BEHIND,
        0,
        [
            (RunReader, "watermark", _read_watermark_from_state),
            (Table, "update", _update_without_condition("lastCoveredThrough")),
        ],
    ),
    DisabledRule(
        "a ledger has one stack",
        ENDLESS,
        1,
        [
            (Watermark, "check_owner", lambda self, stack: None),
            (Table, "update", _update_without_condition("stackName")),
        ],
    ),
    DisabledRule(
        "a key must read the proof session",
        "of another account is sent",
        seed=9,
        patches=[(sync_run, "check_proof", lambda context, watermark: ProofVerdict())],
    ),
    DisabledRule(
        "messages are sent before they are counted",
        ENDLESS,
        16,
        [(PageSender, "_step", _count_before_sending)],
    ),
    DisabledRule("all sent messages are counted", MISCOUNTED, 0, [(RunLister, "_count", _count_one_less)]),
    DisabledRule("all counted messages are sent", MISCOUNTED, 0, [(SessionQueue, "send", _send_one_less)]),
    DisabledRule("rejected entries are sent again", ENDLESS, 5, [(SessionQueue, "_send_once", _send_once)]),
    DisabledRule(
        "errors are written before the last attempt",
        "began without its outcome",
        70,
        [(SessionGroup, "announce_last_attempts", lambda self, tasks: 0)],
    ),
    DisabledRule(
        "failed messages are returned",
        ENDLESS,
        10,
        [(BatchProcessor, "_release_messages", lambda self, *_: [])],
    ),
    DisabledRule(
        "look again before the commit", BY_SYNC, 5, [(SessionGroup, "_recheck_orders", _see_nothing)]
    ),
    DisabledRule(
        "the order is guarded",
        "has no guard",
        0,
        [(order_write, "_guard_actions", lambda *_: iter(()))],
    ),
    DisabledRule(
        "outcomes are in the ledger",
        "in the shop's table",
        11,
        [(Table, "name_for", _keep_outcomes_in_shop)],
    ),
    DisabledRule(
        "every order of a user is read", BY_SYNC, 6, [(user_orders, "_orders_under", _first_order_only)]
    ),
    DisabledRule(
        "all orders of a user are read where sort keys say no time",
        BY_SYNC,
        2,
        [(user_orders, "first_sort_key", lambda since, _: _first_sort_key(since, OrderSortKey.EPOCH))],
    ),
    DisabledRule(
        "orders are looked up under the other candidates",
        BY_SYNC,
        4,
        [(user_orders, "other_user_ids", lambda message: ())],
    ),
    DisabledRule(
        "the filter leaves out sessions of other shops",
        "has an order without a payment",
        0,
        [(SessionFilter, "passes", lambda self, session: True)],
    ),
    DisabledRule(
        "a run of an earlier filter does not move the watermark",
        BEHIND,
        12,
        [(Runs, "_move_watermark", _move_watermark_anyway)],
    ),
    DisabledRule("the fence", BY_WEBHOOK, 1, env={"SYNC_WEBHOOK_FENCE": "false"}),
    DisabledRule(
        "delivered events are fenced",
        BY_WEBHOOK,
        1,
        [(WebhookFence, "read_delivered", lambda *_, **__: None)],
    ),
    DisabledRule(
        "the event of a free session is looked for as long as the session may be open",
        BY_WEBHOOK,
        152,
        [(webhook_fence, "_LONGEST_CHECKOUT", 0)],
    ),
    DisabledRule(
        "an order waits for a webhook that has claimed its event",
        "is doubled",
        7,
        [(EventMark, "wait_seconds", lambda self, now: 0)],
    ),
    DisabledRule(
        "an unfinished claim is completed", BY_WEBHOOK, 7, [(webhook_fence, "mark_events", _leave_claims)]
    ),
    DisabledRule(
        "a deleted order is not written again",
        UNPAID,
        3,
        [
            (Table, "put", put_without_condition("SYNC_ORDER")),
            (outcomes, "_find_guarded", lambda items: frozenset()),
        ],
    ),
    DisabledRule(
        "an order that an account has claimed is not written again",
        BY_SYNC,
        2,
        patches=[
            (Table, "put", put_without_condition("SYNC_ORDER")),
            (outcomes, "_find_guarded", lambda items: frozenset()),
        ],
    ),
    DisabledRule(
        "an order that names no session is known by its payment intent",
        BY_SYNC,
        11,
        patches=[(ExistingOrder, "belongs_to", _belongs_by_session)],
    ),
    DisabledRule(
        "stacks with a ledger each meet at the order's key",
        "is changed",
        108,
        patches=[(Table, "put", put_without_condition(" ORDER#"))],
    ),
    DisabledRule(
        "the ledger of another stack may be in the shop's table",
        "neighbour's producer raises",
        20,
        patches=[(ledger_table, "check_ledger_items", _refuse_any_ledger)],
    ),
    DisabledRule("the grace", BY_WEBHOOK, 8, env={"SYNC_GRACE_MINUTES": "0"}),
    DisabledRule(
        "events are read before sending",
        BY_WEBHOOK,
        33,
        [(webhook_events.WebhookEvents, "refresh", lambda self: None)],
    ),
    DisabledRule(
        "a session lives for a day", BEHIND, 0, [(window, "SESSION_LIFE", 0), (window, "MARGIN", 0)]
    ),
    DisabledRule(
        "missed nights are caught up",
        MISSING,
        0,
        [(window, "_from_watermark", _ignore_missed_nights)],
    ),
    DisabledRule(
        "pending payments are checked again", MISSING, 6, [(Runs, "pending", lambda self: iter(()))]
    ),
    DisabledRule(
        "money that went back gives no order",
        UNPAID,
        seed=5,
        patches=[_with_state(SkipReason.REFUNDED, skip=None)],
    ),
    DisabledRule(
        "a subscription is paid by its invoice",
        UNPAID,
        seed=60,
        patches=[(StripeSource, "_fetch_invoice_payments", lambda self, session: [])],
    ),
    DisabledRule(
        "a hold waits for its capture",
        "does not wait",
        patches=[_with_state(SkipReason.AWAITING_CAPTURE, waits=False)],
    ),
    DisabledRule(
        "a canceled payment ends the wait",
        "still waits",
        seed=11,
        patches=[_with_state(SkipReason.PAYMENT_FAILED, waits=True)],
    ),
    DisabledRule(
        "a failed payment may be tried again",
        "does not wait",
        patches=[_with_state(SkipReason.PAYMENT_FAILED, waits=False)],
    ),
    DisabledRule(
        "an unpaid order does not end the wait",
        "does not wait",
        149,
        patches=[(stripe_decision, "describe_unpaid_orders", _without_wait)],
    ),
    DisabledRule(
        "an acknowledged order is no drift any more",
        "drifts again",
        9,
        patches=[(AttentionRecord, "is_acknowledged", lambda self, word: False)],
    ),
    DisabledRule(
        "acknowledged words stay silent",
        "rings again",
        patches=[
            (session_result, "update_attention", _forget_acknowledgement),
            (attention, "is_same_attention", lambda before, after: before is after),
        ],
    ),
    DisabledRule(
        "words about a session end with its next outcome",
        "its attention is",
        10,
        patches=[(attention, "ENDED_BY_NEXT_OUTCOME", frozenset())],
    ),
    DisabledRule(
        "words about an order stay until a person acts",
        "its attention is",
        4,
        patches=[(attention, "ENDED_BY_NEXT_OUTCOME", frozenset(Attention))],
    ),
    DisabledRule(
        "money without a user needs a person",
        "and not ['no_user_paid']",
        2,
        patches=[(session_results, "PAID", "never")],
    ),
    DisabledRule(
        "an old entry is checked once a week",
        "still waits",
        5,
        patches=[(pending_sender, "is_due", lambda created, asked, expires, at: at - created < NIGHTLY)],
    ),
    DisabledRule(
        "an old entry is not checked every night",
        "examined",
        24,
        patches=[(pending_sender, "is_due", lambda created, asked, expires, at: True)],
    ),
    DisabledRule(
        "a wait ends after 400 days",
        "still waits",
        65,
        patches=[
            (module, "is_wait_over", lambda created, now: False)
            for module in (session_results, stripe_decision, waiting)
        ],
    ),
    DisabledRule(
        "a failed payment ends its wait after 30 days",
        "still waits",
        5,
        patches=[(stripe_decision, "may_wait", lambda reason, created, now: not is_wait_over(created, now))],
    ),
    DisabledRule(
        "an entry outlives its wait",
        "does not wait",
        6,
        patches=[(session_result, "ENTRY_LIFE", 7 * DAY)],
    ),
    DisabledRule(
        "a session that a filter leaves out goes on waiting",
        "does not wait",
        177,
        patches=[(stripe_decision, "_decide", _forget_filtered)],
    ),
    DisabledRule(
        "a session that Stripe deleted ends its wait",
        "errors after the redrive",
        patches=[(StripeSource, "is_gone", lambda self, session_id, proof_id: False)],
    ),
    DisabledRule(
        "an order that the shop has not done is missing",
        "and not ['missing']",
        seed=13,
        patches=[(Shape, "is_done", lambda self, item: True)],
    ),
    DisabledRule(
        "every key of a batch is read",
        "the shop had done its order",
        seed=13,
        patches=[(Table, "get_shop_items", _get_one_shop_item)],
    ),
    DisabledRule(
        "a missing order leaves an entry",
        BEHIND,
        seed=13,
        patches=[(ResultBuilder, "build_missing", _report_without_entry)],
    ),
    DisabledRule(
        "a missing order is looked for every night",
        "still waits",
        seed=73,
        patches=[(pending_sender, "_is_due", _ask_for_payments_only)],
    ),
    DisabledRule(
        "a dismissed session is not missing",
        "and not []",
        seed=13,
        patches=[(batch_processor, "load_prior_state", _forget_dismissals)],
    ),
    DisabledRule(
        "an order says what became of its payment",
        "attention is missing",
        patches=[_with_state(None, attention=())],
    ),
    DisabledRule(
        "an order says how much was captured",
        "amountCaptured is missing",
        4,
        patches=[_with_state(None, amount_captured=None)],
    ),
)
