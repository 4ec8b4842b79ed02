"""`make demo` as a user runs it: a program with its output, its exit code and its processes."""

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
from sandbox.demo.options import LAYOUTS
from sandbox.stack import bundle
from testkit.emulator.process import install
from testkit.fake_stripe import FakeStripe
from testkit.shop import make_shop
from tests.proofs import PROVE_ALL

pytestmark = pytest.mark.e2e

OWN_KEY = "sk_test_madeup" + "0" * 20
SESSIONS = "100"
LONGEST_SECONDS = 180
# It takes 10-15 s on two free cores.
PROMISED_SECONDS = 60
MAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
KEY = re.compile(r"[sr]k_(test|live)_\w{4,}")
SET_UP = ("AWS_", "STRIPE_", "SYNC_")
# The shell that the commands are pasted into may be set up for a real account.
FOREIGN = {"AWS_PROFILE": "somebody-elses", "AWS_SESSION_TOKEN": "expired"}


@dataclass
class DemoResult:
    """A finished demo, and every process that was seen under it."""

    code: int
    output: str
    seconds: float
    processes: list[psutil.Process]

    @property
    def remaining(self):
        return [process for process in self.processes if is_alive(process)]


class DemoProcess:
    """A running demo."""

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

    def record_children(self):
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        self.seen |= {child.pid: child for child in children}

    def read_until(self, text):
        for line in self.process.stdout:
            self.lines.append(line)
            self.record_children()
            if text in line:
                return
        pytest.fail(f"never printed {text!r}:\n{''.join(self.lines)}")

    def wait(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self.record_children()
        code = self.process.wait(LONGEST_SECONDS)
        self.process.stdout.close()
        seconds = time.monotonic() - self.started
        return DemoResult(code, "".join(self.lines), seconds, list(self.seen.values()))


def run_demo(*arguments, **environment):
    return DemoProcess(*arguments, **environment).wait()


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(processes, seconds=10):
    """Return the processes that are still alive after so many seconds."""
    deadline = time.monotonic() + seconds
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [process for process in processes if is_alive(process)]


@pytest.fixture(scope="module", autouse=True)
def set_up():
    """Install and build in advance, since that is not part of the promised time."""
    install()
    for function in FUNCTIONS:
        bundle(function)


# --- the made-up shop ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop_demo():
    return run_demo("--sessions", SESSIONS, "--seed", "7")


def test_demo_succeeds_in_time_and_leaves_nothing_running(shop_demo):
    assert shop_demo.code == 0, shop_demo.output
    assert shop_demo.seconds < PROMISED_SECONDS
    assert len(shop_demo.processes) >= 3  # the emulator, the fake Stripe and at least one function
    assert shop_demo.remaining == []
    assert "Nothing is left running." in shop_demo.output


def test_demo_follows_the_run_and_checks_every_order(shop_demo):
    output = shop_demo.output
    assert re.search(r"enqueued 100, done 100: created \d+, skipped \d+, errors 2, ", output)
    assert "All 100 sessions are right" in output
    assert re.search(r"\d+ orders recovered: .*[\d,]+ JPY .*[\d,]+\.\d\d USD", output)


def test_demo_redrives_dead_letters_and_shows_both_counters(shop_demo):
    output = shop_demo.output
    assert len(re.findall(r"SessionNotFound.*404", output)) == 2
    assert "2 messages moved back" in output
    shown = dict(re.findall(r"^ +(enqueued|created|skipped|errors) +(\d+ +\d+)$", output, re.MULTILINE))
    before, after = zip(*(map(int, shown[name].split()) for name in ("created", "errors")), strict=True)
    assert before == (after[0] - 2, 2)
    assert after[1] == 0
    assert shown["enqueued"].split() == ["100", "100"]


def test_demo_output_fits_a_terminal_and_shows_no_customer_or_key(shop_demo):
    assert not MAIL.search(shop_demo.output)
    assert not KEY.search(shop_demo.output)
    assert "Example" not in shop_demo.output  # part of the made-up names and addresses
    for line in shop_demo.output.splitlines():
        assert len(line) <= 100
        assert line == line.rstrip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL] if PROVE_ALL else [signal.SIGTERM])
def test_signal_ends_the_demo_and_all_its_processes(number, tmp_path):
    demo = DemoProcess("--sessions", SESSIONS, TMPDIR=str(tmp_path))  # a killed demo leaves its files there
    demo.read_until("enqueued 100, done" if PROVE_ALL else "Open a shop")
    demo.process.send_signal(number)
    result = demo.wait()
    assert len(result.processes) >= (3 if PROVE_ALL else 2)  # the functions begin after the shop is open
    if number == signal.SIGTERM:
        assert result.code == 128 + number
        assert "Nothing is left running." in result.output
        assert result.remaining == []
    assert wait_for_end(result.processes) == []


@pytest.mark.skipif(not PROVE_ALL, reason="make prove")
def test_closed_output_ends_the_demo_quietly():
    demo = DemoProcess("--sessions", SESSIONS)
    demo.read_until("Deploy")
    demo.record_children()
    demo.process.stdout.close()
    assert demo.process.wait(LONGEST_SECONDS) == 128 + signal.SIGPIPE
    assert wait_for_end(demo.seen.values()) == []


# --- a sandbox that stays up --------------------------------------------------------------------------------


@dataclass
class KeptSandbox:
    """A sandbox after `--morning`, and the commands that it printed."""

    result: DemoResult
    home: str
    operator_commands: str
    aws_commands: list[str]
    state: dict


