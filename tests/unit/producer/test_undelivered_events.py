"""The undelivered events of sessions: read beside their listing, in few requests and flat memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer import undelivered_events
from producer.undelivered_events import (
    AWAITED_PER_PAGE,
    FEW,
    MOST_AWAITED,
    MOST_KEPT,
    UndeliveredEvents,
)
from recon.domain.stripe_objects import ASYNC_PAYMENT_SUCCEEDED, CHECKOUT_COMPLETED
from recon.stripe.source import SessionEvent
from recon.timestamps import DAY, HOUR

START, END = 10 * DAY, 20 * DAY


class EventLog:
    """Undelivered events at the given delays after sessions were created, listed newest first.

    `payments` are the times of further ones, each of the delayed payment of a session by its number.
    """

    def __init__(self, sessions, delay=60, payments=()):
        self.sessions = sessions
        self.events = [
            SessionEvent(f"evt_{n}", CHECKOUT_COMPLETED, at + delay, f"cs_{n}")
            for n, at in enumerate(sessions)
        ]
        self.events += [
            SessionEvent(f"evt_paid_{n}", ASYNC_PAYMENT_SUCCEEDED, at, f"cs_{n}") for n, at in payments
        ]
        self.events.sort(key=lambda event: -event.created)
        self.read = self.payments_read = 0

    def list_events(self, since, until):
        for event in self.events:
            if since <= event.created and (until is None or event.created <= until):
                self.read += 1
                yield event

    def list_payments(self, since):
        for event in self.events:
            if since <= event.created and event.type == ASYNC_PAYMENT_SUCCEEDED:
                self.payments_read += 1
                yield event

    def follow(self):
        return UndeliveredEvents(self.list_events, self.list_payments, START)


def take_all(events, sessions, page=100):
    """Return the sessions that were sent with their event, listed newest first, a page at a time."""
    order = sorted(range(len(sessions)), key=lambda number: -sessions[number])
    found = set()
    for first in range(0, len(order), page):
        numbers = order[first : first + page]
        events.read_for(min(sessions[n] for n in numbers), max(sessions[n] for n in numbers))
        found |= {n for n in numbers if [e.id for e in events.take(f"cs_{n}")] == [f"evt_{n}"]}
    return found


def spread(count, start=START, end=END):
    return [start + n * (end - start) // count for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, FEW - 1])
def test_few_events_are_all_known_at_once(count):
    log = EventLog(spread(count) if count else [])
    events = log.follow()
    assert (events.are_few, log.read) == (True, count)
    events.read_for(START, END)
    assert [len(events.take(f"cs_{n}")) for n in range(count)] == [1] * count
    assert (log.read, events.are_missing) == (count, False)


@pytest.mark.parametrize("delay", [0, 60, DAY])
def test_many_events_are_read_once_with_the_sessions(delay):
    log = EventLog(spread(20_000), delay)
    events = log.follow()
    assert (events.are_few, log.read) == (False, FEW)
    assert take_all(events, log.sessions) == set(range(20_000))
    assert (log.read, events.are_missing) == (20_000, False)
    assert not events.take("cs_1")


def test_events_are_read_only_as_far_back_as_the_sessions():
    log = EventLog(spread(20_000))
    events = log.follow()
    newest = log.sessions[-100:]
    events.read_for(newest[0], newest[-1])
    assert log.read <= FEW + 1


def test_memory_holds_no_more_than_the_events_of_open_sessions():
    log = EventLog(spread(20_000), delay=DAY)
    events, most = log.follow(), 0
    for first in range(19_900, -1, -100):
        events.read_for(log.sessions[first], log.sessions[first + 99])
        most = max(most, len(events._by_session))
        for number in range(first, first + 100):
            events.take(f"cs_{number}")
    # Ten days have 20,000 sessions.
    assert most <= 2_000 + 200
    assert not events._by_session


def test_listing_that_begins_further_back_skips_newer_events():
    """A continued listing does not read the events of the sessions that were sent before."""
    log = EventLog(spread(20_000))
    events = log.follow()
    sessions = log.sessions[:10_000]
    assert take_all(events, sessions) == set(range(10_000))
    assert log.read <= FEW + 10_000 + 2 * 2_000
    assert not events.are_missing


@pytest.mark.parametrize("hour", [0, 1, 23])
def test_sessions_are_not_held_back_for_more_events_than_allowed(hour):
    """Events of other sessions, in the day after a session, are not all read before it is sent."""
    others = [END - 100 + n % 100 for n in range(3 * MOST_AWAITED)]
    log = EventLog([END - hour * HOUR - 200, *others])
    events = log.follow()
    events.read_for(log.sessions[0], log.sessions[0])
    assert log.read <= FEW + MOST_AWAITED
    assert events.are_missing
    assert not events.take("cs_0")
    events.read_for(log.sessions[0], log.sessions[0])
    assert log.read <= FEW + MOST_AWAITED + AWAITED_PER_PAGE


def test_events_of_one_second_that_are_not_all_read_may_be_missing():
    log = EventLog([END] * (2 * MOST_AWAITED), delay=0)
    events = log.follow()
    events.read_for(END, END)
    assert log.read == FEW + MOST_AWAITED
    assert events.are_missing


@pytest.mark.parametrize("first", [0, 300, 900])
@pytest.mark.parametrize("days", [0, 2, 40])
def test_late_payment_is_known_wherever_an_invocation_begins(first, days):
    """A payment may be later than a day after the session, and older than the newest events."""
    sessions = spread(1000)
    log = EventLog(sessions, payments=[(n, sessions[n] + days * DAY + 1) for n in range(0, 1000, 50)])
    events = log.follow()
    for start in range(900 - first, -1, -100):
        events.read_for(sessions[start], sessions[start + 99])
        for n in range(start, start + 100):
            expected = {f"evt_{n}"} | ({f"evt_paid_{n}"} if n % 50 == 0 else set())
            taken = [event.id for event in events.take(f"cs_{n}")]
            assert (set(taken), len(taken)) == (expected, len(expected))
    assert not events.are_missing


@pytest.mark.parametrize(("beyond", "are_missing"), [(0, False), (1, True), (250, True)])
def test_payments_are_bounded(monkeypatch, beyond, are_missing):
    monkeypatch.setattr(undelivered_events, "MOST_PAYMENTS", 700)
    log = EventLog([], payments=[(n, END - n) for n in range(700 + beyond)])
    events = log.follow()
    assert (events.are_missing, log.payments_read) == (are_missing, 700 + are_missing)
    assert [len(events.take(f"cs_{n}")) for n in (0, 699)] == [1, 1]


def test_payments_are_not_read_apart_where_few_events_are_all():
    log = EventLog([START], payments=[(n, END - n) for n in range(FEW - 2)])
    events = log.follow()
    assert (events.are_few, log.payments_read) == (True, 0)
    assert [event.id for event in events.take("cs_0")] == ["evt_paid_0", "evt_0"]


def test_kept_events_are_bounded(monkeypatch):
    monkeypatch.setattr(undelivered_events, "MOST_AWAITED", 10 * MOST_KEPT)
    log = EventLog([START] + [START + HOUR] * (MOST_KEPT + 10))
    events = log.follow()
    assert not events.are_missing
    events._awaited = 10 * MOST_KEPT
    events.read_for(START, START)
    assert events.are_missing
    assert len(events._by_session) <= MOST_KEPT


# A session completes within a day, and is paid at any time after that.
EVENTS = st.one_of(
    st.tuples(st.just(CHECKOUT_COMPLETED), st.integers(0, DAY)),
    st.tuples(st.just(ASYNC_PAYMENT_SUCCEEDED), st.integers(0, 40 * DAY)),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(START, START + 2 * DAY), EVENTS), max_size=60),
    st.integers(1, 9),
    st.booleans(),
    st.data(),
)
def test_every_session_gets_its_events_in_any_order_of_times(sold, page, few, data):
    """A page may be of any size, and an invocation may begin at any page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(undelivered_events, "FEW", 1000 if few else 3)
        log = EventLog([created for created, _ in sold])
        log.events = sorted(
            (
                SessionEvent(f"evt_{n}", kind, at + delay, f"cs_{n}")
                for n, (at, (kind, delay)) in enumerate(sold)
            ),
            key=lambda event: -event.created,
        )
        first = data.draw(st.integers(0, len(sold)), "sent by an earlier invocation")
        order = sorted(range(len(sold)), key=lambda number: -log.sessions[number])[first:]
        events = log.follow()
        for start in range(0, len(order), page):
            numbers = order[start : start + page]
            events.read_for(*(pick(log.sessions[n] for n in numbers) for pick in (min, max)))
            for number in numbers:
                assert {event.id for event in events.take(f"cs_{number}")} == {f"evt_{number}"}
        assert not events.are_missing
