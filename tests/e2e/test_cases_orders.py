"""Cases 1 to 5 and 12 through the deployed stack: one night of everything awkward, previewed and then run."""

import re
from types import SimpleNamespace

import pytest

from testkit.fake_stripe import Endpoint, LineSpec, SessionSpec, ShippingSpec
from tests.e2e.shop import GRACE, is_order, plain

pytestmark = pytest.mark.e2e

LINE_COUNTS = [1, 10, 11, 100, 250]
PRODUCT = {"sku": "MUG", "collection": "C1", "variant_id": "V1", "color": "red"}
NAME, PHONE, STREET = "Ada Lovelace", "+491701234567", "Lindenweg 7"


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop()


@pytest.fixture(scope="module")
def night(shop):
    """The night after its run, with what was there before, the preview of it, and what is there now."""
    night = shop.night()
    sold = SimpleNamespace(**sell_everything(night))
    shop.stack.pause_consumer()
    before, queues = shop.dump(), shop.queues()
    preview = shop.body(night.event | {"dryRun": True})
    after_preview, queues_after_preview = shop.dump(), shop.queues()
    shop.stripe.calls.clear()
    shop.stack.resume_consumer()
    answer = night.produce()
    shop.settled(night.run_id)
    return SimpleNamespace(
        night=night,
        sold=sold,
        before=before,
        queues=queues,
        preview=preview,
        after_preview=after_preview,
        queues_after_preview=queues_after_preview,
        answer=answer,
        after=shop.dump(),
        again=night.produce(),
    )


def sell_everything(night):
    """Every session that an order or a skip may come of, by name."""
    repeats = [night.sells(f"repeat{n:02}", metadata={"userId": "repeat"}) for n in range(30)]
    for spec in repeats:
        night.webhook_writes(spec)
    shipped = night.sells("shipped", metadata={"userId": "shipped"})
    night.webhook_writes(shipped, status="shipped", trackingNumber="1Z", amount=5, items=[{"name": "x"}])
    raw = night.sells("raw", metadata={}, email="c+d@x.com")
    night.shop.webhook_writes(raw, "c+d@x.com", raw.created + 41)
    cleaned = night.sells("cleaned", metadata={}, email="e+f@x.com")
    night.shop.webhook_writes(cleaned, "ef@x.com", cleaned.created + 41)
    lines = {
        f"lines{n}": night.sells(f"lines{n}", lines=tuple(LineSpec(f"line {i}") for i in range(n)))
        for n in LINE_COUNTS
    }
    products = (
        LineSpec("full", quantity=2, product_metadata=PRODUCT),
        LineSpec("bare"),
        LineSpec("gone", product="deleted", product_metadata=PRODUCT),
        LineSpec("unpriced", has_price=False),
    )
    free = {"currency": None, "payment_status": "no_payment_required"}
    old, new = (
        ShippingSpec(name=NAME, line1=STREET, city=city, place=place)
        for city, place in (("Ulm", "shipping_details"), ("Bonn", "collected_information"))
    )
    return lines | {
        "missing": night.sells("missing", metadata={"userId": "repeat"}),
        "repeats": repeats,
        "shipped": shipped,
        "raw": raw,
        "cleaned": cleaned,
        "user_id_first": night.sells("userid1", metadata={"userId": "first", "user_id": "second"}),
        "user_id_second": night.sells("userid2", metadata={"user_id": "second"}),
        "email": night.sells("email", metadata={}, email="only@example.com"),
        "plus": night.sells("plus", metadata={}, email="a+b@x.com"),
        "nobody": night.sells("nobody", metadata={}),
        "products": night.sells("products", lines=products),
        "free": night.sells("free", **free),
        "yen": night.sells("yen", currency="jpy", lines=(LineSpec(unit_amount=5000),)),
        "setup": night.sells("setup", mode="setup", payment_status="no_payment_required"),
        "unpaid": night.sells("unpaid", payment_status="unpaid"),
        "old_place": night.sells("oldplace", shipping=old),
        "new_place": night.sells("newplace", shipping=new),
        "bare": night.sells("bare", shipping=None, has_customer_details=False),
        "full": night.sells(
            "full_a1B2c3D4",
            lines=(LineSpec("A mug", quantity=2, unit_amount=2300, discount=100, product_metadata=PRODUCT),),
            shipping_amount=499,
            currency="eur",
            metadata={"userId": "complete", "quoteSignature": "sig", "campaign": "autumn"},
            email="complete@example.com",
            name=NAME,
            phone=PHONE,
            customer="cus_1",
            shipping=new,
        ),
    }


