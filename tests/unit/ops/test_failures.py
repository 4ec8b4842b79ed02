"""What `run` and `runs` report about a failed or stalled run: the cause and the command to start with."""

from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ops.cli.commands import run as run_command
from ops.cli.commands import runs as runs_command
from ops.cli.screen import CommandResult
from ops.format.json_encoding import to_json
from ops.runs.failures import DOCTOR, describe_cause, describe_failure, next_command
from ops.runs.follow import RunProgress
from ops.runs.history import past_run
from ops.runs.invocation import ProducerError
from ops.runs.run_tracker import RunTracker
from recon.dynamodb.records import Failure, Run
from recon.dynamodb.runs import LISTING_STALE_SECONDS
from testkit.builders import NOW, RUN, FakeTime

OPEN = Run(RUN, "scheduled", "2024-11-27T02:00:00Z", 25, NOW - 90_000, NOW - 600, listing_moved_at=NOW)
WRONG_KEY = Failure("KeyRejected", "Stripe: 401", "2024-11-27T02:00:09Z", 1, "8f3c")
FAILED = replace(OPEN, status="failed", completed_at="2024-11-27T02:00:09Z", failure=WRONG_KEY)
DONE = replace(OPEN, status="done", listed=True)
STALE = NOW + LISTING_STALE_SECONDS
CAUSE = f"run {RUN} failed: KeyRejected: Stripe: 401; check the Stripe key"
STALLED = f"run {RUN} has made no progress since 2024-11-27 02:00 UTC, longer than an invocation can last"


@pytest.fixture
def render(context):
    return lambda show, *arguments: context.show(CommandResult(None, lambda screen: show(screen, *arguments)))


@pytest.mark.parametrize(
    ("error_type", "command"),
    [
        *((name, DOCTOR) for name in ("KeyRejected", "KeyNotAllowed", "KeyUnavailable", "ConfigError")),
        *((name, "nightly-sync logs r") for name in ("NotAllowed", "StripeUnavailable", "Unexpected")),
    ],
)
def test_next_command_fits_the_cause(error_type, command):
    assert next_command(error_type, "r") == command
    assert next_command(error_type, None) == DOCTOR


def test_cause_without_a_message_is_its_type():
    assert describe_cause("Runtime.ExitError", "") == "Runtime.ExitError"


@pytest.mark.parametrize(
    ("run", "now", "has_failed"),
    [(OPEN, NOW, False), (DONE, NOW, False), (FAILED, NOW, True), (OPEN, STALE, True)],
)
def test_only_failed_and_stalled_runs_have_a_failure(run, now, has_failed):
    past = past_run(run, now)
    assert (describe_failure(past) is not None) == past.needs_attention == has_failed


def test_runs_explains_the_newest_failures(render):
    numbered = [replace(FAILED, run_id=f"20241{n}27T020000Z") for n in range(5)]
    history = runs_command.RunHistory("shop", tuple(past_run(run, NOW) for run in numbered))
    output = render(runs_command.show, history)
    assert [n for n in range(5) if f"run 20241{n}27T020000Z failed: KeyRejected" in output] == [0, 1, 2]
    assert output.count(f"  {DOCTOR}\n") == 3


@pytest.mark.parametrize(
    ("run", "now", "shown", "ends"),
    [
        (FAILED, NOW, CAUSE, f"{DOCTOR}\n"),
        (OPEN, STALE, STALLED, f"nightly-sync logs {RUN}\n"),
        (replace(OPEN, listed=True), STALE, "Nothing has changed for more than an hour", "status`.\n"),
    ],
    ids=["failed", "stalled", "stuck"],
)
def test_run_ends_with_the_cause(render, run, now, shown, ends):
    past = past_run(run, now)
    summary = run_command.RunSummary(past, past.status != "running", {}, (), (), 0, 0, 0)
    output = render(run_command.show, summary)
    assert shown in output
    assert output.endswith(ends)
    assert ("more than an hour" in output) == ("hour" in shown)


@pytest.mark.parametrize(
    ("run", "polls"), [(FAILED, 1), (OPEN, LISTING_STALE_SECONDS + 1)], ids=["failed", "stalled"]
)
def test_run_stops_following_a_failed_or_stalled_run(context, monkeypatch, run, polls):
    clock, reads = FakeTime(NOW), []

    def read(run_id):
        reads.append(run_id)
        return RunProgress(run, 0, 0, 0)

    answer = Future()
    answer.set_result({"runId": RUN})
    monkeypatch.setattr(run_command, "time", SimpleNamespace(monotonic=clock, sleep=clock.sleep))
    monkeypatch.setattr(type(context), "now", lambda _: int(clock()))
    last = run_command.wait_for_end(context, RunTracker(SimpleNamespace(read=read), NOW, answer, clock))
    assert (last.run, len(reads)) == (run, polls)


def test_failure_whose_record_is_read_before_the_answer_arrives_is_raised(context, monkeypatch):
    clock, answer = FakeTime(NOW), Future()

    def sleep(_seconds):
        answer.set_exception(ProducerError("KeyRejected", "Stripe: 401"))

    reader = SimpleNamespace(
        read=lambda _run_id: RunProgress(FAILED, 0, 0, 0),
        runs=SimpleNamespace(find_by_time=lambda _moment: [RUN], get=lambda _run_id: FAILED),
    )
    monkeypatch.setattr(run_command, "time", SimpleNamespace(monotonic=clock, sleep=sleep))
    with pytest.raises(ProducerError, match="KeyRejected"):
        run_command.wait_for_end(context, RunTracker(reader, NOW, answer, clock))


def test_json_of_a_run_has_its_cause():
    failed = to_json(past_run(FAILED, NOW))
    assert failed["failure"] == {
        "errorType": "KeyRejected",
        "message": "Stripe: 401",
        "at": "2024-11-27T02:00:09Z",
        "attempts": 1,
        "requestId": "8f3c",
    }
    assert failed["stalledSince"] is None
    assert to_json(past_run(OPEN, STALE))["stalledSince"] == "2024-11-27T02:00:00Z"
