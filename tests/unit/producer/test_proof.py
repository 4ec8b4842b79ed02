"""The proof of key, table and layout: runs that are held, confirmed, or go on with a warning."""

import pytest

from producer.proof import MAX_PAGES, SAMPLE_PARTS
from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.runs import NOTHING_FOUND
from recon.errors import InvalidRequest, KeyRejected
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW
from testkit.world import wire
from tests.unit.producer.nights import run_id, run_night, scheduled, session_spec

LIFE = DAY + 600


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
    assert (body["sampleSize"], body["wouldCreate"], len(body["wouldCreateAmounts"])) == (3, 3, 1)
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["unproven"]
    record = shop.run(body["runId"])
    assert (record["status"], record["wouldCreate"], record["enqueued"]) == ("held", 3, 0)
    assert not shop.orders()
    assert not shop.memory_sqs.messages(shop.queue)
    assert "lastCoveredThrough" not in read_watermark(shop)
    assert ("firstLookbackStart" in read_watermark(shop)) is (event == scheduled())
    assert shop.state()["lastSyncStatus"] == "held"


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


def test_error_of_the_proof_request_fails_the_run_and_does_not_hold_it(shop):
    store_proof(shop, "cs_test_proof")
    shop.ssm.value = "sk_test_wrong"
    with pytest.raises(KeyRejected):
        shop.produce()
    assert shop.run()["status"] == "failed"


def test_continuation_of_a_run_that_has_begun_is_not_checked(make_world):
    shop = make_world(is_confirmed=False, SYNC_MAX_SESSIONS="1")
    sessions = sell_sessions(shop, 150, every=60)
    shop.webhook_writes(sessions[0], "u1", NOW - HOUR)
    shop.produce()
    assert shop.hops
    store_proof(shop, "cs_live_gone")
    assert shop.hop_all()["status"] != "held"


def test_sample_is_spread_and_takes_few_requests(shop):
    for n in range(60):
        shop.sells(session_spec(f"cs_test_{n}", NOW - 29 * DAY + n * HOUR))
    sell_sessions(shop, 60, every=60)
    assert list_requests(shop, "list") == SAMPLE_PARTS
    assert shop.run()["sampleSize"] == 50


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
    assert (shop.body()["status"], warnings(shop, run_id())) != ("held", ["unproven"])


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


def test_dry_run_previews_and_warns(shop):
    sell_sessions(shop, 2)
    body = shop.body({"dryRun": True})
    assert (body["created"], [warning.partition(":")[0] for warning in body["warnings"]]) == (2, ["unproven"])
    assert not shop.items()


def test_found_order_of_an_earlier_version_is_the_proof(shop):
    world, session = shop, sell_sessions(shop, 1)[0]
    key = {"PK": f"SYNC_RUN#{run_id(-1)}", "SK": "SESSION#cs_live_found"}
    run = {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{run_id(-1)}", "status": "done", "skipped": 1}
    for item in (key | {"outcome": "skipped", "reason": "exists"}, run):
        world.memory.put_item(TableName=world.table, Item=wire(item))
    assert (world.body()["status"], warnings(world, run_id())[-1]) == ("held", "wrong_key")
    assert not world.orders(session)


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
