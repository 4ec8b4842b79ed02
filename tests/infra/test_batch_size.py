"""The batch size of the mapping: the results of a batch fit into few transactions."""

import math
import time

import pytest

from recon.domain.fence import EventMark
from recon.domain.outcome import Outcome
from recon.dynamodb.outcome_writer import OutcomeWriter, Recheck
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import MAX_ACTIONS
from recon.retry import Deadline
from testkit.transaction_log import TransactionLog
from tests.infra.resolved import RESOURCES

BATCH_SIZE = RESOURCES["ConsumerMapping"]["Properties"]["BatchSize"]
RUN_AND_STATE = 2


def make_missing_order(session_id, events):
    return SessionResult(
        session_id=session_id,
        outcome=Outcome.CREATED,
        attempts=1,
        message_id="m",
        order={"PK": "USER#u", "SK": f"ORDER#1#{session_id}", "orderNumber": "BC-1"},
        marks=tuple(
            EventMark(f"evt_{session_id}_{n}", "checkout.session.completed", 0) for n in range(events)
        ),
        ends_pending=True,
    )


def create_writer(table):
    return OutcomeWriter(
        table,
        "run",
        0,
        Deadline(math.inf, time.monotonic, time.sleep),
        holds_state=True,
        look_again=lambda results: Recheck(results, {}),
    )


def write_batch(results):
    """Write the results and return the sizes of the transactions."""
    table = TransactionLog()
    create_writer(table).write(results)
    return [len(transaction) for transaction in table.transactions]


@pytest.mark.parametrize("events", [0, 2])
def test_batch_of_missing_orders_takes_few_transactions(events):
    sizes = write_batch([make_missing_order(f"cs_{n}", events) for n in range(BATCH_SIZE)])
    # An outcome, an order, its guard, its check for a dismissal, the end of a pending entry, and the events.
    check_sizes(sizes, BATCH_SIZE * (5 + events))


def test_batch_of_known_orders_takes_few_transactions():
    known = [SessionResult(f"cs_{n}", Outcome.SKIPPED, 1, "m", ends_pending=True) for n in range(BATCH_SIZE)]
    check_sizes(write_batch(known), BATCH_SIZE * 2)


def check_sizes(sizes, needed):
    assert max(sizes) <= MAX_ACTIONS
    assert sum(sizes) == needed + RUN_AND_STATE * len(sizes)
    # A session's actions stay together, so a transaction may be short of a few.
    assert len(sizes) <= 1 + needed // (MAX_ACTIONS - RUN_AND_STATE - 6)
