"""The list of cases is derived from the run, and the checks find a rule that is switched off."""

import contextlib
import inspect
import math
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from unittest import mock

import pytest
import stripe
from botocore import xform_name

from consumer import batch_processor
from producer import sync_run
from recon.dynamodb import outcome_writer, outcomes, table
from recon.dynamodb.runs import Runs
from recon.retry import Deadline
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

BATCH, RUN = ("batch_start", consume_batch), ("run_start", produce_with_retries)


@pytest.mark.parametrize(("scene", "others"), [(BATCH, set()), (RUN, {"lambda"})])
def test_cases_cover_every_service(cases, scene, others):
    services = {case.call_name.partition(".")[0] for case in cases(*scene)}
    assert services == {"sqs", "dynamodb", "ssm", "Stripe"} | others


def test_cases_cover_a_new_call(batch_start, cases, monkeypatch):
    before = cases(*BATCH)
    load_prior_state = outcomes.load_prior_state

    def read_once_more(table, sessions, deadline):
        table.get(("NEW", "CALL"))
        return load_prior_state(table, sessions, deadline)

    monkeypatch.setattr(batch_processor, "load_prior_state", read_once_more)
    after = derive_cases(batch_start, consume_batch)
    new = [case for case in after if case.number == 2]
    assert len({case.number for case in after}) == len({case.number for case in before}) + 1
    assert {case.call_name for case in new} == {"dynamodb.get_item"}
    assert {case.fault.name for case in new} >= {"killed before", "killed after", "timed out"}


def test_call_past_the_recorded_clients_is_noticed(batch_start, stray_connections, monkeypatch):
    load_prior_state = outcomes.load_prior_state

    def connect_elsewhere(table, sessions, deadline):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9))
        return load_prior_state(table, sessions, deadline)

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


# Rules switched off: the checks must find each.


@dataclass(frozen=True)
class BrokenRule:
    """`patches` switch the rule off; `fault` at `call_name` makes that visible in the `scene` as `finds`."""

    rule: str
    scene: tuple[str, Act]
    patches: tuple[tuple[object, str, object], ...]
    call_name: str
    fault: str
    finds: str


def _put_unconditionally(self, item, condition, values=None):
    return table.Action("Put", (item["PK"], item["SK"]), {"Item": table.to_wire(item)})


def _use_new_token_each_time(self, wire, token, check):
    return _transact_once(self, wire, self._new_token(), check)


def _count_separately(into, run_id, moves, now, **rest):
    if counting := _counter_actions(into, run_id, moves, now, **rest):
        into.transact(counting, Deadline(math.inf, time.monotonic, lambda _seconds: None))
    return []


def _count_before_sending(self, messages, progress, counted=0):
    progress = replace(progress, sent=len(messages) + counted)
    self.run = self._with.runs.advance(self.run, progress, self._with.now())
    self._with.queue.send(messages, self._with.pool, self._with.deadline)
    self.sent += len(messages)


def _take_any_cancellation_for_a_lost_race(self, run, state, _fallback=()):
    try:
        self._table.transact([run, state], self._deadline)
    except table.TransactionCancelled:
        return False
    return True


_transact_once = table.Table._transact_once
_counter_actions = outcome_writer.counter_actions
GONE, MISCOUNTED = "its message is gone", "created is"
COMMIT = "dynamodb.transact_write_items"
BROKEN_RULES = (
    BrokenRule(
        "a message stays until its session is settled",
        BATCH,
        ((batch_processor.BatchProcessor, "_release_messages", lambda self, batch, fates: []),),
        "Stripe.get",
        "HTTP 503",
        GONE,
    ),
    BrokenRule(
        "an order and an outcome are put under conditions and one token",
        BATCH,
        (
            (table.Table, "put", _put_unconditionally),
            (table.Table, "_transact_once", _use_new_token_each_time),
        ),
        COMMIT,
        "lost response",
        MISCOUNTED,
    ),
    BrokenRule(
        "counters move with their outcomes",
        BATCH,
        ((outcome_writer, "counter_actions", _count_separately),),
        COMMIT,
        "killed after",
        MISCOUNTED,
    ),
    BrokenRule(
        "the cursor moves after the sending",
        RUN,
        ((sync_run.RunLister, "_send", _count_before_sending),),
        COMMIT,
        "killed after",
        GONE,
    ),
    BrokenRule(
        "a refused transaction is not a failed condition",
        RUN,
        ((Runs, "_transact_with_state", _take_any_cancellation_for_a_lost_race),),
        COMMIT,
        "ItemCollectionSizeLimitExceeded",
        GONE,
    ),
)


@pytest.mark.parametrize("broken", BROKEN_RULES, ids=lambda broken: broken.rule)
def test_checks_find_a_rule_that_is_switched_off(request, broken):
    name, act = broken.scene
    start = request.getfixturevalue(name)
    with ExitStack() as stack:
        for target, attribute, value in broken.patches:
            stack.enter_context(mock.patch.object(target, attribute, value))
        assert any(
            broken.finds in report_failures(start, act, [case], recover_by_redrive)
            for case in derive_cases(start, act)
            if (case.call_name, case.fault.name) == (broken.call_name, broken.fault)
        )
