"""The list of cases is derived from the run, and the checks find a rule that is disabled."""

import contextlib
import inspect
import socket
from dataclasses import dataclass

import pytest
import stripe
from botocore import xform_name

from consumer import batch_processor
from recon.dynamodb import outcomes, table
from recon.dynamodb.runs import Runs
from testkit.doubles.errors import service_model
from tests.crash.fault_catalog import BODIES
from tests.crash.replay import (
    Act,
    consume_batch,
    derive_cases,
    produce_with_retries,
    record_run,
    recover_by_redrive,
    report_failures,
)
from tests.model.disabled_rules import DISABLED_RULES, DisabledRule, put_without_condition

BATCH, RUN = ("batch_start", consume_batch), ("run_start", produce_with_retries)


@pytest.mark.parametrize(("scene", "others"), [(BATCH, set()), (RUN, {"lambda"})])
def test_cases_cover_every_service(cases, scene, others):
    services = {case.call_name.partition(".")[0] for case in cases(*scene)}
    assert services == {"sqs", "dynamodb", "ssm", "Stripe"} | others


def test_cases_cover_a_new_call(batch_start, cases, monkeypatch):
    before = cases(*BATCH)
    load_prior_state = outcomes.load_prior_state

    def read_once_more(table, *request):
        table.get(("NEW", "CALL"))
        return load_prior_state(table, *request)

    monkeypatch.setattr(batch_processor, "load_prior_state", read_once_more)
    after = derive_cases(batch_start, consume_batch)
    new = [case for case in after if case.number == 2]
    assert len({case.number for case in after}) == len({case.number for case in before}) + 1
    assert {case.call_name for case in new} == {"dynamodb.get_item"}
    assert {case.fault.name for case in new} >= {"killed before", "killed after", "timed out"}


def test_call_past_the_recorded_clients_is_noticed(batch_start, stray_connections, monkeypatch):
    load_prior_state = outcomes.load_prior_state

    def connect_elsewhere(table, *request):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9))
        return load_prior_state(table, *request)

    monkeypatch.setattr(batch_processor, "load_prior_state", connect_elsewhere)
    record_run(batch_start, consume_batch)
    assert stray_connections == [("127.0.0.1", 9)]
    stray_connections.clear()


@pytest.mark.parametrize(
    ("service", "operation"), [("dynamodb", "TransactWriteItems"), ("sqs", "SendMessageBatch")]
)
def test_cases_cover_each_error_of_a_services_model(cases, service, operation):
    name = f"{service}.{xform_name(operation)}"
    shapes = service_model(service).operation_model(operation).error_shapes
    found = {case.fault.name for case in cases(*RUN) if case.call_name == name}
    assert {shape.error_code for shape in shapes} <= found


def test_cases_cover_each_action_of_a_transaction(batch_start, cases):
    call, count = next(
        (call, count)
        for call in record_run(batch_start, consume_batch).history.calls
        if call.method == "transact_write_items" and (count := len(call.arguments["TransactItems"])) > 10
    )
    found = {case.fault.name for case in cases(*BATCH) if case.number == call.number}
    for position in range(1, count):
        assert {f"TransactionConflict at {position}", f"ValidationError at {position}"} <= found


def test_cases_cover_each_error_of_the_stripe_library(cases):
    classes = {
        f"{cls.__module__}.{name}"
        for name, cls in inspect.getmembers(stripe._error, inspect.isclass)
        if issubclass(cls, stripe.StripeError)
    }
    found = {case.fault.name for case in cases(*BATCH) if case.call_name == "Stripe.get"}
    assert classes <= found
    assert {"HTTP 429", "HTTP 503", "answer lost", *(f"200 with {name}" for name in BODIES)} <= found


@dataclass(frozen=True)
class VisibleFault:
    """A fault in a scene that makes a disabled rule visible as `finds`."""

    scene: tuple[str, Act]
    call_name: str
    fault: str
    finds: str


def _use_new_token_each_time(self, wire, token, check):
    return _transact_once(self, wire, self._new_token(), check)


def _take_any_cancellation_for_a_lost_race(self, run, state, _fallback=()):
    try:
        self._table.transact([run, state], self._deadline)
    except table.TransactionCancelled:
        return False
    return True


_transact_once = table.Table._transact_once
GONE, MISCOUNTED = "its message is gone", "created is"
COMMIT = "dynamodb.transact_write_items"
OWN_RULES = (
    DisabledRule(
        "conditions and one token",
        patches=[
            (table.Table, "put", put_without_condition("")),
            (table.Table, "_transact_once", _use_new_token_each_time),
        ],
    ),
    DisabledRule(
        "a refusal is no failed condition",
        patches=[(Runs, "_transact_with_state", _take_any_cancellation_for_a_lost_race)],
    ),
)
VISIBLE_FAULTS = {
    "failed messages are returned": VisibleFault(BATCH, "Stripe.get", "HTTP 503", GONE),
    "conditions and one token": VisibleFault(BATCH, COMMIT, "lost response", MISCOUNTED),
    "counters are in the transaction": VisibleFault(BATCH, COMMIT, "killed after", MISCOUNTED),
    "messages are sent before they are counted": VisibleFault(RUN, COMMIT, "killed after", GONE),
    "a refusal is no failed condition": VisibleFault(RUN, COMMIT, "ItemCollectionSizeLimitExceeded", GONE),
}


@pytest.mark.parametrize("rule", VISIBLE_FAULTS)
def test_checks_find_a_disabled_rule(request, rule):
    visible = VISIBLE_FAULTS[rule]
    (disabled,) = (one for one in (*DISABLED_RULES, *OWN_RULES) if one.rule == rule)
    name, act = visible.scene
    start = request.getfixturevalue(name)
    with disabled.disable():
        assert any(
            visible.finds in report_failures(start, act, [case], recover_by_redrive)
            for case in derive_cases(start, act)
            if (case.call_name, case.fault.name) == (visible.call_name, visible.fault)
        )
