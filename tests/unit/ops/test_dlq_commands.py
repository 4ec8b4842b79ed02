"""`dlq list`, `redrive` and `purge`: their texts and exit codes."""

import io
import os
import signal
import sys
from functools import partial
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
from testkit.dead_letters import (
    DeadLetterTools,
    WorldOperator,
    fail_sessions,
    list_visible,
    put_dead,
    take,
)
from testkit.doubles.faults import on, raising

MANY = 23


@pytest.fixture
def operator(world):
    return WorldOperator(world)


@pytest.fixture(autouse=True)
def consume_while_waiting(world, monkeypatch):
    """Let the consumer work while a command sleeps."""

    def sleep(seconds):
        world.clock.sleep(seconds)
        if world.is_consuming:
            world.deliver(batch_size=10)

    world.is_consuming = True
    clock = world.clock
    monkeypatch.setattr(dlq_redrive, "time", SimpleNamespace(time=clock, monotonic=clock, sleep=sleep))


purge_now = partial(purge, yes=True, because="test")


# list


def test_list_of_empty_queue_is_fine(operator):
    result = list_(operator)
    assert "The dead-letter queue is empty." in operator.show(result)
    assert not result.needs_attention


@pytest.mark.parametrize("command", [list_, redrive])
def test_messages_in_flight_need_attention(world, operator, command):
    put_dead(world, a_message())
    take(world, 10)
    result = command(operator)
    text = operator.show(result)
    assert "In flight at this moment" in text
    assert "1 message" in text
    assert "empty" not in text
    assert result.needs_attention


# redrive


def test_redrive_that_settles_everything_is_fine(world, operator):
    fail_sessions(world, 3)
    result = redrive(operator)
    assert "Moved 3 messages" in operator.show(result)
    assert not result.needs_attention


def test_redrive_of_nameless_message_needs_attention(world, operator):
    put_dead(world, "not JSON")
    result = redrive(operator)
    assert "Moved without naming a session: 1 message." in operator.show(result)
    assert result.needs_attention


@pytest.fixture
def other_move(world):
    """Start a move by another command, which goes on without it."""
    fail_sessions(world, MANY)
    world.memory_sqs.move_rate = 10
    next(DeadLetterTools(world).start_move())


@pytest.mark.usefixtures("other_move")
def test_redrive_that_follows_another_move_does_not_know_its_sessions(operator):
    result = redrive(operator)
    assert "somebody else had started" in operator.show(result)
    assert (result.data.joined, result.data.moved, result.needs_attention) == (True, MANY, True)


@pytest.mark.usefixtures("other_move")
def test_redrive_with_pace_is_refused_during_another_move(operator):
    with pytest.raises(CommandError, match="leave --per-second out"):
        redrive(operator, per_second=5)


def test_redrive_does_not_wait_for_paused_consumer(world, operator):
    fail_sessions(world, 3)
    operator.place.mapping = "Disabled"
    world.is_consuming = False
    began = world.clock()
    result = redrive(operator)
    assert "The consumer is paused" in operator.show(result)
    assert (result.data.moved, result.needs_attention) == (3, True)
    assert world.clock() - began < 5


def test_redrive_of_nothing_ignores_paused_consumer(operator):
    operator.place.mapping = "Disabled"
    assert not redrive(operator).needs_attention


@pytest.mark.parametrize("command", [redrive, partial(redrive, dry_run=True), purge_now])
def test_command_for_missing_sessions_only_is_refused(world, operator, command):
    ids = fail_sessions(world, 2)
    with pytest.raises(
        CommandError, match=r"^cs_nobody is not in the dead-letter queue; nothing w(as|ould be) "
    ):
        command(operator, session=["cs_nobody"])
    with pytest.raises(CommandError, match=r"^none of cs_nobody, cs_noone is in"):
        command(operator, session=["cs_nobody", "cs_noone"])
    take(world, 1)
    with pytest.raises(CommandError, match=r"or another command holds it at this moment \(1 in flight\)"):
        command(operator, session=["cs_nobody"])
    assert len(world.memory_sqs.messages(world.dlq)) == len(ids)


@pytest.mark.parametrize("command", [redrive, purge_now])
def test_command_for_some_missing_sessions_reports_them(world, operator, command):
    [session] = fail_sessions(world, 1)
    result = command(operator, session=[session, "cs_nobody"])
    assert "Not in the dead-letter queue: cs_nobody" in operator.show(result)
    assert result.needs_attention
    assert world.memory_sqs.messages(world.dlq) == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_redrive_reports_unmatched_error_type(world, operator, dry_run, named):
    ids = fail_sessions(world, 2)
    result = redrive(
        operator, session=ids[:1] if named else [], error_type=["KeyRejected"], dry_run=dry_run, follow=0.0
    )
    assert "No matching message of a session failed with KeyRejected." in operator.show(result)
    assert (result.data.unmatched, result.needs_attention) == (("KeyRejected",), False)
    assert len(list_visible(world)) == 2


def test_redrive_does_not_report_matched_error_type(world, operator):
    fail_sessions(world, 1)
    result = redrive(operator, error_type=["SessionNotFound", "KeyRejected"])
    assert (result.data.moved, result.data.unmatched) == (1, ("KeyRejected",))


