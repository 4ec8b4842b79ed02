"""The proof of key, table and layout: runs that are held, confirmed, or go on with a warning."""

import pytest

from producer.sample import MAX_PAGES, SAMPLE_PARTS
from recon.domain.message import dumps
from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.runs import NOTHING_FOUND
from recon.errors import InvalidRequest, KeyRejected
from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW, a_message
from testkit.fake_stripe import LineSpec
from testkit.fake_stripe.store import Store
from testkit.world import KEY, wire
from tests.unit.producer.nights import run_id, run_night, scheduled, session_spec

LIFE = DAY + 600
EXISTS = {"outcome": "skipped", "reason": "exists"}


@pytest.fixture
def shop(make_world):
    """Return a world that nothing has proven or confirmed."""
    return make_world(is_confirmed=False)


def sell_sessions(world, count, *, every=HOUR, name="sold"):
    """Sell paid sessions, the newest first, and return their ids."""
    specs = [session_spec(f"cs_test_{name}{n:03}", NOW - HOUR - n * every) for n in range(count)]
    return [world.sells(spec).id for spec in specs]


def read_watermark(world):
    return world.item(*WATERMARK_KEY) or {}


def store_proof(world, session_id):
    key = dict(zip(("PK", "SK"), WATERMARK_KEY, strict=True))
    fields = {"provenBy": session_id, "provenCreated": NOW - DAY}
    world.memory.put_item(TableName=world.table, Item=wire(key | fields))


def warnings(world, run):
    return [warning.partition(":")[0] for warning in world.run(run)["warnings"]]


def list_requests(world, endpoint):
    requests = []
    world.stripe.on_request = lambda request: requests.append(request.endpoint)
    world.body()
    return requests.count(endpoint)


@pytest.mark.parametrize(
    "event", [scheduled(), {}, {"from": "2024-11-20T00:00:00Z", "to": "2024-11-27T00:00:00Z"}]
)
def test_run_is_held_if_no_sampled_session_has_an_order(shop, event):
    sell_sessions(shop, 3)
    body = shop.body(event)
    assert body["status"] == "held"
    assert (body["sampleSize"], body["wouldCreate"]) == (3, 3)
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["unproven"]
    record = shop.run(body["runId"])
    assert (record["status"], record["wouldCreate"], record["enqueued"]) == ("held", 3, 0)
    assert all(word in record["warnings"][0] for word in ("of 3 paid", "account", "mode", "layout", "filter"))
    assert not shop.orders()
    assert not shop.memory_sqs.messages(shop.queue)
    assert "lastCoveredThrough" not in read_watermark(shop)
    assert ("firstLookbackStart" in read_watermark(shop)) is (event == scheduled())
    assert shop.state()["lastSyncStatus"] == "held"


def test_held_run_records_the_money_of_the_missing_orders_by_currency(shop):
    sold = [("eur", 1000), ("eur", 250), ("jpy", 700), ("usd", 40)]
    for n, (currency, amount) in enumerate(sold):
        shop.sells(
            session_spec(
                f"cs_test_{n}", NOW - HOUR - n, currency=currency, lines=(LineSpec("x", unit_amount=amount),)
            )
        )
    shop.webhook_writes("cs_test_3", "u1", NOW - HOUR, source="nightly_sync", syncRunId="r")
    body = shop.body()
    amounts = {"eur": 1250, "jpy": 700}
    assert (body["sampleSize"], body["wouldCreate"], body["wouldCreateAmounts"]) == (4, 3, amounts)
    assert shop.run(body["runId"])["wouldCreateAmounts"] == amounts