def order_of(night, spec):
    """The one order of a session after the run."""
    (order,) = [plain(item) for item in night.after.values() if belongs_to(item, spec)]
    return order


def belongs_to(item, spec):
    return is_order(plain(item)) and item["orderId"]["S"] == spec.id


def written(night):
    """The keys of the orders that were not there before."""
    return {key for key, item in night.after.items() if is_order(plain(item)) and key not in night.before}


def reason_of(night, spec):
    outcome = night.night.outcome(spec)
    assert outcome["outcome"] == "skipped"
    assert [item for item in night.after.values() if belongs_to(item, spec)] == [
        item for item in night.before.values() if belongs_to(item, spec)
    ]
    return outcome["reason"]


def test_the_run_counts_every_session_once_and_is_done_with_both_queues_empty(night, shop):
    skipped = len(night.sold.repeats) + 6
    created = len(vars(night.sold)) - 1 - 6
    expected = (created + skipped, created + skipped, created, skipped, 0)
    assert night.night.counters() == shop.state_counters() == expected
    run, state = shop.run(night.night.run_id), shop.state()
    assert (run["status"], run["listed"], run["truncated"]) == ("done", True, False)
    assert (state["lastSyncStatus"], state["lastSyncRunId"]) == ("done", night.night.run_id)
    assert state["lastSyncCompletedAt"] == run["syncCompletedAt"] >= run["syncStartedAt"]
    assert (state["lastLookbackStart"], state["lastLookbackEnd"]) == (
        night.night.begin,
        night.night.end - GRACE,
    )
    assert len(written(night)) == created
    assert len(shop.outcomes(night.night.run_id)) == created + skipped
    assert shop.queues() == (0, 0)


def test_nothing_that_was_there_before_is_touched(night):
    assert {key: night.after[key] for key in night.before} == night.before


def test_case_1_a_repeat_customer_with_thirty_orders_gets_the_one_that_is_missing(night):
    order = order_of(night, night.sold.missing)
    theirs = {key for key in night.after if key[0] == "USER#repeat"}
    assert len(theirs) == 31
    assert [key for key in theirs if key not in night.before] == [(order["PK"], order["SK"])]
    assert order["source"] == "nightly_sync"


def test_case_2_an_order_under_the_webhooks_own_key_is_skipped_byte_for_byte(night):
    spec = night.sold.shipped
    assert reason_of(night, spec) == "exists"
    (kept,) = [item for key, item in night.after.items() if key[0] == "USER#shipped"]
    assert kept == night.before["USER#shipped", f"ORDER#{spec.created + 41}#{spec.id}"]
    assert kept["status"] == {"S": "shipped"}


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("user_id_first", "first"),
        ("user_id_second", "second"),
        ("email", "only@example.com"),
        ("plus", "ab@x.com"),
    ],
)
def test_case_3_the_order_lies_under_the_id_that_the_webhook_would_use(night, name, user):
    spec = getattr(night.sold, name)
    order = order_of(night, spec)
    assert (order["PK"], order["SK"]) == (f"USER#{user}", f"ORDER#{spec.created}#{spec.id}")
    assert order["userId"] == user


def test_case_3_an_order_under_the_raw_or_under_the_cleaned_id_is_found(night):
    assert reason_of(night, night.sold.raw) == "exists"
    assert reason_of(night, night.sold.cleaned) == "exists"


