"""The consumer between a table, a queue and Stripe in memory."""

import pytest

from testkit.batches import USER, ConsumerHarness, a_fetched_session
from testkit.builders import a_message


@pytest.fixture
def consumer():
    return ConsumerHarness()


@pytest.fixture
def missing(consumer):
    """Return a function that sells a session and returns the message of its missing order."""

    def sell(session_id="cs_1", answer=None, **changes):
        consumer.answers[session_id] = answer or a_fetched_session(session_id)
        return a_message(**{"session_id": session_id, "user_id": USER} | changes)

    return sell


@pytest.fixture
def unpaid(consumer):
    """Return a function that sells an unpaid session and returns its message."""

    def build(session_id="cs_1", **changes):
        consumer.answers[session_id] = a_fetched_session(session_id, payment_status="unpaid")
        return a_message(session_id=session_id, payment_status="unpaid", **changes)

    return build
