"""`dlq list`, `redrive` and `purge`: what they say, and whether they say that all is well."""

import io
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from ops.cli.commands import dlq_redrive
from ops.cli.commands.dlq_list import list_
from ops.cli.commands.dlq_purge import purge
from ops.cli.commands.dlq_redrive import redrive
from ops.cli.signals import ASKED_TO_END, ending_like_ctrl_c
from ops.dlq.message_filter import MessageFilter
from ops.errors import CommandError
from testkit.builders import a_message
from testkit.dead_letters import EVERYTHING, Desk, Operator, dies, lies, visible
from testkit.doubles.faults import on, raising

MANY = 23


@pytest.fixture
def desk(world):
    return Desk(world)


@pytest.fixture(autouse=True)
def time_of_the_world(world, monkeypatch):
    """While a command rests, the consumer works."""

    def sleep(seconds):
        world.clock.sleep(seconds)
        if world.is_consuming:
            world.deliver(batch_size=10)

    world.is_consuming = True
    clock = world.clock
    monkeypatch.setattr(dlq_redrive, "time", SimpleNamespace(time=clock, monotonic=clock, sleep=sleep))


def held_elsewhere(world, number):
    """By another command, for as long as the test is at it."""
    world.memory_sqs.receive_message(QueueUrl=world.dlq, MaxNumberOfMessages=number, VisibilityTimeout=900)


# list


def test_an_empty_queue_is_fine(desk):
    answer = list_(desk)
    assert "The dead-letter queue is empty." in desk.shows(answer)
    assert not answer.needs_attention


def test_a_queue_of_which_all_is_in_flight_is_neither_empty_nor_fine(world, desk):
    lies(world, a_message())
    held_elsewhere(world, 10)
    answer = list_(desk)
    shown = desk.shows(answer)
    assert "In flight at this moment" in shown
    assert "1 message" in shown
    assert "empty" not in shown
    assert answer.needs_attention


# redrive


def test_a_redrive_that_settles_everything_is_fine(world, desk):
    dies(world, 3)
    answer = redrive(desk)
    assert "Moved 3 messages" in desk.shows(answer)
    assert not answer.needs_attention


def test_a_redrive_that_leaves_messages_in_flight_is_not_fine(world, desk):
    lies(world, a_message())
    held_elsewhere(world, 10)
    answer = redrive(desk)
    assert "In flight at this moment" in desk.shows(answer)
    assert answer.needs_attention


def test_a_moved_message_that_names_no_session_is_told_and_needs_a_person(world, desk):
    lies(world, "not JSON")
    answer = redrive(desk)
    assert "Moved without naming a session: 1 message." in desk.shows(answer)
    assert answer.needs_attention


def test_a_move_that_somebody_else_started_says_that_it_does_not_know_what_became_of_it(world, desk):
    dies(world, MANY)
    world.memory_sqs.move_rate = 10
    next(Operator(world).redrive()(EVERYTHING))
    answer = redrive(desk)
    assert "somebody else had started" in desk.shows(answer)
    assert (answer.data.joined, answer.data.moved, answer.needs_attention) == (True, MANY, True)


def test_a_paused_consumer_is_told_and_not_waited_for(world, desk):
    dies(world, 3)
    desk.stack.mapping = "Disabled"
    world.is_consuming = False
    began = world.clock()
    answer = redrive(desk)
    assert "The consumer is paused" in desk.shows(answer)
    assert (answer.data.moved, answer.needs_attention) == (3, True)
    assert world.clock() - began < 5


def test_with_nothing_to_move_a_paused_consumer_is_no_matter(desk):
    desk.stack.mapping = "Disabled"
    assert not redrive(desk).needs_attention


@pytest.mark.parametrize("command", [redrive, lambda *a, **o: purge(*a, yes=True, because="test", **o)])
def test_where_none_of_the_named_is_there_nothing_is_done(world, desk, command):
    ids = dies(world, 2)
    with pytest.raises(CommandError, match=r"^cs_nobody is not in the dead-letter queue; nothing was "):
        command(desk, session=["cs_nobody"])
    with pytest.raises(CommandError, match=r"^none of cs_nobody, cs_noone is in"):
        command(desk, session=["cs_nobody", "cs_noone"])
    held_elsewhere(world, 1)
    with pytest.raises(CommandError, match=r"or another command holds it at this moment \(1 in flight\)"):
        command(desk, session=["cs_nobody"])
    assert len(world.memory_sqs.messages(world.dlq)) == len(ids)


def test_a_dry_run_for_what_is_not_there_cannot_run_either(desk):
    with pytest.raises(CommandError, match="nothing would be moved"):
        redrive(desk, session=["cs_nobody"], dry_run=True)


@pytest.mark.parametrize("command", [redrive, lambda *a, **o: purge(*a, yes=True, because="test", **o)])
def test_where_some_of_the_named_are_there_they_are_done_and_the_others_told(world, desk, command):
    [session] = dies(world, 1)
    answer = command(desk, session=[session, "cs_nobody"])
    assert "Not in the dead-letter queue: cs_nobody" in desk.shows(answer)
    assert answer.needs_attention
    assert world.memory_sqs.messages(world.dlq) == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_an_error_type_that_no_message_has_is_told(world, desk, dry_run, named):
    ids = dies(world, 2)
    answer = redrive(
        desk, session=ids[:1] if named else [], error_type=["KeyRejected"], dry_run=dry_run, follow=0.0
    )
    assert "No matching message of a session failed with KeyRejected." in desk.shows(answer)
    assert (answer.data.unmatched, answer.needs_attention) == (("KeyRejected",), False)
    assert len(visible(world, world.dlq)) == 2


