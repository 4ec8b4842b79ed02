"""`run`, `show`, `logs` and `report` with options that depend on the stack and its data."""

from dataclasses import replace

import pytest

from ops.cli.commands import logs as logs_module
from ops.cli.commands.logs import logs
from ops.cli.commands.report import report
from ops.cli.commands.run import run
from ops.cli.commands.show import OutcomeChoice, show
from ops.errors import CommandError
from testkit.dead_letters import fail_sessions


@pytest.fixture
def context(context, world, monkeypatch):
    """Return the context on a stack whose functions have logged nothing."""
    monkeypatch.setattr(logs_module, "read_lines", lambda *_: [])
    monkeypatch.setattr(logs_module, "read_retention_days", lambda *_: None)
    context.stack.configuration = lambda function: {"FunctionName": function}
    context.stack.client = lambda service, **_: world.dynamodb if service == "dynamodb" else world.sqs
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
    assert f"/test/search?query={session}" in output


def test_logs_refuses_a_session_unknown_to_the_run(world, context):
    [session] = fail_sessions(world, 1)
    with pytest.raises(CommandError, match="names cs_test_nobody; `nightly-sync show "):
        logs(context, "last", session="cs_test_nobody")
    assert "No matching log line of run" in context.show(logs(context, "last", session=session))


def test_report_is_written_to_standard_output_or_a_file(context, tmp_path, capfdbinary):
    assert context.show(report(context, out="-")) == ""
    assert capfdbinary.readouterr().out.lower().startswith(b"<!doctype html>")
    file = tmp_path / "page.html"
    assert f"Wrote {file}." in context.show(report(context, out=str(file)))
    assert file.read_text().lower().startswith("<!doctype html>")
    with pytest.raises(CommandError, match="there is no folder"):
        report(context, out=str(tmp_path / "none" / "page.html"))
