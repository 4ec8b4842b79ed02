"""The operator's command as an operator runs it: a program of its own, against a deployed stack."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo.state import SandboxState, stack_names

COMMAND = Path(sys.executable).with_name("nightly-sync")
# Never what the machine of the test has set up for itself.
SET_UP = ("AWS_", "NIGHTLY_SYNC_", "STRIPE_", "SYNC_")
LONGEST_SECONDS = 120


@dataclass
class Ran:
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
    """`cli("status", "--json")` runs it on the stack of a shop."""

    def __init__(self, stack, folder):
        SandboxState(stack.endpoint, None, {}, stack_names(stack)).write(folder)
        self.folder = folder
        self.environ = clean_environ()
        if stack.client.trusted:
            self.environ["AWS_CA_BUNDLE"] = str(stack.client.trusted)

    def __call__(self, *arguments, stdin="", **environ):
        return run(*self.at(arguments), stdin=stdin, environ=self.environ | environ)

    def at(self, arguments):
        return (*arguments, "--sandbox", str(self.folder))

    def data(self, *arguments):
        """The JSON of a command, whatever its exit code."""
        return self(*arguments, "--json").json

    @contextmanager
    def running(self, *arguments):
        """The command while it runs; killed at the end if it still does."""
        process = subprocess.Popen(
            [COMMAND, *self.at(arguments)],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hears_ctrl_c,  # noqa: PLW1509 - sets one signal, and no thread of the test holds a lock of it
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def interrupted(self, *arguments, when, timeout=30):
        """Ctrl-C as soon as `when` is true."""
        with self.running(*arguments) as process:
            deadline = time.monotonic() + timeout
            while not when() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=timeout)
            return Ran(process.returncode, out, err)


def hears_ctrl_c():
    """Also where the tests run behind a shell's `&`, which makes all that it starts deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(*arguments, environ, stdin=""):
    done = subprocess.run(
        [COMMAND, *arguments],
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def clean_environ():
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SET_UP)}
    # No profile of the machine's, and nobody to ask for credentials.
    return kept | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": "160",
    }
