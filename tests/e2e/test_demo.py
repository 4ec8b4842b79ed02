"""`make demo` as a user runs it: a program of its own, its output, its exit code, what it leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil
import pytest

from infra.build import FUNCTIONS, ROOT
from sandbox.stack import bundle
from testkit.emulator.process import install
from testkit.fake_stripe import FakeStripe, FaultKind, StripeFault
from testkit.shop import make_shop
from tests.e2e.aws_cli import with_aws

pytestmark = pytest.mark.e2e

OWN_KEY = "sk_test_madeup" + "0" * 20
SESSIONS = "100"
LONGEST_SECONDS = 180
# More than this would be no demo any more; it takes 10-15 s on two cores.
PROMISED_SECONDS = 60
MAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
KEY = re.compile(r"[sr]k_(test|live)_\w{4,}")
SET_UP = ("AWS_", "STRIPE_", "SYNC_")


@dataclass
class Ran:
    code: int
    output: str
    seconds: float
    processes: list[psutil.Process]

    @property
    def left(self):
        """What it started and did not end."""
        return [process for process in self.processes if is_alive(process)]


class Demo:
    """The demo as a process, and every process that was seen under it."""

    def __init__(self, *arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(SET_UP)}
        self.started = time.monotonic()
        self.seen = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.demo", *arguments],
            cwd=ROOT,
            env=clean | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self.lines = []

    def look(self):
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        self.seen |= {child.pid: child for child in children}

    def read_until(self, text):
        for line in self.process.stdout:
            self.lines.append(line)
            self.look()
            if text in line:
                return
        pytest.fail(f"never said {text!r}:\n{''.join(self.lines)}")

    def end(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self.look()
        code = self.process.wait(LONGEST_SECONDS)
        self.process.stdout.close()
        seconds = time.monotonic() - self.started
        return Ran(code, "".join(self.lines), seconds, list(self.seen.values()))


def demo(*arguments, **environment):
    return Demo(*arguments, **environment).end()


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_end(processes, seconds=10):
    deadline = time.monotonic() + seconds
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [process for process in processes if is_alive(process)]


@pytest.fixture(scope="module", autouse=True)
def set_up():
    """What the first demo on a machine does once: it is not part of the time that is promised."""
    install()
    for function in FUNCTIONS:
        bundle(function)


# The made-up shop


@pytest.fixture(scope="module")
def shop_demo():
    return demo("--sessions", SESSIONS, "--seed", "7")


def test_the_demo_ends_well_and_in_time(shop_demo):
    assert shop_demo.code == 0, shop_demo.output
    assert shop_demo.seconds < PROMISED_SECONDS


def test_each_order_is_recovered_or_kept(shop_demo):
    assert "All 100 sessions are right" in shop_demo.output
    assert re.search(r"\d+ orders recovered: .*[\d,]+ JPY .*[\d,]+\.\d\d USD", shop_demo.output)


def test_the_run_is_followed_to_its_end(shop_demo):
    assert re.search(r"enqueued 100, done 100: created \d+, skipped \d+, errors 2, ", shop_demo.output)


def test_dead_letters_are_shown_with_their_reason_and_redriven(shop_demo):
    assert len(re.findall(r"SessionNotFound.*404", shop_demo.output)) == 2
    assert "2 messages moved back" in shop_demo.output


def test_the_counters_are_shown_before_and_after_the_redrive(shop_demo):
    shown = dict(
        re.findall(r"^ +(enqueued|created|skipped|errors) +(\d+ +\d+)$", shop_demo.output, re.MULTILINE)
    )
    before, after = zip(*(map(int, shown[name].split()) for name in ("created", "errors")), strict=True)
    assert before == (after[0] - 2, 2)
    assert after[1] == 0
    assert shown["enqueued"].split() == ["100", "100"]


def test_nothing_of_a_customer_and_no_key_is_shown(shop_demo):
    assert not MAIL.search(shop_demo.output)
    assert not KEY.search(shop_demo.output)
    assert "Example" not in shop_demo.output  # names and addresses of the made-up shop


def test_nothing_is_left_running(shop_demo):
    commands = len(shop_demo.processes)
    assert commands >= 3  # the emulator, the fake Stripe and at least one function
    assert shop_demo.left == []
    assert "Nothing is left running." in shop_demo.output


def test_no_line_is_wider_than_a_terminal_or_ends_in_blanks(shop_demo):
    for line in shop_demo.output.splitlines():
        assert len(line) <= 100
        assert line == line.rstrip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_and_everything_it_has_started(number):
    started = Demo("--sessions", SESSIONS)
    started.read_until("enqueued 100, done")
    started.process.send_signal(number)
    ran = started.end()
    assert ran.code == 128 + number
    assert "Nothing is left running." in ran.output
    assert len(ran.processes) >= 3
    assert ran.left == []


def test_a_violent_end_leaves_nothing_running_either(tmp_path):
    # Its files it does leave: nobody is there to remove them.
    started = Demo("--sessions", SESSIONS, TMPDIR=str(tmp_path))
    started.read_until("enqueued 100, done")
    started.process.kill()
    ran = started.end()
    assert len(ran.processes) >= 3
    assert await_end(ran.processes) == []


def test_a_reader_that_has_seen_enough_ends_the_demo_quietly():
    started = Demo("--sessions", SESSIONS)
    started.read_until("Deploy")
    started.look()
    started.process.stdout.close()
    assert started.process.wait(LONGEST_SECONDS) == 128 + signal.SIGPIPE
    assert await_end(started.seen.values()) == []


# Left up


@dataclass
class Kept:
    ran: Ran
    home: str
    paragraphs: list[str]
    state: dict


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    home = tmp_path_factory.mktemp("kept") / "sandbox"
    ran = demo("--keep", "--sessions", SESSIONS, "--home", str(home))
    try:
        assert ran.code == 0, ran.output
        script = ran.output[ran.output.index("# Made-up credentials") : ran.output.index("# End it")]
        state = json.loads((home / "state.json").read_text())
        yield Kept(ran, str(home), script.strip().split("\n\n"), state)
    finally:
        stopped = demo("--stop", "--home", str(home))
    assert stopped.code == 0
    assert "Stopped" in stopped.output
    assert await_end(ran.processes) == []
    assert not (home / "state.json").exists()


def test_a_kept_sandbox_stays_up_and_says_how_to_end_it(kept):
    alive = {process.pid for process in kept.ran.left}
    assert alive >= set(kept.state["pids"].values())
    assert f'make demo ARGS="--stop --home {kept.home}"' in kept.ran.output
    assert "left up" in kept.ran.output


def test_the_state_of_a_kept_sandbox_holds_no_key(kept):
    assert not KEY.search(json.dumps(kept.state))
    assert not KEY.search(kept.ran.output)
    assert not MAIL.search(kept.ran.output)


def test_a_second_one_is_not_started_beside_it(kept):
    second = demo("--keep", "--home", kept.home)
    assert second.code == 1
    assert "is up already" in second.output
    assert second.processes == []


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    folder = with_aws(tmp_path_factory.mktemp("bin"))
    if folder is None:
        pytest.skip("no AWS CLI, and none from the package registry")
    return folder


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """A night left for an operator, who takes the commands that are printed."""
    home = tmp_path_factory.mktemp("morning") / "sandbox"
    ran = demo("--morning", "--sessions", SESSIONS, "--home", str(home))
    try:
        assert ran.code == 0, ran.output
        yield ran.output[ran.output.index("# The operator's command") : ran.output.index("# Made-up")]
    finally:
        stopped = demo("--stop", "--home", str(home))
    assert stopped.code == 0
    assert await_end(ran.processes) == []


def test_a_morning_is_left_to_the_operators_command_which_mends_it(morning):
    comment, variable, status, dead, _help = morning.strip().splitlines()
    assert comment.startswith("#")
    for command, code, shown in (
        (status, 1, "2 in the dead-letter queue"),
        (dead, 1, "would become order BC-"),
        (dead.replace("list --check", "redrive"), 0, "2 now have their order"),
        (status, 0, "All is well."),
    ):
        done = subprocess.run(
            ["bash", "-uc", f"{variable}\n{command}"],
            cwd=ROOT,
            # The shell it is pasted into may belong to somebody who works with a real account.
            env=os.environ | {"AWS_PROFILE": "somebody-elses", "AWS_SESSION_TOKEN": "expired"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert shown in done.stdout


# Comment of a printed command, and what its output has to hold.
ANSWERS = {
    "The sync state": r'"lastSyncStatus": \{\s*"S": "done"',
    "The run of this demo": r'"enqueued": \{\s*"N": "100"',
    "The orders that the sync wrote": r"(BC-\w{8}\t(\d+\t[a-z]{3}|None\tNone)\t\d+\n){20}",
    "What became of each session": r"skipped\tno_user",
    "How full the queue is": r'"ApproximateNumberOfMessages": "0"',
    "How full the dead-letter queue is": r'"ApproximateNumberOfMessagesNotVisible": "0"',
    "What lies in the dead-letter queue": r"^\s*$",
    "A dry run": r'"dryRun": ?true',
    "A run by hand": r'"lookbackHours": ?48',
    "What the consumer logged": r"run_id",
}


def test_every_printed_command_has_an_answer_that_is_checked(kept):
    comments = [paragraph.splitlines()[0] for paragraph in kept.paragraphs[1:]]
    assert len(comments) == len(ANSWERS)
    for comment, start in zip(comments, ANSWERS, strict=True):
        assert comment.startswith(f"# {start}")


@pytest.mark.parametrize("position", range(len(ANSWERS)), ids=list(ANSWERS))
def test_a_printed_command_answers_what_it_promises(kept, aws, tmp_path, position):
    set_up, paragraph = kept.paragraphs[0], kept.paragraphs[1 + position]
    asked = subprocess.run(
        ["bash", "-euc", f"{set_up}\n{paragraph}"],
        cwd=tmp_path,
        # The shell it is pasted into may belong to somebody who works with a real account.
        env=os.environ
        | {
            "PATH": f"{aws}:{os.environ['PATH']}",
            "AWS_PROFILE": "somebody-elses",
            "AWS_SESSION_TOKEN": "expired",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert re.search(list(ANSWERS.values())[position], asked.stdout), asked.stdout


# The user's own account; here it is one that the fake Stripe holds


@pytest.fixture(scope="module")
def account():
    with FakeStripe(OWN_KEY) as stripe:
        stripe.store.add_all(make_shop(int(SESSIONS), 3, int(time.time())).sessions)
        yield stripe


def test_the_users_own_test_account_is_read_into_an_empty_table(account):
    ran = demo("--real-stripe", STRIPE_SECRET=OWN_KEY, STRIPE_API_BASE=account.url)
    assert ran.code == 0, ran.output
    assert "looks back 720 hours" in ran.output
    assert "All 100 sessions are right" in ran.output
    assert OWN_KEY not in ran.output
    assert not MAIL.search(ran.output)
    assert ran.left == []


def test_a_paid_session_of_the_account_without_an_order_is_a_failure(account):
    lost = next(iter(make_shop(int(SESSIONS), 3, int(time.time())).sessions)).id
    account.faults.add(StripeFault(FaultKind.MISSING, session=lost))
    try:
        ran = demo(
            "--real-stripe", "--lookback-hours", "48", STRIPE_SECRET=OWN_KEY, STRIPE_API_BASE=account.url
        )
    finally:
        account.faults.clear()
    assert ran.code == 1
    assert f"{lost}: no order: SessionNotFound" in ran.output.replace("\n    ", " ")
    assert ran.left == []


def test_a_key_that_stripe_refuses_ends_the_demo_and_is_not_shown(account):
    ran = demo("--real-stripe", STRIPE_SECRET="sk_test_wrong" + "1" * 20, STRIPE_API_BASE=account.url)
    assert ran.code == 1
    assert "AuthenticationError (status 401" in ran.output.replace("\n    ", " ")
    assert not KEY.search(ran.output)
    assert ran.left == []


@pytest.mark.parametrize("key", ["", "sk_live_" + "1" * 20, "rk_live_" + "1" * 20, "something else"])
def test_without_a_test_key_nothing_is_started(key):
    ran = demo("--real-stripe", STRIPE_SECRET=key)
    assert ran.code == 1
    assert "STRIPE_SECRET" in ran.output
    assert "1111" not in ran.output
    assert ran.processes == []
