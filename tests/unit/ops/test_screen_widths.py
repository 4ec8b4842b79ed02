"""Every table, paragraph and progress line with the longest values on 60, 80 and 100 columns."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from ops.cli.command import CommandContext
from ops.cli.commands import dlq_list, dlq_redrive_result, doctor, explain, run, runs, status
from ops.cli.commands import show as show_command
from ops.cli.commands.dlq_list import DeadLetterReport
from ops.cli.commands.dlq_redrive_result import RedriveResult
from ops.cli.commands.explain import Explanation
from ops.cli.commands.runs import RunHistory
from ops.cli.commands.show import RunSessions
from ops.cli.commands.status import Status
from ops.cli.options import CommonOptions
from ops.cli.progress import create_bar, describe_left
from ops.cli.screen import Screen
from ops.dlq.outcome_poller import RedriveFate, SessionStatus
from ops.dlq.redrive import RedrivePlan
from ops.doctor.diagnosis import Diagnosis, run_checks
from ops.explain.verdict import decide_verdict
from ops.format.ids import shorten_id
from ops.format.links import session_url
from ops.format.money import Money
from ops.runs.follow import RunProgress
from ops.runs.prediction import PredictedAction, PredictedOutcome
from ops.runs.sessions import SessionOutcome
from ops.runs.system_state import assess
from tests.unit.ops.healthy_stack import HEALTHY
from tests.unit.ops.session_facts import DEAD, FAILED, PAID, SYNC_ORDER, event, facts
from tests.unit.ops.test_status import GOOD, RECORD, RUN

WIDTHS = [60, 80, 100]
SESSION = "cs_live_" + "a1B2c3D4e5F6g7H8i9J0" * 2 + "a1B2c3D4e5F6g7H8i9"
EVENT = "evt_1Qk2Lm3No4Pq5Rs6Tu7Vw8Xy"
LONG_RUN = "20261123T020000Z-4f3c9a"
LARGE = Money("usd", 123_456_789_012)
ERROR = f"InvalidRequestError (status 404, code resource_missing, param session, request req_1) for {SESSION}"
ID = re.compile(r"(?:cs|evt)_[A-Za-z0-9_…]+")
# The session of the doctor's healthy stack is short enough.
SHORT = "cs_found"
WHOLE = {SESSION, shorten_id(SESSION), EVENT, shorten_id(EVENT), SHORT}


class RecordedScreen:
    """A screen of a width that records what a person sees; `is_terminal=False` is a pipe."""

    def __init__(self, width, *, is_terminal=True):
        self.file = io.StringIO()
        console = Console(
            file=self.file, width=width, force_terminal=is_terminal, color_system="standard", highlight=False
        )
        self.screen = Screen(console, console, show_pii=False)

    @property
    def lines(self):
        # Links are control sequences around the text that is seen.
        return re.sub(r"\x1b\]8;.*?\x1b\\|\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue()).splitlines()


def a_run(**changes):
    counts = dict.fromkeys(("enqueued", "processed", "created", "skipped", "errors", "drifted"), 1_234_567)
    worst = {
        "run_id": LONG_RUN,
        "status": "completed_with_errors",
        "seconds": 47 * 3600,
        "warnings": ("gap: x",),
    }
    return replace(RUN, **counts | worst | changes)


def an_outcome(outcome="error", **changes):
    worst = SessionOutcome(
        session_id=SESSION,
        outcome=outcome,
        reason=None,
        order_number="LONGPREFIX-A1B2C3D4",
        amount=LARGE,
        attempts=12,
        error_type="SessionNotFound",
        error_message=ERROR,
        drift=(f"duplicate: USER#customer-12345/ORDER#1732669200#{SESSION}",),
        updated_at=None,
        url=session_url(SESSION),
        attention=("order_says_unpaid", "partly_refunded"),
    )
    return replace(worst, **changes)


LETTER = replace(
    DEAD,
    session_id=SESSION,
    run_id=LONG_RUN,
    amount=LARGE,
    error_message=ERROR,
    attempts=12,
    message_id="m" * 36,
)
CHECKED = replace(
    LETTER, prospect=PredictedOutcome(PredictedAction.FAIL, error_type="X", error_message=ERROR)
)
FATE = SessionStatus(LONG_RUN, SESSION, RedriveFate.FAILED, error_type="SessionNotFound", error_message=ERROR)
EXPLAINED = facts(
    session_id=SESSION,
    stripe=PAID,
    orders=(replace(SYNC_ORDER, key=f"USER#customer/ORDER#1732669200#{SESSION}", run_id=LONG_RUN),) * 2,
    drift=(f"amount: {SESSION}",),
    runs=(replace(FAILED, run_id=LONG_RUN, error_message=ERROR, updated_at="2026-11-23T02:00:08Z"),),
    events=(replace(event(delivered=False), id=EVENT, type="checkout.session.async_payment_succeeded"),),
    dead_letters=(LETTER,),
)
BAD_NIGHT = replace(
    GOOD,
    last_night=a_run(),
    recovered=(LARGE,),
    last_run=a_run(trigger="manual"),
    dead=1_234,
    retrying=1_234_567,
    waiting=1_234_567,
)


def show_explanation(screen):
    explain.show(
        screen, Explanation(SESSION, session_url(SESSION), True, decide_verdict(EXPLAINED), EXPLAINED)
    )


def show_result(screen):
    result = RedriveResult(9, 1, 1, 1, (SESSION,), ("KeyRejected",), 1, None, None, False, True, (FATE,))
    dlq_redrive_result.show(screen, result)


SCREENS = {
    "runs": lambda screen: runs.show(screen, RunHistory("s", (a_run(), a_run(run_id="20261122T020000Z")))),
    "show": lambda screen: show_command.show_sessions(
        screen, RunSessions(a_run(), (an_outcome(), an_outcome("created")))
    ),
    "explain": show_explanation,
    "dlq list": lambda screen: dlq_list.show(screen, DeadLetterReport((CHECKED,), True, 1, True)),
    "dlq redrive --dry-run": lambda screen: dlq_redrive_result.show_plan(
        screen, RedrivePlan((LETTER,), 9, (SESSION,), (), 1, False)
    ),
    "dlq redrive": show_result,
    "status": lambda screen: status.show(screen, Status(BAD_NIGHT, assess(BAD_NIGHT))),
    "doctor": lambda screen: doctor.show(
        screen, Diagnosis("stripe-nightly-sync", run_checks(HEALTHY)), verbose=True
    ),
    "run": lambda screen: run.show(
        screen,
        run.RunSummary(a_run(), False, {"awaiting_capture": 9}, (LARGE, LARGE), (), 9, 9, 9),
    ),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_no_line_is_wider_and_no_id_is_broken(name, width):
    terminal = RecordedScreen(width)
    SCREENS[name](terminal.screen)
    # A command is one line, which the terminal wraps, since it is copied.
    printed = [line for line in terminal.lines if "nightly-sync" not in line]
    assert [line for line in printed if len(line) > width] == []
    assert [found for line in printed for found in ID.findall(line) if found not in WHOLE] == []
    commands = " ".join(line for line in terminal.lines if "nightly-sync" in line)
    assert [found for found in ID.findall(commands) if found not in (SESSION, EVENT)] == []


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("width", [60, 160])
def test_pipe_has_whole_ids_and_addresses(name, width):
    pipe = RecordedScreen(width, is_terminal=False)
    SCREENS[name](pipe.screen)
    found = {one for line in pipe.lines for one in ID.findall(line)}
    assert found <= {SESSION, EVENT, SHORT}
    if name in ("show", "explain"):
        assert session_url(SESSION) in pipe.file.getvalue()


def test_shortened_id_is_a_link_to_the_session():
    terminal = RecordedScreen(80)
    SCREENS["show"](terminal.screen)
    assert re.search(
        rf"\x1b\]8;[^;]*;{re.escape(session_url(SESSION))}\x1b\\+{shorten_id(SESSION)}",
        terminal.file.getvalue(),
    )


@pytest.mark.parametrize("is_terminal", [True, False])
def test_columns_that_are_zero_in_every_row_are_left_out(is_terminal):
    terminal = RecordedScreen(160, is_terminal=is_terminal)
    quiet = replace(RUN, errors=0, drifted=0, skipped=0)
    runs.show(terminal.screen, RunHistory("s", (quiet, replace(quiet, created=0))))
    assert terminal.lines[0].split() == ["run", "status", "took", "from", "to", "enqueued", "created"]


def test_columns_are_dropped_before_rows_become_paragraphs():
    narrow, wide = RecordedScreen(80), RecordedScreen(160)
    for terminal in (narrow, wide):
        runs.show(terminal.screen, RunHistory("s", (replace(RUN, errors=3, drifted=1),)))
    assert wide.lines[0].split()[:5] == ["run", "status", "took", "from", "to"]
    assert narrow.lines[0].split()[:3] == ["run", "status", "took"]
    assert "errors" in narrow.lines[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_progress_has_bar_clock_and_the_number_one_waits_for(width):
    record = replace(RECORD, status="running", listed=False, enqueued=9_999_999, processed=1, errors=99_999)
    terminal = RecordedScreen(width)
    bar = create_bar(CommandContext(CommonOptions(), terminal.screen))
    task = bar.add_task("starting", total=None)
    bar.update(task, completed=1, total=9_999_999, description=describe_left(RunProgress(record, 0, 0, 0)))
    terminal.screen.out.print(bar.get_renderable())
    [line] = terminal.lines
    assert len(line) <= width
    assert "9,999,998 of 9,999,999+ left, 99,999 errors" in line
    assert re.search(r"━.*\d:\d\d:\d\d", line)
