"""Listed pages: sent beside the listing, rarely waiting for events, and not counted unless sent."""

import pytest

from producer import page_sender
from producer.page_sender import PageSender, Steps
from recon.domain.run import Listing, Part
from recon.errors import OutOfTime, QueueUnavailable
from testkit.builders import FakeTime

PAGE = 100


class Recorder:
    """Steps that record what they do. A page is its number, and each has a hundred messages."""

    def __init__(self):
        self.clock = FakeTime()
        self.begun, self.sent, self.counted = 0, [], []
        self.is_refreshed = True
        self.fails_at = float("inf")

    def begin_refresh(self):
        self.begun += 1

    def filter_pages(self, pages):
        return [(page, n) for page in pages for n in range(PAGE)]

    def enqueue(self, messages):
        if len(self.sent) + len(messages) > self.fails_at:
            self.fails_at = float("inf")
            raise QueueUnavailable("SQS rejected 1 entries of a batch")
        self.sent += messages

    def count(self, sent, left):
        self.counted.append((sent, left.parts[0].end))

    @property
    def sender(self):
        steps = Steps(
            self.begin_refresh, lambda: self.is_refreshed, self.filter_pages, self.enqueue, self.count
        )
        return PageSender(steps, self.clock)


@pytest.fixture
def steps():
    return Recorder()


def add(sender, page):
    sender.add([page], Listing((Part(0, 1000 - page),)))


def test_each_message_is_sent_once_and_counted_with_what_is_left_then(steps):
    with steps.sender as sender:
        for page in range(30):
            add(sender, page)
            steps.clock.now += 0.1
    assert steps.sent == [(page, n) for page in range(30) for n in range(PAGE)]
    assert sum(sent for sent, _ in steps.counted) == 3000
    total = 0
    for sent, end in steps.counted:
        total += sent
        assert end == 1000 - (total // PAGE - 1)


def test_first_page_is_sent_without_waiting_for_others(steps):
    with steps.sender as sender:
        add(sender, 0)
        add(sender, 1)
        assert len(steps.sent) == PAGE


def test_events_are_read_rarely_in_a_long_listing(steps):
    with steps.sender as sender:
        for page in range(10_000):
            add(sender, page)
            steps.clock.now += 0.104
            assert len(sender._waiting) <= page_sender.MOST_PAGES
    assert steps.begun <= 10_000 * 0.011


def test_slow_events_hold_only_so_many_pages(steps):
    steps.is_refreshed = False
    with steps.sender as sender:
        for page in range(400):
            add(sender, page)
            assert len(sender._waiting) <= page_sender.MOST_DUE_PAGES


@pytest.mark.parametrize("pages", [0, 1, 5])
def test_listed_pages_are_sent_when_the_listing_fails(steps, pages):
    with pytest.raises(OutOfTime), steps.sender as sender:  # noqa: PT012 - the block ends with the error
        for page in range(pages):
            add(sender, page)
        raise OutOfTime("no time")
    assert sum(sent for sent, _ in steps.counted) == len(steps.sent) == 100 * pages
    assert bool(steps.begun) is bool(pages)


def test_nothing_is_counted_whose_sending_failed(steps):
    with steps.sender as sender:
        add(sender, 0)
    steps.fails_at = 600
    steps.clock.now += 100
    with pytest.raises(QueueUnavailable), steps.sender as sender:  # noqa: PT012 - any of these calls raises
        add(sender, 1)
        steps.clock.now += 0.01
        for page in range(2, 12):
            add(sender, page)
    assert sum(sent for sent, _ in steps.counted) <= len(steps.sent) <= 600
    assert all(end >= 1000 - len(steps.sent) // PAGE for _, end in steps.counted)


def test_nothing_more_is_sent_or_counted_after_a_step_has_failed(steps):
    steps.fails_at = 50
    with pytest.raises(QueueUnavailable), steps.sender as sender:  # noqa: PT012 - the second call raises
        add(sender, 0)
        add(sender, 1)
    assert (steps.sent, steps.counted) == ([], [])


def test_killed_invocation_sends_nothing_more(steps):
    with pytest.raises(KeyboardInterrupt), steps.sender as sender:  # noqa: PT012 - the block ends with it
        add(sender, 0)
        add(sender, 1)
        sent = len(steps.sent)
        raise KeyboardInterrupt
    assert len(steps.sent) == sent
