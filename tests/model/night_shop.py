"""A shop and its nights: everything that can happen, one action after the other, in any order.

Each action draws what it needs from the `rng` that it is given and returns whether there was anything to do.
The seeded driver and Hypothesis use the same actions.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from recon.timestamps import DAY, to_iso
from testkit.invariants import to_wire
from testkit.world import KEY
from tests.model.customers import Sale
from tests.model.function_actions import FunctionActions, night
from tests.model.in_process_stripe import OTHER_KEY
from tests.model.model_world import FILTER, WRONG_FILTER, ShopConfig, deliveries_by_event, small_pages
from tests.model.waiting_actions import GRACE, NIGHTLY, WaitingActions
from tests.model.webhook import CLAIM_SECONDS, Handling

# Days without a schedule: payments arrive after months, failed ones end, and all waits end after 400 days.
MONTHS = (33, 60, 420)
# A session that is checked once a week is due again after at most so many nights.
NIGHTS_UNTIL_DUE = 8


class NightShop(WaitingActions, FunctionActions):
    """A shop with the actions on its queue and its key, the blind night, and the way to rest."""

    def duplicate_message(self, rng: random.Random) -> bool:
        def duplicate(message: Any) -> None:
            self.world.memory_sqs.duplicate(self.world.queue, message.message_id)
            self._log("message duplicated", message.message_id[-4:])

        return self._act_on_one(rng, self.world.memory_sqs.messages(self.world.queue), duplicate)

    def redrive(self, rng: random.Random) -> bool:
        sqs, dead = self.world.memory_sqs, self.world.memory_sqs.messages(self.world.dlq)
        if dead:
            answer = sqs.get_queue_attributes(QueueUrl=self.world.dlq, AttributeNames=["QueueArn"])
            sqs.start_message_move_task(SourceArn=answer["Attributes"]["QueueArn"])
            self._log("dead letters redriven", f"{len(dead)} messages")
        return bool(dead)

    def overwrite_state(self) -> None:
        """Put the sync state whole now and then, as the Lambda that the system replaces does."""
        if self._other_program.random() < 0.02 and self.checks.records.state:
            item = {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncStartedAt": to_iso(self.now)}
            self.world.memory.put_item(TableName=self.world.ledger, Item=to_wire(item))
            self._log("state overwritten")

    def let_others_act(self) -> None:
        """Let a webhook claim a new event now and then, just when a person starts a run, and others act."""
        young = [
            sent
            for sent in self.customers.in_flight
            if self.now < sent.event.created + CLAIM_SECONDS // 3 and not self.webhook.has_handled(sent.event)
        ]
        if young and not self.paused and self._people.random() < 0.2:
            self._deliver(self._people.choice(young), Handling.CLAIMS)
            self._queue_event({"requestedAt": to_iso(self.now), "lookbackHours": 30})
            # Without a first run, events never expire, and one may fail until time passes.
            while self._produce(self._people, {}) and self._is_first_run_recorded:
                pass
            self._consume(self._people, {})
        super().let_others_act()
        if self.neighbour and self.neighbour.act_now_and_then():
            self._log("neighbour acted")

    def rotate_key(self, rng: random.Random) -> bool:
        """Rotate the key; the new one is in the parameter at once, or only when the key is mended.

        A mistaken key is mended first: a function that lost its key in the middle of a run would go on
        with that of the other account.
        """
        if self.world.ssm.value == OTHER_KEY:
            return False
        self._keys += 1
        key = f"{KEY}_{self._keys}"
        self.world.account.keys = {key}
        is_late = rng.random() < 0.5
        if not is_late:
            self.world.ssm.value = key
        self._log(f"key rotated{', parameter later' if is_late else ''}")
        return True

    def mend_key(self, rng: random.Random) -> bool:
        """Put the valid key into the parameter.

        The key of another account stays while an invocation is paused, which may have read it and would go
        on with it.
        """
        (key,) = self.world.account.keys
        if self.world.ssm.value == key or (self.paused and self.world.ssm.value == OTHER_KEY):
            return False
        if self.world.ssm.value == OTHER_KEY:
            self.world.invocations.end_idle_processes()
        self.world.ssm.value = key
        self._log("key mended")
        return True

    def pass_blind_night(self, rng: random.Random) -> None:
        """Let a night pass in which the key may not read events, right after a sale whose webhook is at work.

        Without events, only the grace protects a webhook. As the run warns, a webhook that is still on its
        way for an older session cannot be fenced off, so these events are lost; and nothing else runs during
        the night.
        """
        self._finish_invocations(rng)
        at = night(self.nights)
        self.wait_until(at - GRACE // 2)
        sale = self.customers.open_session(rng, self.now)
        self.wait(1)
        self._complete(sale)
        self.customers.lose_events_of_sessions_before(at - GRACE)
        self.webhook.lose_work_of_sessions_before(at - GRACE)
        self.world.account.may_read_events = False
        self.start_night(rng)
        self._log("key cannot read events")
        self._drain(rng)
        self.world.account.may_read_events = True

    def pass_filtered_night(self, rng: random.Random) -> None:
        """Let a night pass with a filter that leaves out every session, also those that wait, or some."""
        self._finish_invocations(rng)
        passing = self._list_passing_names()
        if passing and self._filters.random() < 0.5:
            self._correct_filter_in_time(rng, self._filters.choice(passing))
            return
        self.world.set_filter(WRONG_FILTER)
        self.start_night(rng)
        self._log("wrong filter")
        self._drain(rng)
        self.world.set_filter(FILTER)

    def _list_passing_names(self) -> list[str]:
        """Return the names of user ids that the next night lists for certain."""
        at = night(self.nights)
        listed = [
            sale.spec.metadata
            for sale in self.customers.sales.values()
            if not (sale.is_foreign or sale.is_gone)
            and sale.spec.created > at - DAY
            and (sale.spec.completed_at or at) < at - GRACE
        ]
        return [name for name in ("userId", "user_id") if any(name in metadata for metadata in listed)]

    def _correct_filter_in_time(self, rng: random.Random, name: str) -> None:
        """Let a night list with a filter that leaves out some, and start one with the right filter."""
        self.world.set_filter(f"{FILTER} metadata.{name}")
        self.start_night(rng)
        while self._produce(rng, {}):
            pass
        self.world.set_filter(FILTER)
        self.wait(GRACE)
        self._queue_event({"requestedAt": to_iso(self.now), "lookbackHours": 1})
        while self._produce(rng, {}):
            pass
        self._log("filter corrected in time", name)
        self._drain(rng)

    def pass_months(self, rng: random.Random) -> None:
        """Let months pass without a schedule, then a night, and let a payment arrive after that."""
        self._finish_invocations(rng)
        for _ in range(2):
            self._pass_quiet_night(rng)
        days = self._waiting.choice(MONTHS)
        self.wait(days * DAY)
        self._log("schedule paused for months", f"{days} days")
        self.expire_sessions()
        self.expire_entries()
        self._pass_quiet_night(rng)
        late = [
            sale
            for sale in self.customers.list_unpaid()
            if sale.spec.intent_status == "processing" and sale.id in self.checks.records.pending
        ]
        if late:
            self._settle(self._waiting.choice(late))

    def come_to_rest(self, rng: random.Random, nights: int = 2) -> None:
        """End all accidents and webhooks, let everything that began end, and pass quiet nights.

        One more night passes if a session that need not wait has an entry: only a run whose window is later
        asks about it. One that is older than 30 days may be due after a week.
        """
        self.world.memory_sqs.rejects = lambda operation, entry: False
        self._log("quiet")
        self._finish_invocations(rng)
        for _ in range(nights):
            self._pass_quiet_night(rng)
        left = self._list_unfinished()
        for _ in range(NIGHTS_UNTIL_DUE):
            if any(self.now - sale.spec.created >= NIGHTLY for sale in self._list_unfinished()):
                self._pass_quiet_night(rng)
        if left:
            self._pass_quiet_night(rng)

    def _list_unfinished(self) -> list[Sale]:
        """Return the sales whose entry is no longer needed, or is of an order that no run has told of."""
        waiting = self.list_waiting()
        pending = [self.customers.sales[session_id] for session_id in self.checks.records.pending]
        return [sale for sale in pending if sale.id not in waiting or self.is_untold(sale)]

    def _finish_invocations(self, rng: random.Random) -> None:
        """Let everything that began end without further accidents."""
        self.mend_key(rng)
        for invocation in list(self.paused):
            invocation.accidents = {}
            self.world.invocations.resume(invocation)
        self.mend_key(rng)
        self._drain(rng)

    def _pass_quiet_night(self, rng: random.Random) -> None:
        while night(self.nights) < self.now:
            self.nights += 1
        self.pending_before = self.list_due(night(self.nights))
        self.start_night(rng)
        self._drain(rng)
        if self.neighbour:
            self.neighbour.finish()

    def _drain(self, rng: random.Random) -> None:
        """Invoke both functions until nothing is queued for them, before and after a redrive."""
        for _ in range(2):
            while self._produce(rng, {}) or self._consume(rng, {}) or self.wait_for_message(rng):
                pass
            self.redrive(rng)


@contextmanager
def open_night_shop(seed: int, config: ShopConfig) -> Iterator[NightShop]:
    """Open a shop whose functions are patched until the end of the block."""
    shop = NightShop(seed, config)
    with ExitStack() as stack:
        stack.enter_context(shop.world.patched())
        stack.enter_context(deliveries_by_event(shop.webhook.acknowledged))
        if config.small_pages:
            stack.enter_context(small_pages())
        stack.callback(shop.world.invocations.kill_all)
        yield shop