@pytest.fixture(scope="module")
def kept_sandbox(tmp_path_factory):
    home = tmp_path_factory.mktemp("kept") / "sandbox"
    result = run_demo("--morning", "--sessions", SESSIONS, "--home", str(home))
    try:
        assert result.code == 0, result.output
        output = result.output[result.output.index("# The operator's command") :]
        operator, _, aws = output[: output.index("# End it")].partition("# Made-up credentials")
        state = json.loads((home / "state.json").read_text())
        yield KeptSandbox(result, str(home), operator, f"# {aws}".strip().split("\n\n"), state)
    finally:
        stopped = run_demo("--stop", "--home", str(home))
    assert stopped.code == 0
    assert "Stopped" in stopped.output
    assert wait_for_end(result.processes) == []
    assert not (home / "state.json").exists()


def test_kept_sandbox_stays_up_without_storing_a_key(kept_sandbox):
    alive = {process.pid for process in kept_sandbox.result.remaining}
    assert alive >= set(kept_sandbox.state["pids"].values())
    assert f'make demo ARGS="--stop --home {kept_sandbox.home}"' in kept_sandbox.result.output
    assert "left up" in kept_sandbox.result.output
    assert not KEY.search(json.dumps(kept_sandbox.state))
    assert not KEY.search(kept_sandbox.result.output)
    assert not MAIL.search(kept_sandbox.result.output)


def test_second_sandbox_in_the_same_folder_is_rejected(kept_sandbox):
    second = run_demo("--keep", "--home", kept_sandbox.home)
    assert second.code == 1
    assert "is up already" in second.output
    assert second.processes == []


@pytest.fixture(scope="module")
def redriven_sandbox(kept_sandbox):
    """Return the sandbox after redriving its dead letters with the printed commands."""
    comment, variable, status, dead, _help = kept_sandbox.operator_commands.strip().splitlines()
    assert comment.startswith("#")
    for command, code, shown in (
        (status, 1, "2 in the dead-letter queue"),
        (dead, 1, "would become order BC-"),
        (dead.replace("list --check", "redrive"), 0, "2 now have their order"),
        # The shop also has sessions that need a person, which no redrive settles.
        (status, 1, "need a person"),
    ):
        done = subprocess.run(
            ["bash", "-uc", f"{variable}\n{command}"],
            cwd=ROOT,
            env=os.environ | FOREIGN,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert shown in done.stdout
    return kept_sandbox


# The comment of each printed command, and a pattern of its output.
ANSWERS = {
    "The sync state": r'"lastSyncStatus": \{\s*"S": "done"',
    "The run of this demo": r'"enqueued": \{\s*"N": "100"',
    "The orders that the sync wrote": r"(BC-\w{8}\t(\d+\t[a-z]{3}|None\tNone)\t\d+\n){20}",
    "The outcome of each session": r"skipped\tno_user",
    "Messages in the queue": r'"ApproximateNumberOfMessages": "0"',
    "Messages in the dead-letter queue": r'"ApproximateNumberOfMessagesNotVisible": "0"',
    "The dead letters": r"^\s*$",
    "A dry run": r'"dryRun": ?true',
    "A manual run": r'"lookbackHours": ?48',
    "The consumer's last log lines": r"run_id",
}


def test_every_printed_command_is_tested(kept_sandbox):
    comments = [paragraph.splitlines()[0] for paragraph in kept_sandbox.aws_commands[1:]]
    assert len(comments) == len(ANSWERS)
    for comment, start in zip(comments, ANSWERS, strict=True):
        assert comment.startswith(f"# {start}")


@pytest.mark.parametrize("position", range(len(ANSWERS)), ids=list(ANSWERS))
def test_printed_command_works(redriven_sandbox, aws_folder, tmp_path, position):
    set_up, paragraph = redriven_sandbox.aws_commands[0], redriven_sandbox.aws_commands[1 + position]
    done = subprocess.run(
        ["bash", "-euc", f"{set_up}\n{paragraph}"],
        cwd=tmp_path,
        env=os.environ | FOREIGN | {"PATH": f"{aws_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(list(ANSWERS.values())[position], done.stdout), done.stdout


# --- a shop with its own layout ----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS if PROVE_ALL else LAYOUTS[-1:])
def test_shop_with_its_own_layout_is_told_what_is_missing(layout):
    result = run_demo("--layout", layout, "--sessions", SESSIONS)
    assert result.code == 0, result.output
    output = re.sub(r"\s+", " ", result.output)
    assert "[find] table = " in output
    assert re.search(r"found 93 .* missing 5 .* found 96 .* late 3 .* missing 2 ", output)
    assert output.count("stripe events resend evt_") == 5 + 2
    assert "All 100 sessions are right in both nights" in output
    assert not MAIL.search(result.output)
    assert result.remaining == []


# --- the user's own account, here in the fake Stripe --------------------------------------------------------


@pytest.fixture(scope="module")
def account():
    with FakeStripe(OWN_KEY) as stripe:
        stripe.store.add_all(make_shop(int(SESSIONS), 3, int(time.time())).sessions)
        yield stripe


def test_own_test_account_is_read_into_an_empty_table(account):
    result = run_demo("--real-stripe", STRIPE_SECRET=OWN_KEY, STRIPE_API_BASE=account.url)
    assert result.code == 0, result.output
    assert "looks back 720 hours" in result.output
    assert "All 100 sessions are right" in result.output
    assert OWN_KEY not in result.output
    assert not MAIL.search(result.output)
    assert result.remaining == []


def test_rejected_key_ends_the_demo_and_is_not_shown(account):
    key = "sk_test_wrong" + "1" * 20
    result = run_demo("--real-stripe", STRIPE_SECRET=key, STRIPE_API_BASE=account.url)
    assert result.code == 1
    assert "AuthenticationError (status 401" in result.output.replace("\n    ", " ")
    assert not KEY.search(result.output)
    assert result.remaining == []
