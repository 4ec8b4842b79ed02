"""No transaction has more than 100 actions, whatever the sessions of a batch take."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.domain.attention import Attention
from recon.domain.fence import EventMark
from recon.domain.outcome import Outcome
from recon.domain.table_decision import ExistingOrder
from recon.dynamodb.keys import run_key
from recon.dynamodb.outcome_writer import OutcomeWriter, Recheck
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import MAX_ACTIONS
from recon.retry import Deadline
from testkit.builders import a_message
from testkit.transaction_log import TransactionLog


@st.composite
def results(draw, number):
    name, is_created = f"cs_{number}", draw(st.booleans())
    order = {"PK": "USER#u", "SK": f"ORDER#1#{name}", "orderNumber": "BC-1"}
    waits, ends = draw(st.sampled_from([(True, False), (False, True), (False, False)]))
    found = ExistingOrder("USER#u", f"ORDER#1#{name}", name, name, sync_run_id="r")
    return SessionResult(
        session_id=name,
        outcome=Outcome.CREATED if is_created else Outcome.SKIPPED,
        attempts=1,
        message_id="m",
        order=order if is_created else None,
        marks=tuple(
            EventMark(f"evt_{number}_{n}", "t", 0, is_claimed=n % 2 == 0)
            for n in range(draw(st.sampled_from([0, 0, 1, 2, 90, 91, 92, 93, 94, 95, 96, 97, 98, 250])))
        ),
        pending=a_message(session_id=name) if waits else None,
        ends_pending=ends,
        unguarded=None if is_created or draw(st.booleans()) else found,
        attention=draw(st.sampled_from([(), (Attention.DISPUTED,)])),
    )


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data(), st.integers(0, 12), st.booleans())
def test_every_transaction_fits_and_leaves_nothing_out(data, sessions, holds_state):
    table = TransactionLog()
    batch = [data.draw(results(number)) for number in range(sessions)]
    writer = OutcomeWriter(
        table,
        "run",
        0,
        Deadline(math.inf, time.monotonic, time.sleep),
        holds_state=holds_state,
        look_again=lambda results: Recheck(list(results), {}),
    )
    done = writer.write(batch)
    assert set(done.applied) == {result.session_id for result in batch}
    assert all(len(actions) <= MAX_ACTIONS for actions in table.transactions)
    written = [action.key for actions in table.transactions for action in actions]
    with_counters = sum(action.key == run_key("run") for actions in table.transactions for action in actions)
    counters = (1 + holds_state) * with_counters
    assert len(written) == sum(result.action_count for result in batch) + counters
    # An order is never behind the markers of its session.
    for result in batch:
        places = [
            place
            for place, key in enumerate(written)
            if key[0].startswith(f"EVENT#evt_{result.session_id[3:]}_")
        ]
        if result.order and places:
            assert written.index(result.order_key) < min(places)
