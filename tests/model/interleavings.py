"""The second model: a webhook in three steps between the steps of one commit, in every order.

The webhook checks whether its event was handled, writes its order, and marks the event. The consumer looks
for the order, fetches the session, looks again, and commits. Each of the 35 orders of these seven steps is
played with the consumer's real code, and the webhook takes its steps between the consumer's calls.

`python -m tests.model.interleavings` prints what is left and how long the window for it is.
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from unittest import mock

from consumer.session_group import SessionGroup
from infra.arguments import ArgumentParser
from recon.domain.message import dumps
from recon.dynamodb.outcome_writer import Recheck
from testkit.builders import RUN, a_message
from testkit.doubles.faults import ClientCall
from testkit.fake_stripe.store import make_events
from testkit.shop import build_session
from testkit.world import FUNCTION_TIMEOUT, LambdaContext
from tests.model.model_world import ModelWorld, ShopConfig
from tests.model.webhook import Webhook

CHECK, WRITE, MARK = WEBHOOK = ("webhook checks", "webhook writes", "webhook marks")
LOOK, FETCH, LOOK_AGAIN, COMMIT = OURS = ("we look", "we fetch", "we look again", "we commit")
NEXT_RUN = "20241128T020000Z"
# The consumer's steps by method and count of the call.
_STEP_BY_CALL = {
    ("query", 1): LOOK,
    ("retrieve", 1): FETCH,
    ("query", 2): LOOK_AGAIN,
    ("transact_write_items", 1): COMMIT,
}
type StepOrder = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """Which rules are on. `fence`: the run knows the event, so that the commit marks it as handled."""

    second_look: bool = True
    fence: bool = True


@dataclass(frozen=True)
class StepResult:
    """The number of orders after the steps, and the drift that the next run's outcome reports."""

    orders: int
    drift: tuple[str, ...]


def list_step_orders() -> Iterator[StepOrder]:
    """Yield every way to put the webhook's three steps between our four."""
    count = len(WEBHOOK) + len(OURS)
    for places in combinations(range(count), len(WEBHOOK)):
        webhook, ours = iter(WEBHOOK), iter(OURS)
        yield tuple(next(webhook if at in places else ours) for at in range(count))


def is_left(order: StepOrder, rules: Rules) -> bool:
    """Return whether an order doubles by the argument of docs/correctness.md."""
    at = {step: place for place, step in enumerate(order)}
    unseen = at[WRITE] > at[LOOK_AGAIN if rules.second_look else LOOK]
    if not rules.fence:
        return unseen
    # Our commit marks the event: a later check stops the webhook, and an earlier mark makes us look again.
    is_noticed = rules.second_look and at[MARK] < at[COMMIT]
    return unseen and at[CHECK] < at[COMMIT] and not is_noticed


def play_steps(order: StepOrder, rules: Rules) -> StepResult:
    shop = _SteppedShop(order, rules)
    with ExitStack() as stack:
        stack.enter_context(shop.world.patched())
        if not rules.second_look:
            see_nothing = mock.patch.object(
                SessionGroup, "_recheck_orders", lambda _, results: Recheck(list(results), {})
            )
            stack.enter_context(see_nothing)
        shop.consume(RUN)
        orders = len(shop.world.orders(shop.spec.id))
        shop.consume(NEXT_RUN)
    outcome = shop.world.outcome(shop.spec.id, NEXT_RUN) or {}
    return StepResult(orders, tuple(outcome.get("drift", ())))


class _SteppedShop:
    """A world with one session, whose webhook takes its steps before the consumer's calls."""

    def __init__(self, order: StepOrder, rules: Rules) -> None:
        # Without a fence, nor are events read that Stripe has delivered.
        off = {} if rules.fence else {"SYNC_WEBHOOK_FENCE": "off"}
        self.world = ModelWorld(0, ShopConfig(settings=off))
        # Of a session that is opened a second later, the webhook's order would name the payment only.
        self.spec = build_session("user1", int(self.world.clock.now) - 1)
        self.world.sells(self.spec)
        (self._event,) = make_events(self.spec)
        self._fence = rules.fence
        self._webhook = Webhook(self.world)
        self._is_new_event = False
        self._steps = list(order)
        self._calls: Counter[str] = Counter()
        for client in (self.world.dynamodb, self.world.endpoints):
            client.plan = self._plan

    def consume(self, run_id: str) -> None:
        """Consume a message of the session in a run, and let the webhook take its remaining steps."""
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
        self._take_steps_before(None)

    def _plan(self, call: ClientCall) -> None:
        self._calls[call.method] += 1
        step = _STEP_BY_CALL.get((call.method, self._calls[call.method]))
        if step in self._steps:
            self._take_steps_before(step)

    def _take_steps_before(self, ours: str | None) -> None:
        """Take the webhook's steps before one of ours; steps of ours that are switched off are passed."""
        while self._steps and (step := self._steps.pop(0)) != ours:
            if step == CHECK:
                self._is_new_event = not self._webhook.has_handled(self._event)
            elif self._is_new_event and step == WRITE:
                self._webhook.write_order(self.spec)
            elif self._is_new_event and step == MARK:
                self._webhook.mark_handled(self._event, self.spec, wrote_order=True)


@dataclass(frozen=True)
class StepSeconds:
    """Seconds from our look to our second look, from there to the commit, from the webhook's check to its
    write, and from there to its mark."""

    fetching: float
    committing: float
    writing: float
    marking: float


def draw_seconds(rng: random.Random) -> StepSeconds:
    """Return assumed durations: Stripe takes 0.1 to 0.5 s, DynamoDB 5 to 30 ms, a webhook's fetch up to 1
    s."""
    return StepSeconds(
        rng.uniform(0.1, 0.5), rng.uniform(0.005, 0.03), rng.uniform(0.1, 1.0), rng.uniform(0.005, 0.03)
    )


def window(taken: StepSeconds, rules: Rules) -> float:
    """Return the seconds within which a webhook must begin to leave a double; infinite if nothing stops it.

    The webhook begins at s, and our commit is at 0. Its write must come after the look that could have seen
    it, its check before our commit, and, if its mark would make us look again, its mark after our commit.
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
    return sum(window(draw_seconds(rng), rules) for _ in range(draws)) / draws


def table() -> str:
    """Return, for each set of rules, the number of orders that leave a double and the mean window in
    seconds."""
    lines = ["second look  fence  doubles of 35  window"]
    for rules in (Rules(), Rules(second_look=False), Rules(fence=False), Rules(False, False)):
        doubles = sum(play_steps(order, rules).orders > 1 for order in list_step_orders())
        seconds = mean_window(rules)
        shown = "no end" if seconds == float("inf") else f"{seconds:.2f} s"
        on = {True: "on ", False: "off"}
        lines.append(f"{on[rules.second_look]}          {on[rules.fence]}    {doubles:2}             {shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    ArgumentParser(prog="python -m tests.model.interleavings", description=__doc__).parse_args()
    print(table())  # noqa: T201 - a program for a terminal
