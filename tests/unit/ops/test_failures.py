"""What status, run and runs say of a run that failed or stalled: the cause, and the command to begin with."""

import io
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from ops.cli.commands import run as run_command
from ops.cli.commands import runs as runs_command
from ops.cli.commands import status as status_command
from ops.cli.screen import Screen
from ops.format.json_encoding import to_json
from ops.runs.failures import DOCTOR, describe_trouble, in_words, next_command
from ops.runs.follow import Progress
from ops.runs.history import past_run
from ops.runs.run_tracker import RunTracker
from ops.runs.status import find_problems
from recon.dynamodb.records import Failure, Run
from recon.dynamodb.runs import LISTING_STALE_SECONDS
from testkit.builders import NOW, RUN
from tests.unit.ops.test_status import GOOD

OPEN = Run(RUN, "scheduled", "2024-11-27T02:00:00Z", 25, NOW - 90_000, NOW - 600, listing_moved_at=NOW)
WRONG_KEY = Failure("KeyRejected", "Stripe: 401", "2024-11-27T02:00:09Z", 1, "8f3c")
FAILED = replace(OPEN, status="failed", completed_at="2024-11-27T02:00:09Z", failure=WRONG_KEY)
STALE = NOW + LISTING_STALE_SECONDS
SAID = f"run {RUN} failed: KeyRejected: Stripe: 401; check the Stripe key"
STALLED = f"run {RUN} has made no progress since 2024-11-27 02:00 UTC, longer than an invocation can last"


def shown(show, *arguments):
    out = io.StringIO()
    console = Console(file=out, width=300)
    show(Screen(console, console, show_pii=False), *arguments)
    return out.getvalue()


def summary(run, now=NOW):
    seen = past_run(run, now)
    return run_command.Summary(seen, run.status != "running", {}, (), (), 0, 0, 0)


@pytest.mark.parametrize(
    ("error_type", "command"),
    [
        ("KeyRejected", DOCTOR),
        ("KeyNotAllowed", DOCTOR),
        ("KeyUnavailable", DOCTOR),
        ("ConfigError", DOCTOR),
        ("NotAllowed", "nightly-sync logs r"),
        ("StripeUnavailable", "nightly-sync logs r"),
        ("Unexpected", "nightly-sync logs r"),
    ],
)
def test_the_command_fits_the_cause(error_type, command):
    assert next_command(error_type, "r") == command
    assert next_command(error_type, None) == DOCTOR


def test_an_error_without_a_text_is_its_type():
    assert in_words("Runtime.ExitError", "") == "Runtime.ExitError"


def test_a_run_that_goes_on_or_is_done_is_no_trouble():
    assert describe_trouble(past_run(OPEN, NOW)) is None
    assert describe_trouble(past_run(replace(OPEN, status="done", listed=True), NOW)) is None


def test_status_names_the_cause_in_its_findings():
    facts = replace(GOOD, last_run=past_run(FAILED, NOW), is_sandbox=True)
    text = shown(status_command.show, status_command.Status(facts, find_problems(facts)))
    assert SAID in text
    assert f"\n    {DOCTOR}\n" in text
    assert "All is well" not in text


def test_runs_names_the_causes_of_the_newest_under_the_table():
    numbered = [replace(FAILED, run_id=f"20241{n}27T020000Z") for n in range(5)]
    history = runs_command.History("shop", tuple(past_run(run, NOW) for run in numbered))
    text = shown(runs_command.show, history)
    assert [n for n in range(5) if f"run 20241{n}27T020000Z failed: KeyRejected" in text] == [0, 1, 2]
    assert text.count(f"  {DOCTOR}\n") == 3
    assert STALLED in shown(runs_command.show, runs_command.History("shop", (past_run(OPEN, STALE),)))


def test_run_ends_with_the_cause():
    text = shown(run_command.show, summary(FAILED))
    assert SAID in text
    assert text.endswith(f"{DOCTOR}\n")
    stalled = shown(run_command.show, summary(OPEN, STALE))
    assert STALLED in stalled
    assert "more than an hour" not in stalled
    assert "more than an hour" in shown(run_command.show, summary(replace(OPEN, listed=True), STALE))


@pytest.mark.parametrize(
    ("run", "looks"), [(FAILED, 1), (OPEN, LISTING_STALE_SECONDS + 1)], ids=["failed", "stalled"]
)
def test_run_follows_no_longer_than_until_the_run_has_failed_or_stalled(monkeypatch, run, looks):
    seen, clock = [], SimpleNamespace(now=float(NOW))

    def progress(_run_id):
        seen.append(run)
        return Progress(run, 0, 0, 0)

    def sleep(seconds):
        clock.now += seconds

    answer = Future()
    answer.set_result({"runId": RUN})
    monkeypatch.setattr(run_command, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    operator = SimpleNamespace(
        screen=Screen(Console(file=io.StringIO()), Console(file=io.StringIO()), show_pii=False),
        common=SimpleNamespace(as_json=True),
        is_watched=False,
        now=lambda: int(clock.now),
    )
    started = RunTracker(SimpleNamespace(progress=progress), NOW, answer, lambda: clock.now)
    last = run_command.to_its_end(operator, started)
    assert (last.run, len(seen)) == (run, looks)


def test_the_json_of_a_run_names_its_cause():
    told = to_json(past_run(FAILED, NOW))
    assert told["failure"] == {
        "errorType": "KeyRejected",
        "message": "Stripe: 401",
        "at": "2024-11-27T02:00:09Z",
        "attempts": 1,
        "requestId": "8f3c",
    }
    assert told["stalledSince"] is None
    assert to_json(past_run(OPEN, STALE))["stalledSince"] == "2024-11-27T02:00:00Z"
