"""The undelivered events of sessions: read beside their listing, in few requests and flat memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer import undelivered_events
from producer.undelivered_events import FEW, MOST_AWAITED, MOST_KEPT, UndeliveredEvents
from recon.stripe.source import SessionEvent
from recon.timestamps import DAY, HOUR

START, END = 10 * DAY, 20 * DAY


class EventLog:
    """Undelivered events at the given delays after sessions were created, listed newest first."""

    def __init__(self, sessions, delay=60):
        self.sessions = sessions
        self.events = sorted(
            (SessionEvent(f"evt_{n}", "c", at + delay, f"cs_{n}") for n, at in enumerate(sessions)),
            key=lambda event: -event.created,
        )
        self.read = 0

    def list_events(self, since, until):
        for event in self.events:
            if since <= event.created and (until is None or event.created <= until):
                self.read += 1
                yield event

    def follow(self, until=END + DAY):
        return UndeliveredEvents(self.list_events, START, until)


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


@pytest.mark.parametrize("until", [None, END + DAY])
@pytest.mark.parametrize("delay", [0, 60, DAY])
def test_many_events_are_read_once_with_the_sessions(delay, until):
    log = EventLog(spread(20_000), delay)
    events = log.follow(until)
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
    events = log.follow(END)
    events.read_for(log.sessions[0], log.sessions[0])
    assert log.read <= FEW + MOST_AWAITED
    assert events.are_missing
    assert not events.take("cs_0")


def test_kept_events_are_bounded(monkeypatch):
    monkeypatch.setattr(undelivered_events, "MOST_AWAITED", 10 * MOST_KEPT)
    log = EventLog([START] + [START + HOUR] * (MOST_KEPT + 10))
    events = log.follow()
    assert not events.are_missing
    events._awaited = 10 * MOST_KEPT
    events.read_for(START, START)
    assert events.are_missing
    assert len(events._by_session) <= MOST_KEPT


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(START, START + 2 * DAY), st.integers(0, DAY)), max_size=60),
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
            (SessionEvent(f"evt_{n}", "c", at + delay, f"cs_{n}") for n, (at, delay) in enumerate(sold)),
            key=lambda event: -event.created,
        )
        first = data.draw(st.integers(0, len(sold)), "sent by an earlier invocation")
        order = sorted(range(len(sold)), key=lambda number: -log.sessions[number])[first:]
        events = log.follow(data.draw(st.sampled_from([None, START + 3 * DAY])))
        for start in range(0, len(order), page):
            numbers = order[start : start + page]
            events.read_for(*(pick(log.sessions[n] for n in numbers) for pick in (min, max)))
            for number in numbers:
                assert {event.id for event in events.take(f"cs_{number}")} == {f"evt_{number}"}
        assert not events.are_missing