@pytest.mark.parametrize(
    "event",
    [scheduled(), {"lookbackHours": 48}, {"from": "2024-11-20T00:00:00Z", "to": "2024-11-27T00:00:00Z"}],
)
@pytest.mark.parametrize("proof", [None, "cs_live_of_the_shop"])
def test_held_run_sends_nothing_and_writes_only_its_own_records(shop, event, proof):
    sell_sessions(shop, 2)
    unpaid = a_message(session_id="cs_test_waiting", created=NOW - 3 * DAY)
    pending = {"PK": "SYSTEM", "SK": "PENDING#cs_test_waiting", "message": dumps(unpaid), "createdAt": NOW}
    shop.memory.put_item(TableName=shop.table, Item=wire(pending))
    if proof:
        store_proof(shop, proof)
    before = {(item["PK"], item["SK"]): item for item in shop.items()}
    body = shop.body(event)
    after = {(item["PK"], item["SK"]): item for item in shop.items()}
    assert body["status"] == "held"
    records = {
        ("SYSTEM", "STRIPE_ORDER_SYNC"),
        ("SYSTEM", f"STRIPE_ORDER_SYNC#{body['runId']}"),
        WATERMARK_KEY,
    }
    assert {key for key in after if after[key] != before.get(key)} <= records
    assert before.keys() <= after.keys()
    assert not shop.memory_sqs.messages(shop.queue)
    assert not shop.hops


def test_order_of_the_webhook_proves_the_table(shop):
    old, new = sell_sessions(shop, 2, every=5 * DAY)[::-1]
    shop.webhook_writes(old, "u1", NOW - 5 * DAY)
    assert run_night(shop)["status"] == "done"
    assert shop.outcome(new)["outcome"] == "created"
    assert (read_watermark(shop)["provenBy"], warnings(shop, run_id())) == (old, [])


def test_order_of_the_sync_proves_nothing(shop):
    [session] = sell_sessions(shop, 1)
    shop.webhook_writes(session, "u1", NOW - HOUR, source="nightly_sync", syncRunId="r")
    body = shop.body()
    assert (body["status"], body["sampleSize"], body["wouldCreate"]) == ("held", 1, 0)


@pytest.mark.parametrize("count", [0, 1])
def test_shop_without_sampled_sessions_goes_on_with_a_warning(shop, count):
    for n in range(count):
        shop.sells(session_spec(f"cs_test_nobody{n}", metadata={}, email=None))
    assert run_night(shop)["status"] == "done"
    assert warnings(shop, run_id()) == ["no_sessions"]


@pytest.mark.parametrize(
    "event", [scheduled(), {}, {"from": "2024-11-20T00:00:00Z", "to": "2024-11-27T00:00:00Z"}]
)
def test_run_retrieves_the_proof_session_before_all_else(shop, event):
    sell_sessions(shop, 1)
    shop.sells(session_spec("cs_test_proof", NOW - 40 * DAY))
    store_proof(shop, "cs_test_proof")
    requests = []
    shop.stripe.on_request = lambda request: requests.append((request.endpoint, request.session))
    shop.body(event)
    assert requests[0] == ("retrieve", "cs_test_proof")
    assert [endpoint for endpoint, _ in requests].count("retrieve") == 1


def test_key_that_reads_the_proof_session_makes_an_empty_window_no_news(shop):
    shop.sells(session_spec("cs_test_proof", NOW - 40 * DAY))
    store_proof(shop, "cs_test_proof")
    assert list_requests(shop, "retrieve") == 1
    assert (shop.run()["status"], warnings(shop, run_id())) == ("done", [])
    assert read_watermark(shop)["lastCoveredThrough"] == NOW - 600


def test_key_that_cannot_read_the_proof_session_is_held(shop):
    sell_sessions(shop, 2)
    store_proof(shop, "cs_live_of_the_shop")
    assert (shop.body()["status"], warnings(shop, run_id())) == ("held", ["wrong_key"])
    assert shop.run()["wouldCreate"] == 2
    assert "cannot read session cs_live_of_the_shop, which" in shop.run()["warnings"][0]


