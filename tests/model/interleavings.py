"""The second model: a webhook in three steps between the steps of one commit, in every order there is.

The webhook checks whether its event was handled, writes its order, and marks the event. The consumer looks
for the order, fetches the session, looks again, and commits. Each of the 35 orders of these seven steps is
played with the consumer's real code, between whose calls the webhook takes its steps.

`python -m tests.model.interleavings` prints what is left, and how long it is.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from unittest import mock

from consumer.session_group import SessionGroup
from infra.arguments import ArgumentParser
from recon.domain.message import dumps
from recon.dynamodb.outcomes import Recheck
from recon.timestamps import HOUR
from testkit.builders import RUN, a_message
from testkit.doubles.faults import ClientCall
from testkit.fake_stripe.specs import SessionSpec
from testkit.fake_stripe.store import make_events
from testkit.world import FUNCTION_TIMEOUT, LambdaContext
from tests.model.model_world import ModelWorld, Shape
from tests.simulation.webhook import Webhook

CHECK, WRITE, MARK = WEBHOOK = ("webhook checks", "webhook writes", "webhook marks")
LOOK, FETCH, LOOK_AGAIN, COMMIT = OURS = ("we look", "we fetch", "we look again", "we commit")
NEXT_RUN = "20241128T020000Z"
_STEP_OF = {
    ("query", 1): LOOK,
    ("retrieve", 1): FETCH,
    ("query", 2): LOOK_AGAIN,
    ("transact_write_items", 1): COMMIT,
}
type Order = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """`fence`: the run knew of the event, so that our commit marks it as handled."""

    second_look: bool = True
    fence: bool = True


@dataclass(frozen=True)
class Came:
    """What an order of steps came to. `drift` is what the next run says of the session."""

    orders: int
    drift: tuple[str, ...]


def all_orders() -> Iterator[Order]:
    """Every way to lay the webhook's three steps between our four."""
    for places in combinations(range(len(WEBHOOK) + len(OURS)), len(WEBHOOK)):
        webhook, ours = iter(WEBHOOK), iter(OURS)
        yield tuple(next(webhook if at in places else ours) for at in range(len(WEBHOOK) + len(OURS)))


def is_left(order: Order, rules: Rules) -> bool:
    """The argument of docs/correctness.md: which orders nothing of ours can tell from good ones."""
    at = {step: place for place, step in enumerate(order)}
    unseen = at[WRITE] > at[LOOK_AGAIN if rules.second_look else LOOK]
    if not rules.fence:
        return unseen
    # Our commit marks the event: who checks later does nothing. Who marked before makes us look again.
    told = rules.second_look and at[MARK] < at[COMMIT]
    return unseen and at[CHECK] < at[COMMIT] and not told


def played(order: Order, rules: Rules) -> Came:
    shop = _Shop(order, rules)
    with ExitStack() as stack:
        stack.enter_context(shop.world.wired())
        if not rules.second_look:
            blind = mock.patch.object(
                SessionGroup, "_look_again", lambda _, results: Recheck(list(results), {})
            )
            stack.enter_context(blind)
        shop.settles(RUN)
        orders = len(shop.world.orders(shop.spec.id))
        shop.settles(NEXT_RUN)
    outcome = shop.world.outcome(shop.spec.id, NEXT_RUN) or {}
    return Came(orders, tuple(outcome.get("drift", ())))


