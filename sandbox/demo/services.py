"""The two server processes of the demo, which are stopped by their process ids."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from infra.build import ROOT
from sandbox.demo.state import SandboxState, read_state, remove_state
from sandbox.stack import STRIPE_KEY
from testkit.emulator import AwsClients, Emulator
from testkit.emulator.process import command_line, end_group, is_emulator, stop_detached

MODULE = "sandbox.demo.stripe_process"
KEY_VARIABLE = "SANDBOX_STRIPE_KEY"
START_SECONDS = 30.0
POLL_SECONDS = 0.02
# The variables of this shell that a function needs to reach the real Stripe. The emulator hides all others.
NETWORK_VARIABLES = ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
THIS_MACHINE = "127.0.0.1,localhost"

NOTHING: Mapping[str, str] = MappingProxyType({})


class ServiceError(Exception):
    """A server does not start. The message ends with its output."""


@dataclass
class DemoServices:
    """The running servers. With `keep` they keep running after the block that started them."""

    emulator: Emulator
    stripe: "StripeProcess | None"
    home: Path | None
    keep: bool = field(default=False, init=False)

    @property
    def client(self) -> AwsClients:
        return self.emulator.client

    @property
    def stripe_url(self) -> str | None:
        return self.stripe.url if self.stripe else None

    def state(self) -> SandboxState:
        pids = {"emulator": self.emulator.pid}
        if self.stripe:
            pids["fakeStripe"] = self.stripe.pid
        return SandboxState(self.emulator.url, self.stripe_url, pids)


class StripeProcess:
    """The process of the fake Stripe, with its log in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "stripe.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.url = ""

    def start(self, *, detached: bool) -> None:
        """Start the process and return when it answers."""
        command = [sys.executable, "-m", MODULE, "--api-key-env", KEY_VARIABLE]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--detached"] if detached else command,
                cwd=ROOT,
                env=os.environ | {KEY_VARIABLE: STRIPE_KEY},
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the demo, which then stops this process
            )
        self.pid = self._process.pid
        self.url = self._await_url(self._process)

    def _await_url(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            line, ended, _ = self._log.read_text(errors="replace").partition("\n")
            if ended:
                return _parse_url(line)
            time.sleep(POLL_SECONDS)
        raise ServiceError(f"the fake Stripe does not start:\n{self._log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop the process. Further calls have no effect."""
        if self._process is None:
            return
        end_group(self._process.pid)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None


def _parse_url(line: str) -> str:
    try:
        return str(json.loads(line)["url"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ServiceError(f"the fake Stripe does not start: {line}") from exc


@contextmanager
def running(home: Path | None, *, with_stripe: bool) -> Iterator[DemoServices]:
    """Run the emulated AWS, and optionally the fake Stripe, inside the block.

    With a `home` they can outlive this process. They do so only if `keep` is set when the block ends; an
    error or Ctrl-C stops them.
    """
    with ExitStack() as cleanup:
        if home:
            home.mkdir(parents=True, exist_ok=True)
            stop(home)  # what a crash or a restart of this machine has left
            cleanup.callback(stop, home)
        emulator = Emulator(home, NOTHING if with_stripe else network_variables())
        cleanup.callback(emulator.stop)
        emulator.start(detached=home is not None)
        stripe = None
        if with_stripe:
            stripe = StripeProcess(emulator.home)
            cleanup.callback(stripe.stop)
            stripe.start(detached=home is not None)
        services = DemoServices(emulator, stripe, home)
        if home:
            # Stored immediately, so that `--stop` finds both if this process is killed.
            services.state().write(home)
        yield services
        if services.keep:
            cleanup.pop_all()
            emulator.client.close()


def is_up(home: Path) -> bool:
    """Return whether a process of a kept sandbox is still running."""
    state = read_state(home)
    return state is not None and any(_is_ours(pid) for pid in state.pids.values())


def stop(home: Path) -> bool:
    """Stop the sandbox kept in this folder and remove its files. Return False if nothing was running."""
    state = read_state(home)
    was_up = is_up(home)
    # Other processes may have these ids now, so each is checked first.
    for pid in state.pids.values() if state else ():
        if _is_ours(pid):
            end_group(pid)
    was_up = stop_detached(home) or was_up
    remove_state(home)
    return was_up


def _is_ours(pid: int) -> bool:
    return is_emulator(pid) or MODULE in command_line(pid)


def network_variables() -> dict[str, str]:
    found = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    # The functions reach AWS on this machine without the proxy.
    return {**found, "NO_PROXY": THIS_MACHINE, "no_proxy": THIS_MACHINE} if found else {}


def keep_proxies_away() -> None:
    """Exclude this machine from the proxies of this shell."""
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name)
        os.environ[name] = f"{others},{THIS_MACHINE}" if others else THIS_MACHINE
