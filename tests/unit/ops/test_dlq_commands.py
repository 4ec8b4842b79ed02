"""`dlq list`, `redrive` and `purge`: their output, exit status and interruptions."""

import io
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ops.cli.commands import dlq_redrive
from ops.cli.commands.dlq_list import list_
from ops.cli.commands.dlq_purge import purge
from ops.cli.commands.dlq_redrive import redrive
from ops.cli.signals import TERMINATION_SIGNALS, interrupt_on_termination
from ops.dlq.message_filter import MessageFilter
from ops.errors import CommandError
from testkit.builders import a_message
from testkit.dead_letters import DeadLetterTools, fail_sessions, list_visible, put_dead, take
from testkit.doubles.faults import on, raising

MANY = 23


@pytest.fixture(autouse=True)
def world_time(world, monkeypatch):
    """Let the consumer work while a command sleeps."""

    def sleep(seconds):
        world.clock.sleep(seconds)
        if world.is_consuming:
            world.deliver(batch_size=10)

    world.is_consuming = True
    clock = world.clock
    monkeypatch.setattr(dlq_redrive, "time", SimpleNamespace(time=clock, monotonic=clock, sleep=sleep))


def start_slow_move(world):
    """Start a move by SQS as another operator would."""
    world.memory_sqs.move_rate = 10
    next(DeadLetterTools(world).start_move())


# list


def test_list_of_an_empty_queue_is_fine(context):
    result = list_(context)
    assert "The dead-letter queue is empty." in context.show(result)
    assert not result.needs_attention


@pytest.mark.parametrize("command", [list_, redrive])
def test_messages_in_flight_need_attention(world, context, command):
    put_dead(world, a_message())
    take(world, 10)
    result = command(context)
    output = context.show(result)
    assert "In flight, held by another command or by one that just ended: 1 message." in output
    assert "empty" not in output
    assert result.needs_attention


def test_list_shows_error_age_and_prediction(world, context):
    fail_sessions(world, 1)
    plain = list_(context)
    assert "SessionNotFound" in context.show(plain)
    assert plain.needs_attention
    output = context.show(list_(context, with_check=True))
    assert "now it would become order BC-" in output
    assert plain.data.letters[0].has_order is False


@pytest.mark.parametrize("with_check", [False, True])
def test_list_says_that_a_session_has_its_order_by_now(world, context, with_check):
    first, _ = fail_sessions(world, 2)
    world.webhook_writes(first, "user-0", world.clock() - 60)
    put_dead(world, "not JSON")
    result = list_(context, with_check=with_check)
    found = {one.session_id: one.has_order for one in result.data.letters}
    assert list(found.values()) == [True, False, None]
    assert context.show(result).count(" exists by now: a redrive only drops the message") == 1
    assert result.needs_attention


# redrive


def test_redrive_that_settles_everything_is_fine(world, context):
    fail_sessions(world, 3)
    result = redrive(context)
    output = context.show(result)
    assert "Moved 3 messages" in output
    assert "3 now have their order" in output
    assert not result.needs_attention


def test_redrive_tells_existing_orders_from_needless_ones(world, context):
    first, second, third = fail_sessions(world, 3)
    for session, user in ((first, "user-0"), (second, "user-1")):
        world.webhook_writes(session, user, world.clock() - 60)
    world.sells(replace(world.stripe.store.session(third), amount_refunded=1500))
    output = context.show(redrive(context))
    assert "2 already had their order" in output
    assert "1 needs no order" in output


def test_redrive_of_a_message_without_session_needs_attention(world, context):
    put_dead(world, "not JSON")
    result = redrive(context)
    assert "Moved without a session id: 1 message." in context.show(result)
    assert result.needs_attention


def test_redrive_joins_a_running_move_with_unknown_outcomes(world, context):
    fail_sessions(world, MANY)
    start_slow_move(world)
    with pytest.raises(CommandError, match="leave --per-second out"):
        redrive(context, per_second=5)
    result = redrive(context)
    assert "Another operator had started this move" in context.show(result)
    assert (result.data.joined, result.data.moved, result.needs_attention) == (True, MANY, True)


def test_redrive_does_not_wait_for_a_paused_consumer(world, context):
    context.stack.mapping = "Disabled"
    assert not redrive(context).needs_attention  # nothing to move
    world.clock.now += 1  # SQS tells moves apart by their start
    fail_sessions(world, 3)
    world.is_consuming = False
    started = world.clock()
    result = redrive(context)
    assert "The consumer is paused" in context.show(result)
    assert (result.data.moved, result.needs_attention) == (3, True)
    assert world.clock() - started < 5


def confirmed_purge(*args, **options):
    return purge(*args, yes=True, because="test", **options)


@pytest.mark.parametrize("command", [redrive, confirmed_purge])
def test_missing_sessions_are_named(world, context, command):
    [session, _] = fail_sessions(world, 2)
    with pytest.raises(CommandError, match=r"^cs_nobody is not in the dead-letter queue; nothing was "):
        command(context, session=["cs_nobody"])
    with pytest.raises(CommandError, match=r"^none of cs_nobody, cs_noone is in"):
        command(context, session=["cs_nobody", "cs_noone"])
    with pytest.raises(CommandError, match="nothing would be moved"):
        redrive(context, session=["cs_nobody"], dry_run=True)
    assert len(list_visible(world)) == 2
    result = command(context, session=[session, "cs_nobody"])
    assert "Not in the dead-letter queue: cs_nobody" in context.show(result)
    assert result.needs_attention
    take(world, 1)
    with pytest.raises(CommandError, match=r"or another command holds it \(1 in flight\)"):
        command(context, session=["cs_nobody"])
    assert len(world.memory_sqs.messages(world.dlq)) == 1


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_unmatched_error_types_are_named(world, context, dry_run, named):
    sessions = fail_sessions(world, 2)[: 1 if named else 0]
    result = redrive(context, session=sessions, error_type=["KeyRejected"], dry_run=dry_run, timeout=0.0)
    assert "No matching message of a session failed with KeyRejected." in context.show(result)
    assert (result.data.unmatched, result.needs_attention) == (("KeyRejected",), False)
    assert len(list_visible(world)) == 2
    result = redrive(context, error_type=["SessionNotFound", "KeyRejected"])
    assert (result.data.moved, result.data.unmatched) == (2, ("KeyRejected",))


