"""The two servers that the demo needs. Each is a process with a number, and is ended by that number alone."""

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
from sandbox.demo.state import State, read_state, remove_state
from sandbox.stack import STRIPE_KEY
from testkit.emulator import AwsClients, Emulator
from testkit.emulator.process import command_line, end_group, is_emulator, stop_detached

MODULE = "sandbox.demo.stripe_process"
KEY_VARIABLE = "SANDBOX_STRIPE_KEY"
START_SECONDS = 30.0
POLL_SECONDS = 0.02
# What a function needs of this shell to reach the real Stripe. The emulator hides everything else from it.
NETWORK_VARIABLES = ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
THIS_MACHINE = "127.0.0.1,localhost"

NOTHING: Mapping[str, str] = MappingProxyType({})


class ServiceError(Exception):
    """A server that does not start; the message ends with what it said."""


@dataclass
class Services:
    """What is up. `keep` decides whether it stays up after the block that started it."""

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

    def state(self) -> State:
        pids = {"emulator": self.emulator.pid}
        if self.stripe:
            pids["fakeStripe"] = self.stripe.pid
        return State(self.emulator.url, self.stripe_url, pids)


class StripeProcess:
    """The fake Stripe. Its log is a file of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "stripe.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.url = ""

    def start(self, *, detached: bool) -> None:
        """Returns when it serves."""
        command = [sys.executable, "-m", MODULE, "--api-key-env", KEY_VARIABLE]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--detached"] if detached else command,
                cwd=ROOT,
                env=os.environ | {KEY_VARIABLE: STRIPE_KEY},
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends this
            )
        self.pid = self._process.pid
        self.url = self._await_url(self._process)

    def _await_url(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            line, ended, _ = self._log.read_text(errors="replace").partition("\n")
            if ended:
                return _url_of(line)
            time.sleep(POLL_SECONDS)
        raise ServiceError(f"the fake Stripe does not start:\n{self._log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Ends it. May be called at any time and repeatedly."""
        if self._process is None:
            return
        end_group(self._process.pid)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None


def _url_of(line: str) -> str:
    try:
        return str(json.loads(line)["url"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ServiceError(f"the fake Stripe does not start: {line}") from exc


@contextmanager
def running(home: Path | None, *, with_stripe: bool) -> Iterator[Services]:
    """The emulated AWS, and the fake Stripe if wanted, inside the block.

    With a `home` they are started so that they can outlive this process, which they do if `keep` is set when
    the block ends, and only then. Everything else, an error or Ctrl-C, ends them.
    """
    with ExitStack() as cleanup:
        if home:
            home.mkdir(parents=True, exist_ok=True)
            stop(home)  # what a restart of this machine or a violent end has left there
            cleanup.callback(stop, home)
        emulator = Emulator(home, NOTHING if with_stripe else network_variables())
        cleanup.callback(emulator.stop)
        emulator.start(detached=home is not None)
        stripe = None
        if with_stripe:
            stripe = StripeProcess(emulator.home)
            cleanup.callback(stripe.stop)
            stripe.start(detached=home is not None)
        services = Services(emulator, stripe, home)
        if home:
            # At once: after a violent end of this process `--stop` still finds both.
            services.state().write(home)
        yield services
        if services.keep:
            cleanup.pop_all()
            emulator.client.close()


def is_up(home: Path) -> bool:
    """Whether anything of what was kept there still runs."""
    state = read_state(home)
    return state is not None and any(_is_ours(pid) for pid in state.pids.values())


def stop(home: Path) -> bool:
    """Ends what was kept in this folder and clears up after it. False if nothing was running any more."""
    state = read_state(home)
    was_up = is_up(home)
    # The process numbers may be somebody else's by now, so each is asked first.
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
    # The functions' AWS is on this machine, whatever stands between it and Stripe.
    return {**found, "NO_PROXY": THIS_MACHINE, "no_proxy": THIS_MACHINE} if found else {}


def keep_proxies_away() -> None:
    """A proxy of this shell must not stand between this process and its own servers."""
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name)
        os.environ[name] = f"{others},{THIS_MACHINE}" if others else THIS_MACHINE
