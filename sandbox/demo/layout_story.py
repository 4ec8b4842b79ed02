"""The demo of a shop with its own layout: find the file, try it, deploy it, and run two nights."""

import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from ops.cli.commands.layout import layout
from ops.cli.commands.missing import missing
from ops.cli.commands.run import run
from ops.runs.sessions import OutcomeFilter, read_sessions
from recon.domain.shape import strip_comments
from sandbox.demo.operator_calls import call_operator
from sandbox.demo.options import Options
from sandbox.demo.scenes import DemoStage, follow_run, leave, run_producer, set_stage, verdict
from sandbox.demo.screen import DemoScreen
from sandbox.demo.services import DemoServices
from sandbox.stack import STRIPE_KEY, ShopNames, put_stripe_key
from testkit.fake_stripe import FakeStripeAdmin
from testkit.invariants import to_wire
from testkit.invariants.layout_check import verify_layout
from testkit.shop.layout_shop import Fate, LayoutShop, make_layout_shop
from testkit.shop.layouts import ShopLayout
from testkit.shop.records import Record

DAY = 24 * 3600
RUN_SECONDS = 120.0
_WRITES_PER_BATCH = 25


def tell_layout_story(
    screen: DemoScreen, services: DemoServices, options: Options, stripe_url: str, stop_command: str
) -> int:
    """Run the demo and return the exit code: 1 if a result is wrong or the shop's table was written."""
    shop = make_layout_shop(options.layout, options.sessions, options.seed, int(time.time()) - DAY)
    place = _open_shop(screen, services, stripe_url, shop)
    file = _find_file(screen, services, stripe_url, place)
    parameters = {"StripeApiBase": stripe_url, "Shape": file, "LedgerTable": "create"}
    stage = set_stage(screen, services, parameters, place)
    first = _run_night(stage, shop.first_night, "The first night")
    with screen.step("The webhook gets some events again, as `stripe events resend` sends them"):
        _put(services, place.table, shop.late_items)
        screen.say(
            f"It does its own work on {len(shop.late_items)} orders: stock, mails and status are the shop's."
        )
    second = _run_night(stage, shop.first_night + DAY, "The next night", first)
    code = _check(stage, shop, [first, second])
    if options.keep:
        leave(stage, second, stop_command)
    return code


def _open_shop(screen: DemoScreen, services: DemoServices, stripe_url: str, shop: LayoutShop) -> ShopNames:
    name = f"sync-{uuid.uuid4().hex[:8]}"
    place = ShopNames(name, f"{name}-shop", f"/{name}/stripe-key")
    with screen.step("Open a shop with a layout of its own, and lose some of its orders"):
        _create_table(services, place.table, shop.layout)
        put_stripe_key(services.client, place.secret_parameter, STRIPE_KEY)
        FakeStripeAdmin(stripe_url).add_sessions(shop.sessions)
        _put(services, place.table, shop.items)
        lost = shop.count(Fate.LATE) + shop.count(Fate.LOST)
        screen.say(
            f"It {shop.layout.what}. {len(shop.sessions)} Checkout sessions were completed at Stripe. "
            f"{shop.count(Fate.FOUND)} orders are done, {shop.count(Fate.REFUNDED)} sessions were refunded, "
            f"and {lost} webhooks were lost."
        )
    return place


def _create_table(services: DemoServices, table: str, shop: ShopLayout) -> None:
    kinds = ("HASH", "RANGE")

    def to_schema(keys: Iterable[str]) -> list[Record]:
        return [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)]

    names = dict.fromkeys((*shop.keys, *(key for keys in shop.indexes.values() for key in keys)))
    indexes = [
        {"IndexName": name, "KeySchema": to_schema(keys), "Projection": {"ProjectionType": "ALL"}}
        for name, keys in shop.indexes.items()
    ]
    more: Record = {"GlobalSecondaryIndexes": indexes} if indexes else {}
    client: Any = services.client("dynamodb")
    client.create_table(
        TableName=table,
        KeySchema=to_schema(shop.keys),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def _put(services: DemoServices, table: str, items: Iterable[Record]) -> None:
    client: Any = services.client("dynamodb")
    for batch in batched(items, _WRITES_PER_BATCH):
        writes = [{"PutRequest": {"Item": to_wire(item)}} for item in batch]
        answer = client.batch_write_item(RequestItems={table: writes})
        if answer.get("UnprocessedItems"):
            raise RuntimeError("the emulated DynamoDB left items unwritten")


def _find_file(screen: DemoScreen, services: DemoServices, stripe_url: str, place: ShopNames) -> str:
    """Show the two commands that come before a deployment, and return the text of the file."""
    endpoint = services.client.endpoint
    given = [f"StripeSecretParameter={place.secret_parameter}", f"StripeApiBase={stripe_url}"]
    with screen.step("`nightly-sync layout` finds where its orders are, and prints the file"):
        file = call_operator(endpoint, place.name, layout, set_=[f"CommerceTable={place.table}", *given])
        screen.plain(_indent(file))
    text = strip_comments(file)
    with screen.step("`nightly-sync run --dry-run --shape` tries the file before anything is deployed"):
        changes = [*given, f"Shape={text}"]
        shown = call_operator(endpoint, place.name, run, dry_run=True, lookback_hours=2 * 24, set_=changes)
        screen.plain(_indent(shown))
    return text


def _run_night(stage: DemoStage, night: int, title: str, before: str | None = None) -> str:
    """Run a night and show what it found, also of what the run `before` missed. Return the run's id."""
    with stage.screen.step(f"{title}: the sync looks up each session, and writes nothing of the shop's"):
        scheduled = datetime.fromtimestamp(night, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        run_id: str = run_producer(stage, {"trigger": "scheduled", "scheduledTime": scheduled})["runId"]
        follow_run(stage, run_id, until=lambda seen: seen.is_settled, timeout=RUN_SECONDS)
        found, missed = _list_sessions(stage, run_id, "exists"), _list_sessions(stage, run_id, "missing")
        late = found & _list_sessions(stage, before, "missing") if before else set()
        refunded = _list_sessions(stage, run_id, "refunded")
        rows = [
            ["found", str(len(found)), "the shop has done the order"],
            ["late", str(len(late)), "of these, missing the night before"],
            ["missing", str(len(missed)), "paid, and the shop has not done the order"],
            ["refunded", str(len(refunded)), "no order is due"],
        ]
        stage.screen.table(["", "sessions", ""], rows, right=["sessions"])
    with stage.screen.step("`nightly-sync missing`"):
        stage.screen.plain(_indent(call_operator(stage.stack.endpoint, stage.stack.name, missing)))
    return run_id


def _list_sessions(stage: DemoStage, run_id: str, word: str) -> set[str]:
    """Return the sessions with this outcome or reason in a run."""
    sessions = read_sessions(stage.table, run_id, OutcomeFilter())
    return {one.session_id for one in sessions if word in (one.outcome, one.reason)}


def _check(stage: DemoStage, shop: LayoutShop, run_ids: list[str]) -> int:
    with stage.screen.step("Check every session and every item against what the shop knows to be true"):
        stack = stage.stack
        client = stage.services.client("dynamodb")
        problems = verify_layout(client, stack.table, stack.ledger, shop, run_ids)
        right = (
            f"All {len(shop.sessions)} sessions are right in both nights: {shop.count(Fate.LOST)} orders "
            f"are missing, {shop.count(Fate.LATE)} were found late, and the {len(shop.items_after())} items "
            "of the shop's table are as the shop wrote them, byte for byte."
        )
        return verdict(stage.screen, problems, right)


def _indent(text: str) -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines()).rstrip("\n")
