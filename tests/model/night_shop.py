"""A shop and its nights: everything that can happen, one action after the other, in any order.

Each action draws what it needs from the `rng` it is given, and answers whether there was anything to do. Both
players use the same ones: the seeded driver and Hypothesis.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from testkit.fake_stripe import api
from testkit.world import KEY
from tests.model.books import number, text
from tests.model.customer_actions import CustomerActions
from tests.model.function_actions import FunctionActions
from tests.model.model_world import Shape
from tests.simulation.history import small_pieces
from tests.simulation.plans import night


class NightShop(CustomerActions, FunctionActions):
    """With what happens to its queue and its key, and the way to rest."""

    # The queue

    def duplicates(self, rng: random.Random) -> bool:
        def twice(message: Any) -> None:
            self.world.memory_sqs.duplicate(self.world.queue, message.message_id)
            self._did("message duplicated", message.message_id[-4:])

        return self._one_of(rng, self.world.memory_sqs.messages(self.world.queue), twice)

    def redrives(self, rng: random.Random) -> bool:
        sqs, dead = self.world.memory_sqs, self.world.memory_sqs.messages(self.world.dlq)
        if dead:
            named = sqs.get_queue_attributes(QueueUrl=self.world.dlq, AttributeNames=["QueueArn"])
            sqs.start_message_move_task(SourceArn=named["Attributes"]["QueueArn"])
            self._did("operator redrives", f"{len(dead)} messages")
        return bool(dead)

    # The key

    def rotates_the_key(self, rng: random.Random) -> bool:
        """The new one is in the parameter at once, or when somebody notices."""
        self._keys += 1
        key = f"{KEY}_{self._keys}"
        self.world.account.keys = {key}
        late = rng.random() < 0.5
        if not late:
            self.world.ssm.value = key
        self._did(f"key rotates{', parameter later' if late else ''}", "")
        return True

    def mends_the_key(self, rng: random.Random) -> bool:
        (key,) = self.world.account.keys
        if self.world.ssm.value == key:
            return False
        self.world.ssm.value = key
        self._did("key mended", "")
        return True

    # Coming to rest

    def comes_to_rest(self, rng: random.Random, nights: int = 2) -> None:
        """No more accidents, no more webhooks; what was begun ends, then so many quiet nights, and one more
        where an entry's session still lies in the windows: only a run whose window has passed it asks."""
        self.world.memory_sqs.rejects = lambda operation, entry: False
        self._did("quiet", "")
        self.mends_the_key(rng)
        for invocation in list(self.paused):
            invocation.accidents = {}
            self.world.invocations.go_on(invocation)
        self._works_off(rng)
        for _ in range(nights):
            self._quiet_night(rng)
        if self.listed_as_paid():
            self._quiet_night(rng)

    def _quiet_night(self, rng: random.Random) -> None:
        while night(self.nights) < self.now:
            self.nights += 1
        self.waited_for = frozenset(self.books.pending)
        self.night_falls(rng)
        self._works_off(rng)

    def listed_as_paid(self) -> set[str]:
        """Those that are kept as pending although they are paid, in the window of the latest run."""
        run = self.books.runs[text(self.books.state, "lastSyncRunId")]
        start, end = number(run, "lookbackStart"), number(run, "lookbackEnd")
        kept = (self.customers.sales[session_id] for session_id in self.books.pending)
        return {sale.id for sale in kept if sale.is_paid and start <= sale.spec.created <= end}

    def _works_off(self, rng: random.Random) -> None:
        for _ in range(2):
            while self._produces(rng, {}) or self._consumes(rng, {}) or self.waits_for_a_message(rng):
                pass
            self.redrives(rng)


@contextmanager
def night_shop(seed: int, shape: Shape) -> Iterator[NightShop]:
    """Open from here on; nothing of it is left afterwards."""
    shop = NightShop(seed, shape)
    acknowledged = shop.webhook.acknowledged
    with ExitStack() as stack:
        stack.enter_context(shop.world.wired())
        told = mock.patch.object(api, "is_delivered", lambda _store, event: event.id in acknowledged)
        stack.enter_context(told)
        if shape.small_pieces:
            stack.enter_context(small_pieces())
        stack.callback(shop.world.invocations.kill_all)
        yield shop
