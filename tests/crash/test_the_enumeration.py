"""The list of cases comes from the run, and the verdict can say no."""

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

from consumer import batch_processor as process
from producer import sync_run as enqueue
from recon.dynamodb import outcomes, table
from recon.dynamodb.runs import Runs
from recon.retry import Deadline
from testkit.doubles.errors import service_model
from tests.crash.harms import BODIES
from tests.crash.replay import (
    Act,
    cases_of,
    one_batch,
    recorded,
    the_queue_and_a_redrive,
    went_wrong,
    whole_run,
)


def _names(cases):
    return [(case.number, case.at) for case in {case.number: case for case in cases}.values()]


def test_every_service_that_the_functions_call_is_in_the_list(batch_night, run_night, cases):
    batch, run = cases(batch_night, one_batch), cases(run_night, whole_run)
    assert {case.at.partition(".")[0] for case in batch} == {"sqs", "dynamodb", "ssm", "Stripe"}
    assert {case.at.partition(".")[0] for case in run} == {"sqs", "dynamodb", "ssm", "Stripe", "lambda"}


def test_a_new_call_is_covered_by_itself(batch_night, cases, monkeypatch):
    before = cases(batch_night, one_batch)
    load_prior_state = outcomes.load_prior_state

    def asks_once_more(table, sessions, deadline):
        table.get(("NEW", "CALL"))
        return load_prior_state(table, sessions, deadline)

    monkeypatch.setattr(process, "load_prior_state", asks_once_more)
    after = cases_of(batch_night, one_batch)
    new = [case for case in after if case.number == 2]
    assert len(_names(after)) == len(_names(before)) + 1
    assert {case.at for case in new} == {"dynamodb.get_item"}
    assert {str(case.fault.name) for case in new} >= {"killed before", "killed after", "timed out"}


def test_a_call_that_goes_around_the_recorded_clients_is_noticed(batch_night, strays, monkeypatch):
    load_prior_state = outcomes.load_prior_state

    def asks_elsewhere(table, sessions, deadline):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9))
        return load_prior_state(table, sessions, deadline)

    monkeypatch.setattr(process, "load_prior_state", asks_elsewhere)
    recorded(batch_night, one_batch)
    assert strays == [("127.0.0.1", 9)]
    strays.clear()


@pytest.mark.parametrize(
    ("service", "operation"), [("dynamodb", "TransactWriteItems"), ("sqs", "SendMessageBatch")]
)
def test_each_error_of_the_services_model_is_a_case(run_night, cases, service, operation):
    method = xform_name(operation)
    shapes = service_model(service).operation_model(operation).error_shapes
    found = {case.fault.name for case in cases(run_night, whole_run) if case.at == f"{service}.{method}"}
    assert {shape.error_code for shape in shapes} <= found


def test_each_action_of_a_transaction_is_refused_for_each_reason(batch_night, cases):
    call = next(
        call
        for call in recorded(batch_night, one_batch).history.calls
        if call.method == "transact_write_items" and len(call.arguments["TransactItems"]) > 10
    )
    found = {case.fault.name for case in cases(batch_night, one_batch) if case.number == call.number}
    for position in range(1, len(call.arguments["TransactItems"])):
        assert {f"TransactionConflict at {position}", f"ValidationError at {position}"} <= found


def test_each_error_of_the_pinned_stripe_library_is_a_case(batch_night, cases):
    classes = {
        f"{cls.__module__}.{name}"
        for name, cls in inspect.getmembers(stripe._error, inspect.isclass)
        if issubclass(cls, stripe.StripeError)
    }
    found = {case.fault.name for case in cases(batch_night, one_batch) if case.at == "Stripe.get"}
    assert classes <= found
    assert {"HTTP 429", "HTTP 503", "answer lost", *(f"200 with {name}" for name in BODIES)} <= found


# Each breaks one promise by hand. Who asks whether the shop recovered has to hear that it did not.


@dataclass(frozen=True)
class Broken:
    """`patches` break the promise, `harm` (a call and what happens there) brings it to light in the scene,
    and `found` is a word of what the verdict says then."""

    promise: str
    scene: tuple[str, Act]
    patches: tuple[tuple[object, str, object], ...]
    harm: tuple[str, str]
    found: str


def _unconditional_put(self, item, condition, values=None):
    return table.Action("Put", (item["PK"], item["SK"]), {"Item": table.to_wire(item)})


def _new_token_each_time(self, wire, token, check):
    return _transact_once(self, wire, self._new_token(), check)


def _deletes_everything(self, batch, fates):
    return []


def _counts_apart(into, run_id, moves, now, **rest):
    if counting := _counter_actions(into, run_id, moves, now, **rest):
        into.transact(counting, Deadline(math.inf, time.monotonic, lambda _seconds: None))
    return []


def _counts_before_it_sends(self, messages, progress, counted=0):
    progress = replace(progress, sent=len(messages) + counted)
    self.run = self._with.runs.advance(self.run, progress, self._with.now())
    self._with.queue.send(messages, self._with.pool, self._with.deadline)
    self.sent += len(messages)


def _quiet(self, run, state, *_otherwise):
    """As it once was: whatever cancels the transaction is taken for another invocation's progress."""
    try:
        self._table.transact([run, state], self._deadline)
    except table.TransactionCancelled:
        return False
    return True


_transact_once = table.Table._transact_once
_counter_actions = outcomes.counter_actions
GONE, MISCOUNTED = "its message is gone", "counts"
COMMIT = "dynamodb.transact_write_items"
BATCH, RUN = ("batch_night", one_batch), ("run_night", whole_run)
BROKEN = (
    Broken(
        "a message stays until its session is through",
        BATCH,
        ((process.BatchProcessor, "_release_messages", _deletes_everything),),
        ("Stripe.get", "HTTP 503"),
        GONE,
    ),
    Broken(
        "an order is put where its key is free, an outcome where there is none, under one token",
        BATCH,
        ((table.Table, "put", _unconditional_put), (table.Table, "_transact_once", _new_token_each_time)),
        (COMMIT, "lost response"),
        MISCOUNTED,
    ),
    Broken(
        "counters move with their outcomes",
        BATCH,
        ((outcomes, "counter_actions", _counts_apart),),
        (COMMIT, "killed after"),
        MISCOUNTED,
    ),
    Broken(
        "the cursor moves behind what is sent",
        RUN,
        ((enqueue.RunLister, "_send", _counts_before_it_sends),),
        (COMMIT, "killed after"),
        GONE,
    ),
    Broken(
        "what DynamoDB refuses is no condition that failed",
        RUN,
        ((Runs, "_together", _quiet),),
        (COMMIT, "ItemCollectionSizeLimitExceeded"),
        GONE,
    ),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.promise)
def test_a_broken_promise_comes_to_light(request, broken):
    night, act = request.getfixturevalue(broken.scene[0]), broken.scene[1]
    with ExitStack() as stack:
        for target, name, value in broken.patches:
            stack.enter_context(mock.patch.object(target, name, value))
        harmed = [case for case in cases_of(night, act) if (case.at, case.fault.name) == broken.harm]
        told = (went_wrong(night, act, [case], the_queue_and_a_redrive) for case in harmed)
        assert any(broken.found in wrong for wrong in told)