def test_case_3_a_session_of_nobody_is_skipped(night):
    assert reason_of(night, night.sold.nobody) == "no_user"


@pytest.mark.parametrize("count", LINE_COUNTS)
def test_case_4_every_line_item_is_in_the_order(night, count):
    order = order_of(night, getattr(night.sold, f"lines{count}"))
    assert order["itemCount"] == count
    assert [item["name"] for item in order["items"]] == [f"line {n}" for n in range(count)]


def test_case_4_product_metadata_present_missing_deleted_and_no_price(night):
    full, bare, gone, unpriced = order_of(night, night.sold.products)["items"]
    ours = {"sku": "MUG", "collectionId": "C1", "variantId": "V1", "color": "red"}
    assert full | ours == full
    assert (full["quantity"], full["unitPrice"], full["amountTotal"]) == (2, 1500, 3000)
    assert not ours.keys() & (bare.keys() | gone.keys())
    assert bare["stripeProductId"].startswith("prod_")
    assert gone["stripeProductId"].startswith("prod_")
    assert unpriced["name"] == "unpriced"
    assert not {"unitPrice", "stripePriceId", "stripeProductId"} & unpriced.keys()


def test_case_4_a_paid_session_without_line_items_is_retried_and_never_an_empty_order(night, shop):
    other = shop.night()
    ill, well = other.sells("ill", lines=()), other.sells("well")
    other.produce()
    shop.settled(other.run_id)
    outcome = other.outcome(ill)
    assert (outcome["outcome"], outcome["errorType"]) == ("error", "LineItemsMissing")
    assert outcome["attempts"] == 3
    assert shop.orders(ill.id) == []
    assert shop.order(well)["itemCount"] == 1
    assert other.counters() == shop.state_counters() == (2, 2, 1, 0, 1)
    assert shop.dead_sessions() == [ill.id]
    # Stripe lists the lines after all.
    shop.sells(SessionSpec(ill.id, ill.created, metadata=ill.metadata))
    shop.redrive()
    shop.drained()
    assert other.counters() == shop.state_counters() == (2, 2, 2, 0, 0)
    assert shop.order(ill)["itemCount"] == 1
    assert shop.queues() == (0, 0)


def test_case_5_a_free_session_is_an_order_without_amounts(night):
    order = order_of(night, night.sold.free)
    assert not {"amount", "amountSubtotal", "currency"} & order.keys()
    assert order["stripePaymentStatus"] == "no_payment_required"


def test_case_5_yen_stay_yen(night):
    order = order_of(night, night.sold.yen)
    assert (order["amount"], order["currency"], order["items"][0]["unitPrice"]) == (5000, "jpy", 5000)


def test_case_5_setup_and_unpaid_sessions_are_skipped_without_asking_stripe(night, shop):
    assert reason_of(night, night.sold.setup) == "not_a_sale"
    assert reason_of(night, night.sold.unpaid) == "unpaid"
    asked = {call.session for call in shop.stripe.calls.log() if call.endpoint is Endpoint.RETRIEVE}
    assert night.sold.missing.id in asked
    assert not asked & {night.sold.setup.id, night.sold.unpaid.id, night.sold.shipped.id}


@pytest.mark.parametrize(("name", "city"), [("old_place", "Ulm"), ("new_place", "Bonn")])
def test_case_5_shipping_is_found_in_the_old_and_in_the_new_place(night, name, city):
    assert order_of(night, getattr(night.sold, name))["shippingAddress"] == {
        "name": NAME,
        "line1": STREET,
        "city": city,
        "state": "EX",
        "postalCode": "12345",
        "country": "US",
    }


def test_case_5_no_shipping_and_no_customer_details_are_no_error(night):
    order = order_of(night, night.sold.bare)
    assert not {"shippingAddress", "customerEmail", "customerPhone"} & order.keys()