@pytest.mark.parametrize("proof", [None, "cs_live_of_the_shop"])
def test_corrected_key_is_read_again_before_a_run_is_held(shop, proof):
    [session] = sell_sessions(shop, 1)
    if proof:
        store_proof(shop, proof)
    assert shop.body()["status"] == "held"
    of_other = shop.stripe.store
    of_shop = Store()
    of_shop.add(session_spec("cs_live_of_the_shop"))
    shop.webhook_writes("cs_live_of_the_shop", "u1", NOW - HOUR)
    shop.stripe.accept_keys({KEY, "sk_test_corrected"})
    shop.ssm.value = "sk_test_corrected"

    def serve(_request):
        is_corrected = shop.connection.key.read() == "sk_test_corrected"
        shop.stripe.store = of_shop if is_corrected else of_other

    shop.stripe.on_request = serve
    assert run_night(shop, 1)["status"] == "done"
    assert not shop.orders(session)


def test_error_of_the_proof_request_fails_the_run_and_does_not_hold_it(shop):
    store_proof(shop, "cs_test_proof")
    shop.ssm.value = "sk_test_wrong"
    with pytest.raises(KeyRejected):
        shop.produce()
    assert shop.run()["status"] == "failed"


def test_continuation_with_another_key_is_held(make_world):
    """It would list the rest of the window at another account, and move the watermark past the shop's."""
    shop = make_world(is_confirmed=False, SYNC_MAX_SESSIONS="1")
    sessions = sell_sessions(shop, 150, every=60)
    shop.webhook_writes(sessions[0], "u1", NOW - HOUR)
    shop.produce(scheduled())
    sent = shop.run()["enqueued"]
    assert shop.hops
    shop.stripe.store = Store()
    shop.hop_all()
    assert (shop.run()["status"], shop.run()["enqueued"]) == ("held", sent)
    assert warnings(shop, run_id()) == ["wrong_key"]
    assert "lastCoveredThrough" not in read_watermark(shop)


def test_continuation_without_a_proof_goes_on(make_world):
    shop = make_world(SYNC_MAX_SESSIONS="1")
    sell_sessions(shop, 150, every=60)
    shop.produce()
    assert shop.hops
    assert shop.hop_all()["status"] != "held"


def test_sample_is_spread_and_takes_few_requests(shop):
    for n in range(60):
        shop.sells(session_spec(f"cs_test_{n}", NOW - 29 * DAY + n * HOUR))
    sell_sessions(shop, 60, every=60)
    assert list_requests(shop, "list") == SAMPLE_PARTS
    assert shop.run()["sampleSize"] == 50


def test_sample_reads_no_orders_from_before_its_sessions(shop):
    """A user such as `guest` may have hundreds of thousands of orders."""
    sell_sessions(shop, 2)
    shop.body()
    queries = [call.arguments for call in shop.history.calls if call.method == "query"]
    firsts = [query["ExpressionAttributeValues"].get(":first") for query in queries]
    assert {first["S"] for first in firsts if first} == {f"ORDER#{NOW - 2 * HOUR - 300}"}


def test_part_without_paid_sessions_is_read_on_up_to_a_limit(shop):
    for n in range(600):
        shop.sells(session_spec(f"cs_test_{n:03}", NOW - HOUR - n, metadata={}, email=None))
    listed = []
    shop.stripe.on_request = lambda request: listed.append(request.endpoint)
    shop.body({"lookbackHours": 1})
    assert warnings(shop, "20241127T020000Z-8f3c1d") == ["no_sessions"]
    assert listed[: SAMPLE_PARTS + MAX_PAGES - 1] == ["list"] * (SAMPLE_PARTS + MAX_PAGES - 1)


def test_expired_orders_are_not_sampled(make_world):
    shop = make_world(is_confirmed=False, ORDER_TTL_DAYS="2")
    shop.sells(session_spec("cs_test_old", NOW - 3 * DAY))
    assert run_night(shop)["status"] == "done"
    assert warnings(shop, run_id()) == ["no_sessions"]


