"""What `run`, `show`, `logs` and `report` do with options that the stack and its data decide about."""

from dataclasses import replace

import pytest

from ops.cli.commands import logs as logs_module
from ops.cli.commands.logs import logs
from ops.cli.commands.report import report
from ops.cli.commands.run import run
from ops.cli.commands.show import OutcomeChoice, show
from ops.errors import CommandError
from testkit.dead_letters import WorldOperator, fail_sessions


@pytest.fixture
def desk(world, monkeypatch):
    """Its functions have logged nothing."""
    monkeypatch.setattr(logs_module, "read_lines", lambda *_: [])
    monkeypatch.setattr(logs_module, "kept_days", lambda *_: None)
    desk = WorldOperator(world)
    desk.place.configuration = lambda function: {"FunctionName": function}
    desk.place.client = lambda service, **_: world.dynamodb if service == "dynamodb" else world.sqs
    return desk


@pytest.mark.parametrize("no_wait", [False, True])
def test_run_is_refused_where_every_run_is_a_preview(world, desk, no_wait):
    desk.place.producer_settings = replace(world.settings, dry_run=True)
    with pytest.raises(CommandError, match=r"deployed with DryRun=true.* give --dry-run"):
        run(desk, no_wait=no_wait)


def test_show_says_that_no_session_matches(world, desk):
    fail_sessions(world, 1)
    assert "No session of this run matches" in desk.show(show(desk, "last", OutcomeChoice.CREATED))


def test_logs_refuses_a_session_that_the_run_does_not_know(world, desk):
    [session] = fail_sessions(world, 1)
    with pytest.raises(CommandError, match="names cs_test_nobody; `nightly-sync show "):
        logs(desk, "last", session="cs_test_nobody")
    assert "No line of run" in desk.show(logs(desk, "last", session=session))


def test_report_goes_to_standard_output(desk, capfdbinary):
    answer = report(desk, out="-")
    assert desk.show(answer) == ""
    assert capfdbinary.readouterr().out.lower().startswith(b"<!doctype html>")


def test_report_goes_to_a_file(desk, tmp_path):
    file = tmp_path / "page.html"
    assert f"Wrote {file}." in desk.show(report(desk, out=str(file)))
    assert file.read_text().lower().startswith("<!doctype html>")
    with pytest.raises(CommandError, match="there is no folder"):
        report(desk, out=str(tmp_path / "none" / "page.html"))