# Interruptions


def test_interrupted_redrive_says_what_may_be_in_both_queues(world, context):
    fail_sessions(world, MANY)
    world.memory_sqs.move_tasks = False
    world.sqs.plan = on("delete_message_batch", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        redrive(context)
    assert "Stopped after 0 messages. Some of the next 10 may be in both queues, which is harm" in context.log
    assert len(world.memory_sqs.messages(world.queue)) == 10
    assert len(list_visible(world)) == MANY


def test_interruption_before_the_first_move_is_reported(world, context):
    fail_sessions(world, 1)
    world.dynamodb.plan = on("batch_get_item", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        redrive(context)
    assert "Stopped before anything was moved" in context.log
    assert len(list_visible(world)) == 1


@pytest.fixture
def default_signals():
    """Restore the default handlers, which nohup may have replaced in the test process."""
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in TERMINATION_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", TERMINATION_SIGNALS)
def test_termination_releases_held_messages(world, context, number):
    def kill(call):
        if call.method == "send_message_batch" and len(world.memory_sqs.messages(world.queue)) >= 10:
            os.kill(os.getpid(), number)

    fail_sessions(world, MANY)
    world.memory_sqs.move_tasks = world.is_consuming = False
    world.sqs.plan = kill
    with pytest.raises(KeyboardInterrupt):
        redrive(context)
    assert "Stopped after 10 messages." in context.log
    assert len(list_visible(world)) == MANY - 10
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.usefixtures("default_signals")
def test_second_signal_does_not_interrupt_the_cleanup():
    cleaned = []

    def interrupted_work():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), interrupt_on_termination():
        interrupted_work()
    assert cleaned


@pytest.mark.usefixtures("default_signals")
def test_ignored_signal_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupt_on_termination():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


# purge


class Terminal(io.StringIO):
    """A terminal on which an operator types; `before` is called before the first line."""

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
def typing(monkeypatch):
    def set_input(text, before=None):
        monkeypatch.setattr(sys, "stdin", Terminal(text, before))

    return set_input


def move_by_hand(world, *sessions):
    """Move messages away as another operator would."""
    DeadLetterTools(world, tasks=False).move(MessageFilter(frozenset(sessions)))


def test_confirmed_purge_drops_what_was_listed(world, context, typing):
    [session, other] = fail_sessions(world, 2)
    typing("n\n")
    with pytest.raises(CommandError, match="not confirmed; nothing was dropped"):
        purge(context, session=[session])
    assert len(list_visible(world)) == 2
    typing("y\nrefunded\n")
    result = purge(context, session=[session])
    assert f"{session}: dismissed" in context.show(result)
    assert not result.needs_attention
    assert session in context.log
    assert world.outcome(session)["dismissedBecause"] == "refunded"
    assert [message["sessionId"] for message in world.dead()] == [other]


def test_purge_without_a_terminal_needs_yes(world, context, monkeypatch):
    [session] = fail_sessions(world, 1)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\ntest\n"))
    with pytest.raises(CommandError, match="give --yes and --because"):
        purge(context, session=[session])
    assert len(list_visible(world)) == 1


def test_purge_spares_a_session_held_during_the_listing(world, context, typing):
    """Another command releases the message between the listing and the confirmation."""
    [session] = fail_sessions(world, 1)
    take(world, 1)
    receives = world.history.count("receive_message")

    def release(call):
        has_listed = world.history.count("receive_message") > receives
        world.clock.now += 1000 if has_listed and call.method == "get_queue_attributes" else 0

    world.sqs.plan = release
    typing("y\ntest\n")
    with pytest.raises(CommandError, match=r"or another command holds it .*nothing was dropped"):
        purge(context, session=[session])
    assert world.outcome(session)["outcome"] == "error"
    assert len(world.memory_sqs.messages(world.dlq)) == 1


def test_purge_spares_a_message_that_arrives_after_the_listing(world, context, typing):
    [session] = fail_sessions(world, 1)
    message = DeadLetterTools(world).message
    new = []
    typing("y\ntest\n", lambda: new.append(put_dead(world, message)))
    purge(context, session=[session])
    assert [one.message_id for one in world.memory_sqs.messages(world.dlq)] == new


def test_purge_names_a_session_that_was_moved_after_the_listing(world, context, typing):
    first, second = fail_sessions(world, 2)
    typing("y\ntest\n", lambda: move_by_hand(world, first))
    result = purge(context, session=[first, second])
    assert result.data.missing == (first,)
    assert result.needs_attention
    assert world.outcome(first)["outcome"] == "error"
    assert world.outcome(second)["reason"] == "dismissed"


def test_purge_fails_if_everything_was_moved_after_the_listing(world, context, typing):
    [session] = fail_sessions(world, 1)
    typing("y\ntest\n", lambda: move_by_hand(world, session))
    with pytest.raises(CommandError, match=f"^{session} is not in .* queue; nothing was dropped"):
        purge(context, session=[session])
    assert world.outcome(session)["outcome"] == "error"
