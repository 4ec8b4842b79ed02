"""The steps that both stories share: deploy, run, follow, summarise, check, keep."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from itertools import groupby, islice
from types import MappingProxyType
from typing import Any

from ops.dlq.dead_letters import DeadLetter, list_dead_letters
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTasks
from ops.dlq.queue import DeadLetterQueue
from ops.dlq.redrive import Redrive
from ops.format.money import Money, totals
from ops.format.skip_reasons import describe_stored_skip
from ops.runs.follow import ProgressReader, RunProgress, follow
from ops.runs.outcomes import skip_reasons
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.retry import Deadline
from sandbox.demo.findings import RecoveredOrder, recovered_orders
from sandbox.demo.look_around import commands, operator_commands
from sandbox.demo.screen import DemoScreen
from sandbox.demo.services import DemoServices
from sandbox.demo.state import stack_names
from sandbox.stack import Parameters, SandboxStack, ShopNames, deploy
from testkit.invariants import Violation

# As on AWS, but with short waits between tries.
QUICK: Parameters = MappingProxyType(
    {
        "ConsumerTimeout": 10,
        "MaxReceiveCount": 3,
        "BackoffBaseSeconds": 1,
        # The fake Stripe allows 25 requests a second on each endpoint, as the real one does.
        "StripeMaxRps": 20,
        "ConsumerConcurrency": 2,
    }
)
INTERVAL_SECONDS = 0.25
SHOWN_ORDERS = 16
SHOWN_ITEMS = 2
SHOWN_DETAILS = 8

COUNTERS: Mapping[str, Callable[[RunProgress], int]] = MappingProxyType(
    {
        "enqueued": lambda progress: progress.enqueued,
        "processed": lambda progress: progress.processed,
        "created": lambda progress: progress.created,
        "skipped": lambda progress: progress.skipped,
        "errors": lambda progress: progress.errors,
    }
)


class DemoError(Exception):
    """The demo cannot continue. The message is the reason."""


@dataclass(frozen=True)
class DemoStage:
    """A deployed stack and the operator's tools for it."""

    screen: DemoScreen
    services: DemoServices
    stack: SandboxStack
    table: Table
    watch: ProgressReader
    box: DeadLetterQueue

    def reasons(self, run_id: str) -> dict[str, int]:
        return dict(skip_reasons(self.table, run_id).most_common())

    def dead(self) -> Sequence[DeadLetter]:
        return list_dead_letters(self.box, self.table, time.time(), no_deadline()).letters

    def redrive(self) -> int:
        """Move the dead messages back and return their number."""
        redrive = Redrive(
            self.box,
            MoveTasks(self.box.client, self.box.url, self.box.source_url),
            self.table,
            no_deadline(),
            now=time.time,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        *_, end = redrive.run(MessageFilter())
        return end.moved

    def orders(self, run_id: str) -> list[RecoveredOrder]:
        return recovered_orders(self.services.client("dynamodb"), self.stack.table, run_id)


def no_deadline() -> Deadline:
    return Deadline(math.inf, time.monotonic, time.sleep)


def set_stage(
    screen: DemoScreen, services: DemoServices, parameters: Parameters, shop: ShopNames | None = None
) -> DemoStage:
    with screen.step("Deploy infra/template.yaml with the functions' zips, as CloudFormation does on AWS"):
        stack = deploy(services.client, {**QUICK, **parameters}, shop=shop)
        sqs = services.client("sqs")
        table = Table(services.client("dynamodb"), stack.table, ledger=stack.ledger)
        watch = ProgressReader(Runs(table, no_deadline()), sqs, stack.queue_url, stack.dlq_url)
        box = DeadLetterQueue(sqs, stack.dlq_url, stack.queue_url)
        screen.say(
            "schedule → producer → SQS queue → consumer → DynamoDB, and a dead-letter queue. "
            "Retries are set to seconds, where AWS gets minutes."
        )
        return DemoStage(screen, services, stack, table, watch, box)


def run_producer(stage: DemoStage, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the producer's response. Raise DemoError if it refused the event."""
    answer = stage.stack.invoke_producer(event)
    body: dict[str, Any] = answer["body"]
    if answer["statusCode"] != HTTPStatus.OK:
        raise DemoError(f"the producer refused the event: {body['message']}")
    window = body["lookbackWindow"]
    stage.screen.say(
        f"Run {body['runId']}: {body['enqueued']} sessions between {window['from']} and {window['to']}, "
        "one message each."
    )
    for warning in body["warnings"]:
        stage.screen.bad(warning)
    return body


def follow_run(
    stage: DemoStage, run_id: str, *, until: Callable[[RunProgress], bool], timeout: float
) -> RunProgress:
    look = partial(stage.watch.read, run_id)
    last = stage.screen.watch(
        follow(
            look, until, timeout=timeout, clock=time.monotonic, sleep=time.sleep, interval=INTERVAL_SECONDS
        )
    )
    if not until(last):
        stage.screen.bad(f"not finished after {timeout:.0f} s; the following is its current state")
    return last


def show_summary(stage: DemoStage, progress: RunProgress, run_id: str) -> None:
    reasons = [f"{describe_stored_skip(reason)}: {count}" for reason, count in stage.reasons(run_id).items()]
    stage.screen.table(
        ["", "sessions", ""],
        [
            ["enqueued", str(progress.enqueued), "completed at Stripe in the window; one message each"],
            ["created", str(progress.created), "had no order: fetched from Stripe, written once"],
            ["skipped", str(progress.skipped), ", ".join(reasons) or "-"],
            ["errors", str(progress.errors), "given up for now, in the dead-letter queue"],
        ],
        right=["sessions"],
    )


def show_orders(stage: DemoStage, orders: Sequence[RecoveredOrder]) -> None:
    if not orders:
        stage.screen.say("No order was missing.")
        return
    shown = some_of_each_currency(orders)
    stage.screen.table(
        ["order", "created", "amount", "items"],
        [[order.number, order.created_at, describe_amount(order), describe_items(order)] for order in shown],
        right=["amount"],
    )
    if len(orders) > len(shown):
        stage.screen.say(f"… and {len(orders) - len(shown)} more", style="dim")
    stage.screen.good(f"{len(orders)} orders recovered: {recovered_money(orders)}")


def show_details(stage: DemoStage, orders: Sequence[RecoveredOrder]) -> None:
    """Show what some orders say besides their items, if any do."""
    detailed = [order for order in orders if order.details]
    if detailed:
        shown = [[order.number, " · ".join(order.details)] for order in detailed[:SHOWN_DETAILS]]
        stage.screen.say("What the person who ships needs is in the order, too:")
        stage.screen.table(["order", "details"], shown)


def some_of_each_currency(orders: Sequence[RecoveredOrder]) -> list[RecoveredOrder]:
    """Return the first few orders of each currency."""
    each = max(1, SHOWN_ORDERS // len({order.currency for order in orders}))
    groups = groupby(orders, key=lambda order: order.currency)
    return [order for _, group in groups for order in islice(group, each)]


def describe_amount(order: RecoveredOrder) -> str:
    if order.amount is None or order.currency is None:
        return "free"
    return str(Money(order.currency, order.amount))


def describe_items(order: RecoveredOrder) -> str:
    shown = [
        name if quantity == 1 else f"{quantity} x {name}" for name, quantity in order.items[:SHOWN_ITEMS]
    ]
    rest = len(order.items) - SHOWN_ITEMS
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def recovered_money(orders: Sequence[RecoveredOrder]) -> str:
    paid = [
        Money(order.currency, order.amount)
        for order in orders
        if order.amount is not None and order.currency is not None
    ]
    return " · ".join(map(str, totals(paid))) or "all of them free"


def show_dead(stage: DemoStage, dead: Sequence[DeadLetter]) -> None:
    stage.screen.table(
        ["session", "reason", "tries"],
        [
            [
                short(letter.session_id) if letter.session_id else f"message {letter.message_id}",
                letter.why,
                "-" if letter.attempts is None else str(letter.attempts),
            ]
            for letter in dead
        ],
        right=["tries"],
    )


def short(session_id: str) -> str:
    """Return the beginning and the end of an id. Its end is in the order number."""
    shown = 12
    return session_id if len(session_id) <= 2 * shown else f"{session_id[:shown]}…{session_id[-shown:]}"


def show_counters(stage: DemoStage, before: RunProgress, after: RunProgress) -> None:
    stage.screen.table(
        ["", "before", "after"],
        [[name, str(read(before)), str(read(after))] for name, read in COUNTERS.items()],
        right=["before", "after"],
    )


def verdict(screen: DemoScreen, problems: Sequence[Violation], right: str) -> int:
    """Print the problems, or `right` if there are none. Return the exit code: 1 if there are problems."""
    if not problems:
        screen.good(right)
        return 0
    screen.bad(f"{len(problems)} problems:")
    for problem in problems:
        screen.bad(f"- {problem}")
    return 1


def leave(stage: DemoStage, run_id: str, stop_command: str) -> None:
    """Keep the sandbox running, store its state, and print how to inspect it and how to stop it."""
    home = stage.services.home
    if home is None:
        return
    state = replace(stage.services.state(), stack=stack_names(stage.stack), run_id=run_id)
    state.write(home)
    stage.services.keep = True
    stage.screen.headline("\nLeft up. Look around with these, and end it with the last:\n")
    stage.screen.plain(f"{operator_commands(home)}\n")
    # With another layout, the sync's records are in a table of their own.
    if stage.stack.ledger == stage.stack.table:
        stage.screen.plain(commands(state))
    stage.screen.plain(f"\n# End it\n{stop_command}")
