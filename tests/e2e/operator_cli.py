"""Runs `nightly-sync` as operators do: as a separate process on a deployed stack."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.cli.__main__ import main
from sandbox.demo.state import SandboxState, stack_names

COMMAND = Path(sys.executable).with_name("nightly-sync")
# Variables of the developer's shell that must not reach the command.
PRIVATE_PREFIXES = ("AWS_", "NIGHTLY_SYNC_", "STRIPE_", "SYNC_")
TIMEOUT_SECONDS = 120
# A command is a fork of a process that has imported everything, since the imports of a command take far more
# processor time than its work.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ops.cli.app", "boto3", "stripe", __name__])


@dataclass
class CliResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()


class Cli:
    """Runs commands on a stack: `cli("status", "--json")`."""

    def __init__(self, stack, folder):
        SandboxState(stack.endpoint, None, {}, stack_names(stack)).write(folder)
        # By the environment, which printed commands rely on: an option would be repeated in each of them.
        self.environ = clean_environ() | {"NIGHTLY_SYNC_SANDBOX": str(folder)}
        if stack.client.trusted:
            self.environ["AWS_CA_BUNDLE"] = str(stack.client.trusted)

    def __call__(self, *arguments):
        return run(*arguments, environ=self.environ)

    def data(self, *arguments):
        """Return the JSON of a command, whatever its exit code."""
        return self(*arguments, "--json").json

    @contextmanager
    def running(self, *arguments):
        """Yield the process of a command; kill it at the end if it is still running."""
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's `&` makes background processes ignore Ctrl-C; restore the default.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread of the test holds a lock of it
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def interrupted(self, *arguments, when, timeout=30):
        """Send Ctrl-C as soon as `when` returns True and return the result."""
        with self.running(*arguments) as process:
            deadline = time.monotonic() + timeout
            while not when() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=timeout)
            return CliResult(process.returncode, out, err)


def run(*arguments, environ):
    """Run a command line without a terminal and return its result."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder) / name for name in ("out", "err"))
        process = FORKS.Process(target=run_here, args=(arguments, environ, out, err))
        process.start()
        process.join(TIMEOUT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        code = process.exitcode
        process.close()
        return CliResult(code, out.read_text(), err.read_text())


def run_here(arguments, environ, out, err):
    """Make this process the command: its arguments, its environment, and files for its output."""
    sys.argv = [str(COMMAND), *arguments]
    os.environ.clear()
    os.environ.update(environ)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    main()


def clean_environ():
    """Return the environment without AWS profiles, credentials and settings of the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE_PREFIXES)}
    return kept | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": "160",
    }
