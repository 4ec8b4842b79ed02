"""`run`, `show`, `logs` and `report` with options that depend on the stack and its data."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ops.cli.commands import logs as logs_module
from ops.cli.commands import runs as runs_module
from ops.cli.commands import show as show_module
from ops.cli.commands.logs import logs
from ops.cli.commands.report import report
from ops.cli.commands.run import run
from ops.cli.commands.show import OutcomeChoice, show
from ops.errors import CommandError
from ops.runs.logs import LogLine
from ops.runs.sessions import SessionOutcome
from recon.domain.outcome import SkipReason
from recon.timestamps import HOUR, to_iso
from testkit.dead_letters import fail_sessions
from testkit.fake_stripe import SessionSpec


def a_line(world, seconds, message):
    at = datetime.fromtimestamp(world.clock() + seconds, UTC)
    return LogLine(at, "INFO", "producer", None, message, {"reason": "exists", "xray_trace_id": "1-a"})


@pytest.fixture
def context(context, world, monkeypatch):
    """Return the context on a stack whose functions have logged nothing."""
    monkeypatch.setattr(logs_module, "read_lines", lambda *_: [])
    monkeypatch.setattr(logs_module, "read_retention_days", lambda *_: None)
    context.stack.configuration = lambda function: {"FunctionName": function}
    context.stack._clients["logs"] = None
    return context


@pytest.mark.parametrize("no_wait", [False, True])
def test_run_is_refused_if_the_stack_only_previews(world, context, no_wait):
    context.stack.producer_settings = replace(world.settings, dry_run=True)
    with pytest.raises(CommandError, match=r"deployed with DryRun=true.* give --dry-run"):
        run(context, no_wait=no_wait)


def test_show_counts_what_it_shows(world, context):
    [session, _] = fail_sessions(world, 2)
    assert "Showing 0 of 2.\nNo session of this run matches" in context.show(
        show(context, "last", OutcomeChoice.CREATED)
    )
    output = context.show(show(context, world.run()["runId"], OutcomeChoice.ERROR))
    assert "2 sessions processed, 0 created, 0 skipped, 2 errors. Showing 2 of 2." in output
    assert "SessionNotFound" in output
    # One address below several sessions would not say whose it is.
    assert "/test/search?query=" not in output
    assert session in output


def test_show_hides_existing_orders_and_lists_the_newest_first(world, context):
    first, second = fail_sessions(world, 2)
    world.sells(SessionSpec("cs_test_existing", int(world.clock()) - HOUR, metadata={"userId": "u"}))
    world.webhook_writes("cs_test_existing", "u", int(world.clock()) - HOUR)
    world.clock.now += 60
    world.night({"trigger": "scheduled", "scheduledTime": to_iso(world.clock())})
    listed = show(context, "last").data
    assert ([one.session_id for one in listed.sessions], listed.hidden) == ([first, second], 1)
    assert "1 session whose order existed: --all lists them." in context.show(show(context, "last"))
    assert len(show(context, "last", everything=True).data.sessions) == 3
    for options in ({"reason": SkipReason.EXISTS}, {"outcome": OutcomeChoice.SKIPPED, "everything": True}):
        assert [one.session_id for one in show(context, "last", **options).data.sessions] == [
            "cs_test_existing"
        ]


def test_show_lists_an_existing_order_that_differs(world, context):
    world.sells(SessionSpec("cs_test_existing", int(world.clock()) - HOUR, metadata={"userId": "u"}))
    world.webhook_writes("cs_test_existing", "u", world.clock() - HOUR, amount=1)
    world.night()
    assert [one.session_id for one in show(context, "last").data.sessions] == ["cs_test_existing"]


def test_show_sorts_by_the_time_of_the_outcome():
    outcomes = [
        SessionOutcome(name, "created", None, None, None, 1, None, None, (), at, "url")
        for name, at in (("a", "2026-11-23T02:00:01Z"), ("b", "2026-11-23T02:00:03Z"), ("c", None))
    ]
    assert [one.session_id for one in sorted(outcomes, key=show_module.written_at, reverse=True)] == [
        "b",
        "a",
        "c",
    ]


def test_logs_refuses_a_session_unknown_to_the_run(world, context):
    [session] = fail_sessions(world, 1)
    with pytest.raises(CommandError, match="names cs_test_nobody; `nightly-sync show "):
        logs(context, "last", session="cs_test_nobody")
    assert "No matching log line of run" in context.show(logs(context, "last", session=session))


def test_logs_since_a_time_has_no_earlier_lines(world, context, monkeypatch):
    fail_sessions(world, 1)
    lines = [a_line(world, -3 * HOUR, "early"), a_line(world, -HOUR, "late")]
    monkeypatch.setattr(logs_module, "read_lines", lambda *_: lines)
    assert [line.message for line in logs(context, "last", since="2h").data.lines] == ["late"]


def test_logs_follow_prints_each_line_once_until_the_run_is_over(world, context, monkeypatch):
    world.sells(SessionSpec("cs_test_followed", world.clock() - HOUR))
    run_id = world.body({})["runId"]
    lines, later = [a_line(world, 0, "first")], a_line(world, 1, "second")

    def sleep(seconds):
        world.clock.sleep(seconds)
        lines[1:] = [later]
        world.deliver()

    monkeypatch.setattr(logs_module, "time", SimpleNamespace(monotonic=world.clock, sleep=sleep))
    monkeypatch.setattr(logs_module, "read_lines", lambda *_: list(lines))
    started = world.clock()
    output = context.show(logs(context, run_id, follow=True))
    assert [word for word in output.split() if word in ("first", "second")] == ["first", "second"]
    assert (output.count("  reason=exists\n"), output.count("xray")) == (2, 0)
    assert world.clock() - started >= logs_module.DELIVERY_SECONDS


def test_runs_since_a_time_are_listed_without_the_default_limit(world, context):
    for _ in range(runs_module.DEFAULT_LIMIT + 1):
        world.clock.now += HOUR
        world.body({"trigger": "scheduled", "scheduledTime": to_iso(world.clock())})
    assert len(runs_module.runs(context).data.runs) == runs_module.DEFAULT_LIMIT
    assert len(runs_module.runs(context, since="3d").data.runs) == runs_module.DEFAULT_LIMIT + 1
    assert len(runs_module.runs(context, since="90min").data.runs) == 2
    assert len(runs_module.runs(context, since="3d", limit=3).data.runs) == 3
    world.clock.now += 2 * HOUR
    none = context.show(runs_module.runs(context, since="1h"))
    assert re.fullmatch(r"No run has started since 20[\d-]+ [\d:]+ UTC\.\n", none)


def test_report_is_written_to_standard_output_or_a_file(context, tmp_path, capfdbinary):
    assert context.show(report(context, out="-")) == ""
    assert capfdbinary.readouterr().out.lower().startswith(b"<!doctype html>")
    file = tmp_path / "page.html"
    assert f"Wrote {file}." in context.show(report(context, out=str(file)))
    assert file.read_text().lower().startswith("<!doctype html>")
    # The page of yesterday is replaced, and nothing else is.
    assert f"Wrote {file}." in context.show(report(context, out=str(file)))
    notes = tmp_path / "notes.html"
    notes.write_text("<!doctype html><html>")
    with pytest.raises(CommandError, match=r"notes\.html exists and is no report"):
        report(context, out=str(notes))
    assert notes.read_text() == "<!doctype html><html>"
    with pytest.raises(CommandError, match="there is no folder"):
        report(context, out=str(tmp_path / "none" / "page.html"))