def test_hold_does_not_age_until_it_is_confirmed(shop):
    sessions = sell_sessions(shop, 1)
    for night in range(0, 60, 10):
        sessions += sell_sessions(shop, 1, every=0, name=f"night{night}") if night == 0 else []
        shop.clock.now = NOW + night * DAY
        shop.sells(session_spec(f"cs_test_late{night}", NOW + night * DAY - HOUR))
        assert shop.body(scheduled(night))["status"] == "held"
    body = shop.body({"confirmEmpty": True})
    shop.drain()
    assert shop.run(body["runId"])["lookbackStart"] == NOW - 25 * HOUR - LIFE
    assert shop.run(body["runId"])["status"] == "done"
    assert len(shop.orders()) == 8
    assert read_watermark(shop)["confirmedBy"] == body["runId"]
    assert run_night(shop, 61)["status"] == "done"


@pytest.mark.parametrize("is_backfilled", [False, True])
@pytest.mark.parametrize(("night", "warns"), [(80, []), (120, ["gap"])])
def test_run_after_a_hold_goes_back_to_the_watermark_up_to_90_days(shop, night, warns, is_backfilled):
    [session] = sell_sessions(shop, 1)
    shop.webhook_writes(session, "u1", NOW - HOUR)
    run_night(shop)
    covered = read_watermark(shop)["lastCoveredThrough"]
    right, shop.stripe.store = shop.stripe.store, Store()
    for held in range(1, night, 15):
        shop.clock.now = NOW + held * DAY
        assert shop.body(scheduled(held))["status"] == "held"
    shop.stripe.store = right
    if is_backfilled:
        backfill = {"from": to_iso(covered - 9 * DAY), "to": to_iso(covered - 8 * DAY)}
        assert shop.night(backfill)["coversThrough"] < covered
    record = run_night(shop, night)
    assert (record["status"], warnings(shop, run_id(night))) == ("done", warns)
    assert record["lookbackStart"] == max(covered - LIFE, NOW + (night - 90) * DAY)


def test_run_after_a_hold_that_was_made_up_for_goes_back_30_days(shop):
    [session] = sell_sessions(shop, 1)
    assert run_night(shop)["status"] == "held"
    shop.webhook_writes(session, "u1", NOW - HOUR)
    assert run_night(shop, 1)["status"] == "done"
    assert run_night(shop, 50)["lookbackStart"] == NOW + 20 * DAY


def test_confirmation_forgets_the_old_proof(shop):
    sell_sessions(shop, 1)
    store_proof(shop, "cs_live_of_the_shop")
    assert shop.body()["status"] == "held"
    shop.body({"confirmEmpty": True})
    assert "provenBy" not in read_watermark(shop)
    shop.drain()
    assert len(shop.orders()) == 1


@pytest.mark.parametrize("event", [{"confirmEmpty": True, "dryRun": True}, {"confirmEmpty": 1}])
def test_confirmation_that_would_be_ignored_is_refused(shop, event):
    assert shop.produce(event)["statusCode"] == 400
    assert not shop.items()


def test_scheduled_event_cannot_confirm(shop):
    with pytest.raises(InvalidRequest, match="confirmEmpty"):
        shop.produce(scheduled(confirmEmpty=True))


@pytest.mark.parametrize(("proof", "warning"), [(None, "unproven"), ("cs_live_of_the_shop", "wrong_key")])
def test_dry_run_previews_and_warns(shop, proof, warning):
    sell_sessions(shop, 2)
    if proof:
        store_proof(shop, proof)
    before = shop.items()
    body = shop.body({"dryRun": True})
    assert (body["created"], [warning.partition(":")[0] for warning in body["warnings"]]) == (2, [warning])
    assert shop.items() == before


