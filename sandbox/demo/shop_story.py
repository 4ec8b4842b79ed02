"""The demo with a generated shop whose webhook lost orders, which the sync recovers."""

import time
from collections import Counter
from datetime import UTC, datetime

from ops.runs.follow import RunProgress
from sandbox.demo.options import Options
from sandbox.demo.scenes import (
    DemoStage,
    follow_run,
    leave,
    run_producer,
    set_stage,
    show_counters,
    show_dead,
    show_details,
    show_orders,
    show_summary,
    verdict,
)
from sandbox.demo.screen import DemoScreen
from sandbox.demo.services import DemoServices
from testkit.fake_stripe import FakeStripeAdmin, FaultKind, StripeFault
from testkit.invariants import verify
from testkit.shop import Expected, Shop, make_shop, seed_table

# The default of a deployment. A larger shop is processed in one run, too.
MAX_SESSIONS = 500
# An idle machine needs much less.
RUN_SECONDS = 120.0
REDRIVE_SECONDS = 60.0
# Faults of Stripe: each hits one session that has to be fetched, for this number of times. Three tries are
# made immediately, so that the second session also waits for a later delivery.
HICCUPS = ((FaultKind.RATE_LIMIT, 2), (FaultKind.SERVER_ERROR, 4), (FaultKind.DROP, 1))


def tell_shop_story(
    screen: DemoScreen, services: DemoServices, options: Options, stripe_url: str, stop_command: str
) -> int:
    """Run the demo and return the exit code: 1 if an order is missing, duplicated or changed.

    With `options.morning` the dead messages are left to the operator.
    """
    limit = max(MAX_SESSIONS, options.sessions)
    stage = set_stage(screen, services, {"StripeApiBase": stripe_url, "MaxSessions": limit})
    stripe = FakeStripeAdmin(stripe_url)
    shop = _open_shop(stage, stripe, options)
    run_id, before = _run(stage, shop)
    _look_at(stage, run_id, before)
    if options.morning:
        _heal(stripe, shop)
        leave(stage, run_id, stop_command)
        return 0
    _mend(stage, stripe, shop, run_id, before)
    code = _check(stage, shop)
    if options.keep:
        leave(stage, run_id, stop_command)
    return code


def _open_shop(stage: DemoStage, stripe: FakeStripeAdmin, options: Options) -> Shop:
    screen = stage.screen
    with screen.step("Open a shop and lose some of its orders"):
        shop = make_shop(options.sessions, options.seed, int(time.time()))
        stripe.add_sessions(shop.sessions)
        seed_table(stage.services.client("dynamodb"), stage.stack.table, shop)
        for fault in _faults(shop):
            stripe.add_fault(fault)
        found = Counter(truth.expected for truth in shop.truth)
        lost = found[Expected.ORDER_RECOVERED] + found[Expected.DEAD]
        screen.say(
            f"{len(shop.sessions)} Checkout sessions were completed at Stripe in the last day. The webhook "
            f"wrote {found[Expected.ORDER_KEPT]} orders into DynamoDB; {found[Expected.SKIPPED]} sessions "
            f"need none. {lost} have none and should: their webhook was lost."
        )
        screen.say(
            f"Stripe has a bad night, too: it answers {found[Expected.DEAD]} of these sessions with 404, and "
            "a few requests with 429, with 500 or not at all."
        )
    return shop


def _faults(shop: Shop) -> list[StripeFault]:
    lost = [truth.session_id for truth in shop.truth if truth.expected is Expected.ORDER_RECOVERED]
    hiccups = [
        StripeFault(kind, session=session, times=times)
        for (kind, times), session in zip(HICCUPS, lost, strict=False)
    ]
    return hiccups + [StripeFault(FaultKind.MISSING, session=session) for session in shop.dead_sessions]


def _run(stage: DemoStage, shop: Shop) -> tuple[str, RunProgress]:
    with stage.screen.step("The nightly schedule starts the producer; the queue feeds the consumer"):
        scheduled = datetime.fromtimestamp(shop.recipe.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        run_id = run_producer(stage, {"trigger": "scheduled", "scheduledTime": scheduled})["runId"]
        stage.screen.say(
            "The consumer looks for each order, fetches what is missing from Stripe, and writes it together "
            "with the run's counters in one transaction."
        )
        settled = follow_run(stage, run_id, until=lambda progress: progress.is_settled, timeout=RUN_SECONDS)
    return run_id, settled


def _look_at(stage: DemoStage, run_id: str, progress: RunProgress) -> None:
    screen = stage.screen
    with screen.step("What the run did"):
        show_summary(stage, progress, run_id)
    with screen.step("The orders it recovered, marked source = nightly_sync"):
        orders = stage.orders(run_id)
        show_orders(stage, orders)
        show_details(stage, orders)
    with screen.step("What it could not do: the dead-letter queue"):
        show_dead(stage, stage.dead())


def _mend(stage: DemoStage, stripe: FakeStripeAdmin, shop: Shop, run_id: str, before: RunProgress) -> None:
    screen = stage.screen
    with screen.step("Stripe finds the sessions again: the dead letters go back to the queue"):
        _heal(stripe, shop)
        screen.say(f"{stage.redrive()} messages moved back; the consumer tries them again.")
        after = follow_run(
            stage,
            run_id,
            until=lambda progress: progress.is_settled and not progress.dead,
            timeout=REDRIVE_SECONDS,
        )
        screen.say("The run's counters have corrected themselves:")
        show_counters(stage, before, after)


def _heal(stripe: FakeStripeAdmin, shop: Shop) -> None:
    for session in shop.dead_sessions:
        stripe.heal(session)


def _check(stage: DemoStage, shop: Shop) -> int:
    screen = stage.screen
    with screen.step("Check every session against what the shop knows to be true"):
        screen.say(
            "Read with plain boto3 and judged by the seeder's own list: nothing of the code that is checked "
            "takes part."
        )
        problems = verify(stage.services.client("dynamodb"), stage.stack.table, shop, healed=True)
        kept = sum(truth.expected is Expected.ORDER_KEPT for truth in shop.truth)
        right = (
            f"All {len(shop.truth)} sessions are right: no order is missing, none is there twice, and the "
            f"{kept} orders of the webhook are as they were, byte for byte."
        )
        return verdict(screen, problems, right)