def test_an_error_type_that_a_message_has_is_not_told(world, desk):
    dies(world, 1)
    answer = redrive(desk, error_type=["SessionNotFound", "KeyRejected"])
    assert (answer.data.moved, answer.data.unmatched) == (1, ("KeyRejected",))


def test_a_pace_of_its_own_is_refused_while_another_move_is_under_way(world, desk):
    dies(world, MANY)
    world.memory_sqs.move_rate = 10
    next(Operator(world).redrive()(EVERYTHING))
    with pytest.raises(CommandError, match="leave --per-second out"):
        redrive(desk, per_second=5)


# Stopped


def test_ctrl_c_between_send_and_delete_says_that_a_batch_may_be_in_both_queues(world, desk):
    dies(world, MANY)
    world.memory_sqs.move_tasks = False
    world.sqs.plan = on("delete_message_batch", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        redrive(desk)
    words = "Stopped after 0 messages. Of the next 10, some may be in both queues, which does no harm"
    assert words in desk.told
    assert len(world.memory_sqs.messages(world.queue)) == 10
    assert len(visible(world, world.dlq)) == MANY


def test_ctrl_c_before_anything_was_moved_does_not_say_more_than_it_knows(world, desk):
    dies(world, 1)
    world.dynamodb.plan = on("batch_get_item", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        redrive(desk)
    assert "Stopped at the beginning" in desk.told
    assert len(visible(world, world.dlq)) == 1


@pytest.fixture
def nothing_ignored():
    """Also where the tests themselves run under nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ASKED_TO_END}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("nothing_ignored")
@pytest.mark.parametrize("number", ASKED_TO_END)
def test_a_kill_or_a_closed_terminal_gives_back_what_is_held(world, desk, number):
    def kill(call):
        if call.method == "send_message_batch" and len(world.memory_sqs.messages(world.queue)) >= 10:
            os.kill(os.getpid(), number)

    dies(world, MANY)
    world.memory_sqs.move_tasks = world.is_consuming = False
    world.sqs.plan = kill
    with pytest.raises(KeyboardInterrupt):
        redrive(desk)
    assert "Stopped after 10 messages." in desk.told
    assert len(visible(world, world.dlq)) == MANY - 10
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.usefixtures("nothing_ignored")
def test_the_second_signal_does_not_end_the_putting_back():
    put_back = []

    def works():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            put_back.append(True)

    with pytest.raises(KeyboardInterrupt), ending_like_ctrl_c():
        works()
    assert put_back


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# purge


class Terminal(io.StringIO):
    """Somebody who types these lines; `meanwhile` happens before the first."""

    def __init__(self, text, meanwhile):
        super().__init__(text)
        self.meanwhile = [meanwhile] if meanwhile else []

    def isatty(self):
        return True

    def readline(self, *size):
        if self.meanwhile:
            self.meanwhile.pop()()
        return super().readline(*size)


@pytest.fixture
def types(monkeypatch):
    def types(text, meanwhile=None):
        monkeypatch.setattr(sys, "stdin", Terminal(text, meanwhile))

    return types


def test_a_purge_that_is_agreed_to_drops_what_was_shown(world, desk, types):
    [session, other] = dies(world, 2)
    types("y\nrefunded\n")
    answer = purge(desk, session=[session])
    assert not answer.needs_attention
    assert session in desk.told
    assert world.outcome(session)["dismissedBecause"] == "refunded"
    assert [message["sessionId"] for message in world.dead()] == [other]


def test_a_purge_that_is_not_agreed_to_drops_nothing(world, desk, types):
    [session] = dies(world, 1)
    types("n\n")
    with pytest.raises(CommandError, match="not agreed to"):
        purge(desk, session=[session])
    assert len(visible(world, world.dlq)) == 1


def test_a_session_that_nobody_could_be_asked_about_is_not_given_up(world, desk, types):
    """Another command holds its message during the look, and gives it back right after."""
    [session] = dies(world, 1)
    held_elsewhere(world, 1)

    looks = world.history.count("receive_message")

    def given_back(call):
        has_looked = world.history.count("receive_message") > looks
        world.clock.now += 1000 if has_looked and call.method == "get_queue_attributes" else 0

    world.sqs.plan = given_back
    types("y\ntest\n")
    with pytest.raises(
        CommandError, match=r"or another command holds it at this moment .*nothing was dropped"
    ):
        purge(desk, session=[session])
    assert world.outcome(session)["outcome"] == "error"
    assert len(world.memory_sqs.messages(world.dlq)) == 1


def test_a_message_that_came_after_the_question_is_not_dropped_with_those_agreed_to(world, desk, types):
    [session] = dies(world, 1)
    message = Operator(world).list().messages[Operator(world).letters[0].message_id]
    new = []
    types("y\ntest\n", lambda: new.append(lies(world, message)))
    purge(desk, session=[session])
    assert [one.message_id for one in world.memory_sqs.messages(world.dlq)] == new


def test_a_message_that_is_gone_when_it_was_agreed_to_is_named_by_its_session(world, desk, types):
    first, second = dies(world, 2)

    types("y\ntest\n", lambda: Operator(world, by_hand=True).moves(MessageFilter(frozenset({first}))))
    answer = purge(desk, session=[first, second])
    assert answer.data.missing == (first,)
    assert answer.needs_attention
    assert world.outcome(first)["outcome"] == "error"
    assert world.outcome(second)["reason"] == "dismissed"


def test_where_all_that_was_agreed_to_is_gone_the_session_is_named(world, desk, types):
    [session] = dies(world, 1)
    types("y\ntest\n", lambda: Operator(world, by_hand=True).moves())
    with pytest.raises(
        CommandError, match=f"^{session} is not in the dead-letter queue; nothing was dropped"
    ):
        purge(desk, session=[session])
    assert world.outcome(session)["outcome"] == "error"
