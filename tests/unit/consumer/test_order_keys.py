"""Orders under any sort key, or with the payment intent only, through whole nights and every reader."""

import pytest

from ops.runs.prediction import PredictedAction
from testkit.cases import CREATED, CasePlayer
from testkit.fake_stripe.specs import stable_id
from testkit.world import SCHEDULED

CS = "cs_test_keys00001"
PAID = {"id": CS, "metadata": {"userId": "u1"}, "email": "buyer@example.com"}
ULID = "ORDER#01JDNZQ8YV3V5F2R0B6TT8W4QK"
BY_ID = {"SK": ULID, "stripeSessionId": CS}
BY_INTENT = {"SK": f"ORDER#{CREATED + 60}#shop-1", "orderId": "shop-1"}
ANY = {"SYNC_ORDER_SORT_KEY": "any"}
INTENTS = ("stripePaymentIntentId", "paymentIntentId")
KINDS = [(BY_ID, ANY), *(({**BY_INTENT, name: stable_id("pi", CS)}, {}) for name in INTENTS)]


@pytest.fixture(params=KINDS, ids=["any", *INTENTS])
def player(request, make_world):
    """Play a shop with one session whose order the webhook wrote in another way."""
    order, env = request.param
    player = CasePlayer(make_world(**env))
    player.sell(PAID)
    player.put({"PK": "USER#u1", "amount": 1500, "currency": "usd"} | order)
    return player


def test_order_is_not_written_again_in_any_night(player):
    player.night(0)
    player.night(1)
    assert [player.outcome(CS, night)["reason"] for night in (0, 1)] == ["exists", "exists"]
    assert len([one for one in player.world.items() if one["PK"] == "USER#u1"]) == 1


def test_order_is_the_proof_of_a_first_run(make_world):
    for order, env in KINDS:
        player = CasePlayer(make_world(is_confirmed=False, **env))
        player.sell(PAID)
        player.put({"PK": "USER#u1"} | order)
        assert player.night(0)["status"] == "done"


def test_order_is_found_by_the_preview_and_by_explain(player):
    preview = player.world.body(SCHEDULED | {"dryRun": True})
    assert (preview["created"], preview["skipped"]) == (0, 1)
    facts, _ = player.explain(CS)
    assert len(facts.orders) == 1
    assert facts.prospect.would is PredictedAction.SKIP


def test_order_that_appears_during_the_fetch_is_not_doubled(make_world):
    """The webhook writes between the lookup of the batch and the one right before the commit."""
    for order, env in KINDS:
        player = CasePlayer(make_world(**env))
        player.sell(PAID)
        connect = player.world.connect

        def write_first(*arguments, player=player, order=order, connect=connect):
            player.put({"PK": "USER#u1"} | order)
            return connect(*arguments)

        body = player.world.body(SCHEDULED)
        player.world.connect = write_first
        player.world.drain()
        assert player.world.outcome(CS, body["runId"])["reason"] == "exists"


def test_intent_of_another_session_is_not_this_sessions_order(make_world):
    player = CasePlayer(make_world())
    player.sell(PAID)
    player.put({"PK": "USER#u1"} | BY_INTENT | {"stripePaymentIntentId": stable_id("pi", "cs_other")})
    player.night(0)
    assert player.outcome(CS)["outcome"] == "created"


def test_case_of_other_sort_keys_is_not_doubled_with_the_setting(make_world, play_steps):
    player = CasePlayer(make_world(**ANY))
    play_steps(player, "27")
    [order] = player.world.orders()
    assert order["SK"] == ULID