def store_earlier_run(world, night, outcomes):
    """Store a run of an earlier version with its outcomes by session."""
    key = {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{run_id(night)}"}
    skipped = sum(outcome == EXISTS for outcome in outcomes.values())
    state = {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": run_id(night)}
    for item in (key | {"status": "done", "skipped": skipped}, state):
        world.memory.put_item(TableName=world.table, Item=wire(item))
    for n, (session, outcome) in enumerate(outcomes.items()):
        key = {"PK": f"SYNC_RUN#{run_id(night)}", "SK": f"SESSION#{session}", "updatedAt": f"2024-11-2{n}"}
        world.memory.put_item(TableName=world.table, Item=wire(key | outcome))


def test_order_that_an_earlier_version_found_is_the_proof(shop):
    for name in ("older", "newer", "newest"):
        shop.sells(session_spec(f"cs_test_{name}", NOW - 5 * DAY))
    store_earlier_run(shop, -2, {"cs_test_newest": EXISTS})
    store_earlier_run(shop, -1, {"cs_test_older": EXISTS, "cs_test_newer": EXISTS})
    assert run_night(shop)["status"] == "done"
    assert warnings(shop, run_id()) == []
    watermark = read_watermark(shop)
    assert (watermark["provenBy"], watermark["provenCreated"]) == ("cs_test_newer", NOW - 5 * DAY)


def test_key_that_cannot_read_what_an_earlier_version_found_is_held(shop):
    [session] = sell_sessions(shop, 1)
    store_earlier_run(shop, -1, {"cs_live_found": EXISTS})
    assert (shop.body()["status"], warnings(shop, run_id())) == ("held", ["wrong_key"])
    assert not shop.orders(session)
    assert "provenBy" not in read_watermark(shop)


def test_confirmed_table_needs_no_proof_of_an_earlier_version(world):
    sell_sessions(world, 1)
    store_earlier_run(world, -1, {"cs_live_found": EXISTS})
    assert run_night(world)["status"] == "done"
    assert warnings(world, run_id()) == []


@pytest.mark.parametrize("is_guarded", [True, False])
def test_order_that_an_earlier_version_wrote_is_no_proof(shop, is_guarded):
    sell_sessions(shop, 1)
    store_earlier_run(shop, -1, {"cs_live_own": EXISTS})
    if is_guarded:
        guard = {"PK": "SESSION#cs_live_own", "SK": "SYNC_ORDER"}
        shop.memory.put_item(TableName=shop.table, Item=wire(guard))
    else:
        store_earlier_run(shop, -2, {"cs_live_own": {"outcome": "created"}})
    assert (shop.body()["status"], warnings(shop, run_id())) == ("held", ["unproven"])


@pytest.mark.parametrize(("own", "proof"), [({}, "new"), ({"syncRunId": "r"}, "first")])
def test_found_order_moves_the_proof_forward(shop, own, proof):
    first = shop.sells(session_spec("cs_test_first", NOW - 3 * DAY)).id
    shop.webhook_writes(first, "u1", NOW - 3 * DAY)
    run_night(shop)
    new = shop.sells(session_spec("cs_test_new", NOW + 20 * HOUR)).id
    shop.webhook_writes(new, "u1", NOW + 20 * HOUR, **own)
    run_night(shop, 1)
    assert read_watermark(shop)["provenBy"] == f"cs_test_{proof}"


@pytest.mark.parametrize(
    ("found", "sold", "warns"), [(1, 9, True), (2, 8, False), (0, 9, False), (0, 10, True)]
)
def test_run_that_finds_nothing_warns_and_goes_on(world, found, sold, warns):
    sessions = sell_sessions(world, found + sold, every=60)
    for session in sessions[:found]:
        world.webhook_writes(session, "u1", NOW - HOUR)
    record = run_night(world)
    assert (record["status"], record["existing"], record["created"]) == ("done", found, sold)
    assert (NOTHING_FOUND in record["warnings"]) is warns
