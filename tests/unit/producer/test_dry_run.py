"""The dry run: the outcomes that a run would have, with nothing written."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.dry_run import TRUNCATED, DryRun, SessionBudget
from producer.webhook_events import NO_EVENTS, UNREADABLE
from recon.config import Settings
from recon.errors import KeyNotAllowed, OutOfTime, TableUnavailable
from recon.stripe.pages import Page
from recon.stripe.source import SessionEvent
from recon.timestamps import HOUR
from testkit.builders import NOW, FakeTime, a_session
from testkit.doubles.faults import on, throttled
from testkit.runs import a_run


class OnePageStripe:
    """A StripeSource with one page; `error` is raised instead of the page, an exception as `events` too."""

    def __init__(self, *sessions, error=None, events=(), unreadable=0):
        self.page = Page(list(sessions), has_more=False, unreadable=unreadable)
        self.error = error
        self.events = events
        self.requests = []

    def list_sessions(self, start, end, *, after=None):
        self.requests.append((start, end, after))
        if self.error:
            raise self.error
        return self.page

    def list_events(self, created_from, *, created_to=None, undelivered=False):
        self.requests.append((created_from, undelivered))
        if isinstance(self.events, Exception):
            raise self.events
        yield from self.events


@pytest.fixture
def predict(table):
    def run(stripe, limit=None, **settings):
        settings = Settings(table="t", queue_url="q", order_number_prefix="SHOP", **settings)
        with ThreadPoolExecutor(2) as pool:
            dry_run = DryRun(settings, table, lambda: stripe, pool, FakeTime().deadline(60), lambda: NOW)
            return dry_run.predict(a_run(warnings=("careful",)), limit)

    return run


def sold(number, **changes):
    return a_session(
        id=f"cs_test_{number}", created=NOW - HOUR - number, metadata={"userId": "u1"}, **changes
    )


def test_dry_run_counts_the_outcome_of_each_session(predict, put, memory):
    put(("USER#u1", f"ORDER#{NOW}#cs_test_3"), orderId="cs_test_3")
    stripe = OnePageStripe(
        sold(1), sold(2, payment_status="unpaid"), sold(3), sold(4, payment_status=None), sold(5, mode=7)
    )
    run, numbers, found = predict(stripe)
    assert (run.processed, run.created, run.skipped, run.errors, found) == (5, 1, 2, 2, 1)
    assert numbers == ["SHOP-STEST1"]
    assert (run.status, run.completed_at, run.truncated) == ("done", "2024-11-27T02:00:00Z", False)
    assert run.warnings == ("careful",)
    assert stripe.requests == [(NOW - 599, False), (NOW - 25 * HOUR, NOW - 600, None)]
    assert {call.method for call in memory.history.calls} == {"put_item", "query", "batch_get_item"}


def test_dry_run_leaves_sessions_to_the_next_run(predict):
    event = SessionEvent("evt_1", "checkout.session.completed", NOW - 60, "cs_test_1")
    run, numbers, _ = predict(OnePageStripe(sold(1), sold(2), events=[event]))
    assert (run.processed, run.created, len(numbers)) == (1, 1, 1)


def test_dry_run_skips_expired_sessions(predict):
    run, *_ = predict(OnePageStripe(a_session(created=NOW - 49 * HOUR)), order_ttl_days=1)
    assert (run.created, run.skipped) == (0, 1)


def test_dry_run_takes_the_oldest_up_to_its_limit(predict):
    run, numbers, _ = predict(OnePageStripe(sold(1), sold(2), sold(3)), limit=2)
    assert (run.created, run.truncated, run.warnings) == (2, True, ("careful", TRUNCATED))
    assert [number[-1] for number in numbers] == ["3", "2"]


def test_dry_run_out_of_time_is_truncated(predict):
    run, numbers, _ = predict(OnePageStripe(error=OutOfTime("no time")))
    assert (run.processed, run.truncated, run.warnings) == (0, True, ("careful", TRUNCATED))
    assert numbers == []


def test_dry_run_warns_of_unreadable_events_and_sessions(predict):
    run, *_ = predict(OnePageStripe(sold(1), unreadable=1, events=KeyNotAllowed("no")))
    assert run.warnings == ("careful", NO_EVENTS, UNREADABLE)
    assert run.created == 1


def test_dry_run_fails_if_orders_cannot_be_looked_up(predict, memory):
    memory.plan = on("query", throttled())
    with pytest.raises(TableUnavailable):
        predict(OnePageStripe(sold(1)))


def test_budget_takes_the_limit_and_notes_that_there_was_more():
    budget = SessionBudget(3)
    assert (budget.take(["a", "b"]), budget.truncated) == (["a", "b"], False)
    assert (budget.take(["c", "d"]), budget.truncated) == (["c"], True)
    assert budget.remaining == 0


def test_budget_without_a_limit_takes_everything():
    budget = SessionBudget(None)
    assert (budget.take(["a", "b"]), budget.truncated) == (["a", "b"], False)
