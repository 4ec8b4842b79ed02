"""The guard of an order that this sync wrote once: nothing writes that order a second time."""

from dataclasses import replace

import pytest

from recon.dynamodb.guards import hash_order_key
from recon.dynamodb.keys import guard_key
from recon.timestamps import DAY, to_iso
from testkit.batches import USER, a_fetched_session
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import on, service_error, timed_out

GUARD = guard_key("cs_1")


@pytest.fixture
def night(consumer):
    """Return a function that plays one run with the session and returns its outcome and reason."""
    consumer.answers["cs_1"] = a_fetched_session("cs_1")

    def play(run_id, **changes):
        consumer.process(
            consumer.receive(a_message(**{"session_id": "cs_1", "user_id": USER, "run_id": run_id} | changes))
        )
        outcome = consumer.outcome("cs_1", run_id)
        return outcome.get("outcome"), outcome.get("reason")

    return play


def delete(consumer, order):
    consumer.dynamodb.transact_write_items(
        TransactItems=[
            {
                "Delete": {
                    "TableName": consumer.settings.table,
                    "Key": {"PK": {"S": order["PK"]}, "SK": {"S": order["SK"]}},
                }
            }
        ]
    )


def test_order_is_written_with_its_guard(consumer, night):
    assert night(RUN) == ("created", None)
    [order] = consumer.orders()
    assert consumer.item(GUARD) == {
        "PK": "SESSION#cs_1",
        "SK": "SYNC_ORDER",
        "orderNumber": order["orderNumber"],
        "orderKeyHash": hash_order_key((order["PK"], order["SK"])),
        "syncRunId": RUN,
        "createdAt": to_iso(NOW),
    }


def test_guard_expires_with_its_order(consumer, night):
    consumer.settings = replace(consumer.settings, order_ttl_days=30)
    night(RUN)
    [order] = consumer.orders()
    assert consumer.item(GUARD)["expiresAt"] == order["expiresAt"] == NOW + 30 * DAY


def test_deleted_order_does_not_come_back(consumer, night):
    night(RUN)
    delete(consumer, *consumer.orders())
    assert night("later") == ("skipped", "removed")
    assert consumer.orders() == []
    assert consumer.asked == ["cs_1"]


def test_deleted_order_whose_life_is_over_is_expired(consumer, night):
    night(RUN)
    delete(consumer, *consumer.orders())
    consumer.settings = replace(consumer.settings, order_ttl_days=1)
    consumer.clock.now += 2 * DAY
    assert night("later") == ("skipped", "expired")


def test_changed_user_id_gives_no_second_order(consumer, night):
    night(RUN)
    assert night("later", user_id="u2") == ("skipped", "removed")
    assert [order["PK"] for order in consumer.orders()] == ["USER#u1"]


def test_guard_ends_the_wait_of_a_session(consumer, night):
    night(RUN)
    delete(consumer, *consumer.orders())
    consumer.put(("SYSTEM", "PENDING#cs_1"), sessionId="cs_1")
    assert night("later", payment_status="unpaid", pending=NOW) == ("skipped", "removed")
    assert consumer.item(("SYSTEM", "PENDING#cs_1")) == {}


def test_guard_put_during_the_fetch_stops_the_order(consumer, night):
    fetch = consumer.stripe.fetch

    def fetch_while_another_run_writes(session_id, _listed=None):
        consumer.put(GUARD, orderNumber="BC-1")
        return fetch(session_id)

    consumer.stripe.fetch = fetch_while_another_run_writes
    assert night(RUN, user_id="u2") == ("skipped", "removed")
    assert consumer.orders() == []
    assert consumer.item(GUARD)["orderNumber"] == "BC-1"


def test_lost_response_of_the_first_try_is_no_removal(consumer, night):
    consumer.dynamodb.plan = on("transact_write_items", timed_out(), nth=1)
    assert night(RUN) == ("created", None)
    assert len(consumer.orders()) == 1


def test_order_that_is_not_written_has_no_guard(consumer, night):
    consumer.dynamodb.plan = on("transact_write_items", service_error("ValidationException"), nth=(1, 2))
    night(RUN)
    assert (consumer.orders(), consumer.item(GUARD)) == ([], {})


# Orders of earlier versions


def test_found_order_of_this_sync_gets_its_guard(consumer, night):
    consumer.put_webhook_order("cs_1", syncRunId="earlier", orderNumber="BC-7", expiresAt=NOW + DAY)
    assert night(RUN) == ("skipped", "exists")
    guard = consumer.item(GUARD)
    assert (guard["syncRunId"], guard["orderNumber"], guard["expiresAt"]) == ("earlier", "BC-7", NOW + DAY)
    delete(consumer, *consumer.orders())
    assert night("later") == ("skipped", "removed")


def test_guard_of_a_found_order_stays_as_it_is(consumer, night):
    night(RUN)
    before = consumer.item(GUARD)
    consumer.clock.now += DAY
    assert night("later") == ("skipped", "exists")
    assert consumer.item(GUARD) == before


def test_guard_of_a_found_order_that_another_run_put_is_no_conflict(consumer, night):
    consumer.put_webhook_order("cs_1", syncRunId="earlier")

    def plan(call):
        if call.method == "transact_write_items" and not consumer.item(GUARD):
            consumer.put(GUARD, syncRunId="another")

    consumer.dynamodb.plan = plan
    assert night(RUN) == ("skipped", "exists")
    assert consumer.item(GUARD)["syncRunId"] == "another"


def test_order_of_the_webhook_gets_no_guard(consumer, night):
    consumer.put_webhook_order("cs_1")
    assert night(RUN) == ("skipped", "exists")
    assert consumer.item(GUARD) == {}


def test_guard_is_read_with_the_outcomes_in_one_request(consumer, night):
    night(RUN)
    assert consumer.dynamodb.history.count("batch_get_item") == 1
