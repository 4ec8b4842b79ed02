"""The pipeline with the user's own Stripe test account, which is only read, and the sandbox's table."""

from collections.abc import Mapping

from sandbox.demo.findings import find_problems
from sandbox.demo.options import Options
from sandbox.demo.scenes import (
    DemoError,
    follow_run,
    leave,
    run_producer,
    set_stage,
    show_dead,
    show_orders,
    show_summary,
    verdict,
)
from sandbox.demo.screen import DemoScreen
from sandbox.demo.services import DemoServices

# Up to 500 sessions, each fetched with its lines at 20 requests a second, and three tries for each.
RUN_SECONDS = 300.0
TEST_KEYS = ("sk_test_", "rk_test_")
LIVE_KEYS = ("sk_live_", "rk_live_")


def stripe_key(environ: Mapping[str, str]) -> str:
    """Return the test key in the environment.

    Raise DemoError if there is none or if it is no test key. No message contains any part of it.
    """
    key = environ.get("STRIPE_SECRET", "").strip()
    if not key:
        raise DemoError("--real-stripe needs your test key (sk_test_… or rk_test_…) in STRIPE_SECRET")
    if key.startswith(LIVE_KEYS):
        raise DemoError("STRIPE_SECRET holds a live key; the sandbox takes test keys only")
    if not key.startswith(TEST_KEYS) or not key.isascii() or not key.isprintable():
        raise DemoError("STRIPE_SECRET is no test key: it has to begin with sk_test_ or rk_test_")
    return key


def tell_account_story(
    screen: DemoScreen,
    services: DemoServices,
    options: Options,
    environ: Mapping[str, str],
    stop_command: str,
) -> int:
    """Run the demo and return the exit code: 1 if a listed session has a wrong result."""
    stage = set_stage(screen, services, {"StripeApiBase": environ.get("STRIPE_API_BASE", "")})
    stage.stack.set_stripe_key(stripe_key(environ))
    client = services.client("dynamodb")
    with screen.step(f"A manual run that looks back {options.lookback_hours} hours, into an empty table"):
        # Nothing in an empty table can prove that the key belongs to it.
        event = {"lookbackHours": options.lookback_hours, "confirmEmpty": True}
        run_id = run_producer(stage, event)["runId"]
        progress = follow_run(stage, run_id, until=lambda seen: seen.is_settled, timeout=RUN_SECONDS)
    with screen.step("What the run did"):
        show_summary(stage, progress, run_id)
    with screen.step("The orders it wrote"):
        show_orders(stage, stage.orders(run_id))
    if progress.dead:
        with screen.step("What it could not do: the dead-letter queue"):
            show_dead(stage, stage.dead())
    with screen.step("Check that each paid session that was listed has one order"):
        problems = find_problems(client, stage.stack.table, run_id, progress.enqueued)
        right = f"All {progress.enqueued} sessions are right: one order for each that needs one."
        code = verdict(screen, problems, right)
    if options.keep:
        leave(stage, run_id, stop_command)
    return code