# Stopped


def test_ctrl_c_between_send_and_delete_reports_possible_doubles(world, operator):
    fail_sessions(world, MANY)
    world.memory_sqs.move_tasks = False
    world.sqs.plan = on("delete_message_batch", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        redrive(operator)
    text = "Stopped after 0 messages. Of the next 10, some may be in both queues, which does no harm"
    assert text in operator.log
    assert len(world.memory_sqs.messages(world.queue)) == 10
    assert len(list_visible(world)) == MANY


def test_ctrl_c_before_the_first_move_reports_no_number(world, operator):
    fail_sessions(world, 1)
    world.dynamodb.plan = on("batch_get_item", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        redrive(operator)
    assert "Stopped at the beginning" in operator.log
    assert len(list_visible(world)) == 1


@pytest.fixture
def default_signals():
    """Reset the handlers, in case the tests themselves run under nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ASKED_TO_END}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", ASKED_TO_END)
def test_signal_releases_held_messages(world, operator, number):
    def kill(call):
        if call.method == "send_message_batch" and len(world.memory_sqs.messages(world.queue)) >= 10:
            os.kill(os.getpid(), number)

    fail_sessions(world, MANY)
    world.memory_sqs.move_tasks = world.is_consuming = False
    world.sqs.plan = kill
    with pytest.raises(KeyboardInterrupt):
        redrive(operator)
    assert "Stopped after 10 messages." in operator.log
    assert len(list_visible(world)) == MANY - 10
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.usefixtures("default_signals")
def test_second_signal_does_not_interrupt_cleanup():
    cleaned_up = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned_up.append(True)

    with pytest.raises(KeyboardInterrupt), ending_like_ctrl_c():
        work()
    assert cleaned_up


def test_signal_ignored_by_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# purge


class Terminal(io.StringIO):
    """A terminal with typed lines; `before` is called before the first one is read."""

    def __init__(self, text, before):
        super().__init__(text)
        self.before = [before] if before else []

    def isatty(self):
        return True

    def readline(self, *size):
        if self.before:
            self.before.pop()()
        return super().readline(*size)


@pytest.fixture
def type_lines(monkeypatch):
    return lambda text, before=None: monkeypatch.setattr(sys, "stdin", Terminal(text, before))


def test_confirmed_purge_drops_what_was_shown(world, operator, type_lines):
    [session, other] = fail_sessions(world, 2)
    type_lines("y\nrefunded\n")
    result = purge(operator, session=[session])
    assert not result.needs_attention
    assert session in operator.log
    assert world.outcome(session)["dismissedBecause"] == "refunded"
    assert [message["sessionId"] for message in world.dead()] == [other]


def test_declined_purge_drops_nothing(world, operator, type_lines):
    [session] = fail_sessions(world, 1)
    type_lines("n\n")
    with pytest.raises(CommandError, match="not agreed to"):
        purge(operator, session=[session])
    assert len(list_visible(world)) == 1


def test_purge_of_session_that_could_not_be_shown_is_refused(world, operator, type_lines):
    """Another command holds the message during the listing and releases it right after."""
    [session] = fail_sessions(world, 1)
    take(world, 1)
    receives = world.history.count("receive_message")

    def release(call):
        was_listed = world.history.count("receive_message") > receives
        world.clock.now += 1000 if was_listed and call.method == "get_queue_attributes" else 0

    world.sqs.plan = release
    type_lines("y\ntest\n")
    with pytest.raises(CommandError, match=r"or another command holds it .*nothing was dropped"):
        purge(operator, session=[session])
    assert world.outcome(session)["outcome"] == "error"
    assert len(world.memory_sqs.messages(world.dlq)) == 1


def test_message_that_came_after_the_question_is_not_purged(world, operator, type_lines):
    [session] = fail_sessions(world, 1)
    message = DeadLetterTools(world).message
    new = []
    type_lines("y\ntest\n", lambda: new.append(put_dead(world, message)))
    purge(operator, session=[session])
    assert [one.message_id for one in world.memory_sqs.messages(world.dlq)] == new


def test_confirmed_message_that_is_gone_is_reported_by_session(world, operator, type_lines):
    first, second = fail_sessions(world, 2)
    tools = DeadLetterTools(world, tasks=False)
    type_lines("y\ntest\n", lambda: tools.move(MessageFilter(frozenset({first}))))
    result = purge(operator, session=[first, second])
    assert result.data.missing == (first,)
    assert result.needs_attention
    assert world.outcome(first)["outcome"] == "error"
    assert world.outcome(second)["reason"] == "dismissed"


def test_purge_is_refused_if_all_confirmed_messages_are_gone(world, operator, type_lines):
    [session] = fail_sessions(world, 1)
    type_lines("y\ntest\n", DeadLetterTools(world, tasks=False).move)
    with pytest.raises(
        CommandError, match=f"^{session} is not in the dead-letter queue; nothing was dropped"
    ):
        purge(operator, session=[session])
    assert world.outcome(session)["outcome"] == "error"
