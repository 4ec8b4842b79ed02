"""Whose order it is: written under the chosen id, and found under every other id that it may be under."""

from dataclasses import replace

import pytest

from recon.domain.user_ids import EmailCase, UserIdRules, parse_sources
from testkit.builders import NOW
from testkit.fake_stripe import SessionSpec
from testkit.fake_stripe.details import DetailSpec

CS = "cs_test_whose0001"
NOBODY = "cs_test_nobody0001"


def sell(world, session_id=CS, **changes):
    return world.sells(SessionSpec(session_id, NOW - 3600, **changes))


def use_rules(world, sources="metadata.userId,metadata.user_id,customer_details.email", case="keep"):
    rules = UserIdRules(parse_sources(sources), EmailCase(case))
    world.settings = replace(world.settings, user_ids=rules)


def find_queried(world):
    calls = [call.arguments for call in world.history.calls if call.method == "query"]
    keys = [call["ExpressionAttributeValues"].get(":pk", {}).get("S", "") for call in calls]
    return [key.removeprefix("USER#") for key in keys if key.startswith("USER#")]


@pytest.mark.parametrize(
    ("sources", "case", "fields", "user", "raw"),
    [
        (
            "client_reference_id",
            "keep",
            {"details": DetailSpec(client_reference_id="ref 1")},
            "ref1",
            "ref 1",
        ),
        ("customer", "keep", {"customer": "cus_77"}, "cus_77", None),
        ("metadata.account", "keep", {"metadata": {"account": "A1", "userId": "u1"}}, "A1", None),
        ("customer_details.email", "lower", {"email": "Jo+x@Shop.test"}, "jox@shop.test", "Jo+x@Shop.test"),
        ("customer_details.email", "lower", {"email": "jo@shop.test"}, "jo@shop.test", None),
        ("customer_details.email", "keep", {"email": "Jo@Shop.test"}, "Jo@Shop.test", None),
        (
            "metadata.userId,customer",
            "lower",
            {"metadata": {"userId": "用户"}, "customer": "cus_1"},
            "cus_1",
            None,
        ),
    ],
)
def test_order_is_written_under_the_first_usable_source(world, sources, case, fields, user, raw):
    use_rules(world, sources, case)
    sell(world, **fields)
    world.night()
    [order] = world.orders()
    assert (order["PK"], order["userId"], order.get("rawUserId")) == (f"USER#{user}", user, raw)


@pytest.mark.parametrize("address", ["用户@例子.广告", "иван@пример.рф", "+@.+"])
def test_strangers_whose_ids_are_cleaned_away_never_share_a_key(world, address):
    sell(world, email=address)
    world.night()
    assert world.orders() == []
    outcome = world.outcome(CS)
    assert (outcome["reason"], outcome["attention"]) == ("no_user", ["no_user_paid"])


@pytest.mark.parametrize("user", ["用户@例子.广告", "@."])
def test_order_that_the_webhook_wrote_under_an_unusable_id_is_found(world, user):
    sell(world, email="用户@例子.广告")
    world.webhook_writes(CS, user, NOW - 1800)
    world.night()
    assert world.outcome(CS)["reason"] == "exists"
    assert "attention" not in world.outcome(CS)


@pytest.mark.parametrize(
    "user", ["u1", "Jo+x@Shop.test", "Jox@Shop.test", "jo+x@shop.test", "jox@shop.test", "old 1", "old1"]
)
@pytest.mark.parametrize("case", ["keep", "lower"])
def test_order_is_found_under_every_candidate_in_every_spelling(world, user, case):
    use_rules(world, case=case)
    sell(world, metadata={"userId": "u1", "user_id": "old 1"}, email="Jo+x@Shop.test")
    world.webhook_writes(CS, user, NOW - 1800)
    world.night()
    assert world.outcome(CS)["reason"] == "exists"
    assert len(world.orders()) == 1


def test_order_from_before_a_change_of_the_sources_is_found(world):
    use_rules(world, "client_reference_id")
    sell(world, email="jo@shop.test", details=DetailSpec(client_reference_id="ref1"))
    world.webhook_writes(CS, "jo@shop.test", NOW - 1800)
    world.night()
    assert world.outcome(CS)["reason"] == "exists"


@pytest.mark.parametrize("user", ["u1", "jo@shop.test"])
def test_order_written_during_the_fetch_is_found_under_any_candidate(world, user):
    sell(world, metadata={"userId": "u1"}, email="Jo@Shop.test")

    def write(request):
        if request.endpoint == "retrieve":
            world.webhook_writes(CS, user, NOW - 1800)

    world.stripe.on_request = write
    world.night()
    assert world.outcome(CS)["reason"] == "exists"
    assert len(world.orders()) == 1


def test_normal_night_looks_up_the_chosen_ids_only(world):
    for number in range(20):
        spec = sell(
            world,
            f"cs_test_{number:04}",
            metadata={"userId": f"u{number % 4}"},
            email=f"Jo{number}@Shop.test",
            customer=f"cus_{number}",
        )
        world.webhook_writes(spec.id, f"u{number % 4}", NOW - 1800)
    use_rules(world, "metadata.userId,customer_details.email,customer", "lower")
    world.night()
    assert sorted(find_queried(world)) == ["u0", "u1", "u2", "u3"]


def test_lower_cased_address_is_one_query_on_a_normal_night(world):
    use_rules(world, case="lower")
    sell(world, email="Jo@Shop.test")
    world.webhook_writes(CS, "jo@shop.test", NOW - 1800)
    world.night()
    assert find_queried(world) == ["jo@shop.test"]


def test_case_of_a_paid_session_of_nobody(play_case):
    player = play_case("23")
    outcome = player.outcome(NOBODY)
    assert (outcome["reason"], outcome["attention"]) == ("no_user", ["no_user_paid"])
    [(facts, _)] = player.answers
    assert (facts.attention.words, facts.attention.is_open) == (("no_user_paid",), True)


def test_case_of_a_paid_session_is_written_under_its_customer(play_case, player):
    use_rules(player.world, "metadata.userId,customer_details.email,customer")
    assert play_case("23").order(NOBODY)["PK"] == "USER#cus_77"
