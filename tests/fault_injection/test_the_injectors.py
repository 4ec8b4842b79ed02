"""What the storm's faults are made of: shares as promised, and shapes as AWS sends them."""

import random

import pytest
from microburst.core.context import RequestContext
from microburst.rules import describe

from testkit.fake_stripe.faults import Endpoint
from tests.fault_injection.account import KINDS, Chance
from tests.fault_injection.profiles import OPERATIONS, kind_of, rules
from tests.fault_injection.proxy import Conflicts, conflict, some_of

CALLS = 4000


def decided(service, operation, rate, calls=CALLS):
    engine = Conflicts()
    engine.set_rules(rules(service, rate))
    body = b'{"TransactItems": [{}, {}, {}]}'
    return [
        engine.decide(RequestContext(service=service, operation=operation, body=body)) for _ in range(calls)
    ]


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_the_share_of_calls_asked_for_goes_wrong_whatever_the_operation(service, operation, rate):
    random.seed(1)
    hit = sum(decision is not None for decision in decided(service, operation, rate))
    assert hit / CALLS == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_kind_of_an_operation_is_injected_and_known_by_its_name(service, operation):
    random.seed(1)
    kinds = {kind_of(describe(decision)) for decision in decided(service, operation, 1.0)}
    assert kinds == set(OPERATIONS[service, operation])


def test_without_a_rate_nothing_goes_wrong():
    assert rules("dynamodb", 0.0) == []
    assert not any(Chance().take(Endpoint.LIST) for _ in range(100))


def test_stripe_fails_in_all_of_its_ways():
    random.seed(1)
    chance = Chance()
    chance.rate = 0.6
    hits = sum(bool(chance.take(Endpoint.LIST)) for _ in range(CALLS))
    assert hits / CALLS == pytest.approx(0.6, abs=0.03)
    assert {kind for _, kind, _ in chance.drawn()} == set(KINDS)
    assert sum(times for _, _, times in chance.drawn()) == hits


def test_a_conflict_names_one_action_of_a_transaction_and_no_condition():
    (reasons,) = conflict(actions=3, met=1)["fields"].values()
    assert [reason["Code"] for reason in reasons] == ["None", "TransactionConflict", "None"]
    random.seed(1)
    errors = [decision.error for decision in decided("dynamodb", "TransactWriteItems", 1.0) if decision.error]
    conflicts = [error for error in errors if error.code == "TransactionCanceledException"]
    assert {len(error.fields["CancellationReasons"]) for error in conflicts} == {3}


def test_a_partial_failure_fails_one_entry_at_least():
    assert {len(some_of([1, 2, 3])) for _ in range(200)} == {1, 2, 3}
