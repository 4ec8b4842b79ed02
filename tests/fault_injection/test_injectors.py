"""The storm's injectors: the promised shares of faults, in the forms that AWS sends."""

import random

import pytest
from microburst.core.context import RequestContext
from microburst.rules import describe

from testkit.fake_stripe.faults import Endpoint
from tests.fault_injection.fault_rules import OPERATIONS, build_rules, parse_kind
from tests.fault_injection.proxy import ConflictEngine, build_conflict, choose_failing
from tests.fault_injection.stripe_process import FAULT_WEIGHTS, RandomFaults

CALLS = 4000


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(1)


def decide(service, operation, rate):
    engine = ConflictEngine()
    engine.set_rules(build_rules(service, rate))
    body = b'{"TransactItems": [{}, {}, {}]}'
    context = RequestContext(service=service, operation=operation, body=body)
    return [engine.decide(context) for _ in range(CALLS)]


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_share_of_failing_calls_is_the_rate(service, operation, rate):
    hit = sum(decision is not None for decision in decide(service, operation, rate))
    assert hit / CALLS == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_kind_of_an_operation_is_injected_and_recognized(service, operation):
    kinds = {parse_kind(describe(decision)) for decision in decide(service, operation, 1.0)}
    assert kinds == set(OPERATIONS[service, operation])


def test_rate_of_zero_injects_nothing():
    assert build_rules("dynamodb", 0.0) == []
    assert not any(RandomFaults().take(Endpoint.LIST) for _ in range(100))


def test_stripe_fails_in_all_of_its_ways():
    faults = RandomFaults()
    faults.rate = 0.6
    hits = sum(bool(faults.take(Endpoint.LIST)) for _ in range(CALLS))
    assert hits / CALLS == pytest.approx(0.6, abs=0.03)
    assert {kind for _, kind, _ in faults.count_drawn()} == set(FAULT_WEIGHTS)
    assert sum(times for _, _, times in faults.count_drawn()) == hits


def test_conflict_names_one_action_of_a_transaction():
    (reasons,) = build_conflict(actions=3, position=1)["fields"].values()
    assert [reason["Code"] for reason in reasons] == ["None", "TransactionConflict", "None"]
    errors = [decision.error for decision in decide("dynamodb", "TransactWriteItems", 1.0) if decision.error]
    conflicts = [error for error in errors if error.code == "TransactionCanceledException"]
    assert {len(error.fields["CancellationReasons"]) for error in conflicts} == {3}


def test_partial_failure_fails_at_least_one_entry():
    assert {len(choose_failing([1, 2, 3])) for _ in range(200)} == {1, 2, 3}