class _Shop:
    def __init__(self, order: Order, rules: Rules) -> None:
        self.world = ModelWorld(0, Shape())
        created = int(self.world.clock.now) - HOUR
        self.spec = SessionSpec("cs_test_0", created, metadata={"userId": "user1"})
        self.world.sells(self.spec)
        (self._event,) = make_events(self.spec)
        self._fence = rules.fence
        self._webhook = Webhook(self.world)
        self._goes_on = False
        # What the webhook does before each of our steps, and, under None, after the last one.
        self._before: dict[str | None, list[str]] = {}
        waiting: list[str] = []
        for step in order:
            if step in OURS:
                self._before[step], waiting = waiting, []
            else:
                waiting.append(step)
        self._before[None] = waiting
        self._seen: dict[str, int] = {}
        for client in (self.world.dynamodb, self.world.endpoints):
            client.plan = self._plan

    def settles(self, run_id: str) -> None:
        message = a_message(
            run_id=run_id,
            session_id=self.spec.id,
            user_id="user1",
            created=self.spec.created,
            amount_total=self.spec.amount_total,
            currency=self.spec.currency,
            event_ids=(self._event.id,) if self._fence else (),
        )
        self.world.memory_sqs.send_message(QueueUrl=self.world.queue, MessageBody=dumps(message))
        self.world.invocations.begin(
            "consumer",
            lambda: self.world.poller.deliver(self.world.handle, 1, LambdaContext(self.world.clock)),
            {},
            FUNCTION_TIMEOUT,
            lambda invocation: None,
        )
        self._takes(None)

    def _plan(self, call: ClientCall) -> None:
        self._seen[call.method] = self._seen.get(call.method, 0) + 1
        step = _STEP_OF.get((call.method, self._seen[call.method]))
        if step:
            self._takes(step)

    def _takes(self, before: str | None) -> None:
        """The webhook's steps before that one of ours; with no second look, that one's go before the next."""
        while before in self._before:
            ours = next(iter(self._before))
            for step in self._before.pop(ours):
                self._take(step)

    def _take(self, step: str) -> None:
        if step == CHECK:
            self._goes_on = not self._webhook.knows(self._event)
        elif self._goes_on and step == WRITE:
            self._webhook.writes(self.spec)
        elif self._goes_on:
            self._webhook.marks(self._event, created=True)


# How long it is


@dataclass(frozen=True)
class Durations:
    """Seconds from our look to our second look, from there to the commit; from the webhook's check to its
    write, from there to its mark."""

    fetching: float
    committing: float
    writing: float
    marking: float


def drawn_durations(rng: random.Random) -> Durations:
    """Assumed, not measured: Stripe answers in 0.1 to 0.5 s, DynamoDB in 5 to 30 ms, a webhook fetches line
    items between its check and its write."""
    return Durations(
        rng.uniform(0.1, 0.5), rng.uniform(0.005, 0.03), rng.uniform(0.1, 1.0), rng.uniform(0.005, 0.03)
    )


def window(taken: Durations, rules: Rules) -> float:
    """Seconds within which a webhook has to begin to leave a double; without end where nothing stops it.

    It begins at s, our commit is at 0: its write must come after the look that could have seen it, its check
    before our commit, and, where our look would be told by its mark, its mark after our commit.
    """
    if not rules.fence:
        return float("inf")
    looked = -taken.committing if rules.second_look else -taken.committing - taken.fetching
    first = looked - taken.writing
    if rules.second_look:
        first = max(first, -taken.writing - taken.marking)
    return -first


def mean_window(rules: Rules, draws: int = 10_000) -> float:
    rng = random.Random(0)
    return sum(window(drawn_durations(rng), rules) for _ in range(draws)) / draws


def table() -> str:
    """Per set of rules: orders of steps that leave a double, and the mean window in seconds."""
    lines = ["second look  fence  doubles of 35  window"]
    for rules in (Rules(), Rules(second_look=False), Rules(fence=False), Rules(False, False)):
        doubles = sum(played(order, rules).orders > 1 for order in all_orders())
        seconds = mean_window(rules)
        shown = "no end" if seconds == float("inf") else f"{seconds:.2f} s"
        on = {True: "on ", False: "off"}
        lines.append(f"{on[rules.second_look]}          {on[rules.fence]}    {doubles:2}             {shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    ArgumentParser(prog="python -m tests.model.interleavings", description=__doc__).parse_args()
    print(table())  # noqa: T201 - a program for a terminal