def test_an_order_is_complete_to_the_last_attribute(night):
    spec, run_id = night.sold.full, night.night.run_id
    order = order_of(night, spec)
    times = {order.pop(name) for name in ("updatedAt", "completedAt", "syncedAt")}
    (line,) = order.pop("items")
    (time,) = times
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time)
    assert line == {
        "name": "A mug",
        "quantity": 2,
        "unitPrice": 2300,
        "currency": "eur",
        "amountTotal": 4500,
        "amountSubtotal": 4600,
        "stripePriceId": spec.lines[0].price_id("eur"),
        "stripeProductId": spec.lines[0].product_id,
        "sku": "MUG",
        "collectionId": "C1",
        "variantId": "V1",
        "color": "red",
    }
    address = order.pop("shippingAddress")
    assert address["city"] == "Bonn"
    assert order == {
        "PK": "USER#complete",
        "SK": f"ORDER#{spec.created}#{spec.id}",
        "orderId": spec.id,
        "orderNumber": "BC-A1B2C3D4",
        "userId": "complete",
        "status": "completed",
        "amount": 4999,
        "amountSubtotal": 4600,
        "currency": "eur",
        "itemCount": 1,
        "createdAt": order["createdAt"],
        "syncRunId": run_id,
        "source": "nightly_sync",
        "stripeSessionId": spec.id,
        "stripePaymentIntentId": spec.payment_intent,
        "stripeCustomerId": "cus_1",
        "stripePaymentStatus": "paid",
        "customerEmail": "complete@example.com",
        "customerPhone": PHONE,
        "quoteSignature": "sig",
        "metadata": {"campaign": "autumn"},
    }
    assert order["createdAt"].endswith("Z")
    assert night.night.outcome(spec)["orderNumber"] == "BC-A1B2C3D4"


def test_case_12_a_dry_run_previews_what_the_run_then_does(night):
    preview = night.preview
    enqueued, *counted = night.night.counters()
    assert (preview["status"], preview["dryRun"], preview["enqueued"]) == ("success", True, 0)
    assert (preview["runId"], preview["trigger"]) == (night.night.run_id, "scheduled")
    names = ("processed", "created", "skipped", "errors")
    assert [preview[name] for name in names] == counted == [enqueued, *counted[1:]]
    numbers = {plain(night.after[key])["orderNumber"] for key in written(night)}
    assert set(preview["createdOrders"]) == numbers


def test_case_12_a_dry_run_leaves_table_and_queues_as_they_were(night):
    assert night.after_preview == night.before
    assert night.queues_after_preview == night.queues == (0, 0)


def test_the_answer_says_running_and_asked_again_what_became_of_it(night):
    assert (night.answer["status"], night.answer["syncCompletedAt"]) == ("running", None)
    enqueued, processed, created, skipped, errors = night.night.counters()
    assert night.answer["enqueued"] == enqueued
    again = night.again
    assert (again["status"], again["enqueued"], again["processed"]) == ("success", enqueued, processed)
    assert (again["created"], again["skipped"], again["errors"]) == (created, skipped, errors)
    assert sorted(again["createdOrders"]) == sorted(night.preview["createdOrders"])


def test_the_logs_name_run_and_session_and_no_customer_and_no_key(night, shop):
    shop.check_logs(NAME, PHONE, STREET, "only@", "lovelace")
    lines = shop.logged(shop.stack.consumer)
    messages = [line["message"] for line in lines]
    _, processed, created, skipped, errors = night.night.counters()
    summary = f"Sync completed: processed={processed}, created={created}, skipped={skipped}, errors={errors}"
    everywhere = messages + [line["message"] for line in shop.logged(shop.stack.producer)]
    assert everywhere.count(summary) == 1
    (line,) = [line for line in lines if line["message"] == "Created order snapshot BC-A1B2C3D4 via sync"]
    assert (line["run_id"], line["session_id"]) == (night.night.run_id, night.sold.full.id)
    assert len([text for text in messages if re.fullmatch(r"Created order snapshot \S+ via sync", text)]) >= (
        created
    )
