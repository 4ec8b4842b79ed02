"""The emulator's process: installed from its lock file, started on a free port, ended with all it started."""

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from infra.build import ROOT, find_uv
from testkit.emulator.clients import CREDENTIALS, Clients
from testkit.emulator.enforcement import Certificate, certificate_for, enforcement

HERE = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".cache" / "emulator-venv"
HOST = "127.0.0.1"

# It is up in 2 s; a machine busy with other things may take longer.
START_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 30
# A port that was free may be taken in the moment before the emulator binds it.
PORT_ATTEMPTS = 3

NOTHING: Mapping[str, str] = MappingProxyType({})


class EmulatorError(Exception):
    """The emulator could not be installed or started; the message ends with its log."""


class Emulator:
    """One emulated AWS. As a context manager it is up inside the block and gone after it.

    `home` holds its log, which stays, and while it is up its functions' files; without one it is a temporary
    folder, removed at the end. `environment` adds variables that the functions should see, such as those of a
    proxy. `enforcing` makes it ask the policies of roles and queues, over TLS, which the queues' demand.
    """

    def __init__(
        self,
        home: Path | None = None,
        environment: Mapping[str, str] = NOTHING,
        *,
        enforcing: bool = False,
    ) -> None:
        self._temporary_home = home is None
        self._environment = environment
        self._enforcing = enforcing
        self.home = home or Path(tempfile.mkdtemp(prefix="nightly-sync-aws-"))
        self.log_path = self.home / "emulator.log"
        self.pid = 0
        self.url = ""
        self.certificate: Certificate | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Clients | None = None

    @property
    def client(self) -> Clients:
        """Clients for this AWS: `emulator.client("sqs")`. Closed by `stop`."""
        if self._client is None:
            self._client = Clients(self.url, self.certificate.authority if self.certificate else None)
        return self._client

    def start(self, *, detached: bool = False) -> Self:
        """Returns when it answers. Detached, it outlives this process until `stop_detached(home)`."""
        python = installed()
        files_path(self.home).mkdir(parents=True, exist_ok=True)
        if self._enforcing:
            self.certificate = certificate_for(HOST, python, files_path(self.home))
        try:
            for attempt in range(PORT_ATTEMPTS):
                if self._try_start(python, free_port(), detached=detached, last=attempt == PORT_ATTEMPTS - 1):
                    break
        except BaseException:
            self.stop()
            raise
        if detached:
            note = {"pid": self.pid, "url": self.url, "temporary": self._temporary_home}
            note_path(self.home).write_text(json.dumps(note))
        return self

    def _try_start(self, python: Path, port: int, *, detached: bool, last: bool) -> bool:
        self.url = f"{'https' if self.certificate else 'http'}://{HOST}:{port}"
        self._process = self._spawn(python, port, detached=detached)
        self.pid = self._process.pid
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            # Its own word first: on a port that was taken in the meantime, it is somebody else who answers.
            if f"Running on {self.url}" in self.log() and answers(self.url, self.certificate):
                return True
            time.sleep(POLL_SECONDS)
        if "already in use" in self.log() and not last:
            self._end()
            return False
        raise EmulatorError(self._explain())

    def _spawn(self, python: Path, port: int, *, detached: bool) -> subprocess.Popen[bytes]:
        command = [str(python), str(HERE / "guard.py"), *(["--detached"] if detached else [])]
        environment = clean_environment(files_path(self.home), port)
        if self.certificate:
            environment |= enforcement(self.certificate)
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=files_path(self.home),
                env=environment | dict(self._environment),
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _explain(self) -> str:
        code = self._process.poll() if self._process else None
        what = f"ended with {code}" if code is not None else f"does not answer after {START_SECONDS:.0f} s"
        tail = "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])
        return f"the emulator {what}; the end of {self.log_path}:\n{tail}"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self) -> None:
        """Ends the emulator and every function it runs. May be called at any time and repeatedly."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._end()
        remove_files(self.home, whole=self._temporary_home)

    def _end(self) -> None:
        if self._process is None:
            return
        end_group(self._process.pid)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def stop_detached(home: Path) -> bool:
    """Ends the emulator that was started detached with this `home`. False if there is none any more."""
    path = note_path(home)
    if not path.exists():
        return False
    note = json.loads(path.read_text())
    running = is_emulator(note["pid"])
    if running:
        end_group(note["pid"])
    path.unlink()
    remove_files(home, whole=note["temporary"])
    return running


def remove_files(home: Path, *, whole: bool) -> None:
    shutil.rmtree(home if whole else files_path(home), ignore_errors=True)


def files_path(home: Path) -> Path:
    """Where the emulator and the functions keep whatever they write."""
    return home / "files"


def note_path(home: Path) -> Path:
    return home / "emulator.json"


# --- installation -------------------------------------------------------------------------------------------


def installed() -> Path:
    """The Python of the emulator's environment, made from its lock file if it is missing or out of date."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "lock.sha256"
    wanted = hashlib.sha256((HERE / "uv.lock").read_bytes()).hexdigest()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        sync()
        stamp.write_text(wanted)
    return python


def sync() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment["UV_PROJECT_ENVIRONMENT"] = str(ENVIRONMENT)
    command = [find_uv(), "sync", "--quiet", "--frozen", "--project", str(HERE)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise EmulatorError(f"the emulator's environment cannot be made:\n{done.stderr.strip()}")


# --- process ------------------------------------------------------------------------------------------------


def clean_environment(files: Path, port: int) -> dict[str, str]:
    """All that the emulator sees, and with it the functions: they inherit its environment.

    A variable of this shell, a proxy or a real AWS key, say, must not decide what a function does.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(files),
        "TMPDIR": str(files),
        "LANG": "C.UTF-8",
        "STATE_DIR": str(files / "state"),
        "S3_DATA_DIR": str(files / "s3"),
        "BIND_HOST": HOST,  # it would listen on every address of this machine
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "AWS_EC2_METADATA_DISABLED": "true",
        **CREDENTIALS,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def answers(url: str, certificate: Certificate | None = None) -> bool:
    trust = ssl.create_default_context(cafile=certificate.authority if certificate else None)
    # A proxy of this shell knows nothing about this machine.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trust))
    try:
        with opener.open(f"{url}/_ministack/ready", timeout=2) as response:
            return bool(response.status == HTTPStatus.OK)
    except (URLError, OSError):
        return False


def is_emulator(pid: int) -> bool:
    """Whether this process number is still the emulator's and not somebody else's by now."""
    return str(HERE / "guard.py") in command_of(pid)


def command_of(pid: int) -> str:
    """The command line of a process; empty when there is none."""
    if Path("/proc/self/cmdline").exists():  # slim container images have no ps
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listed = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)],  # noqa: S607 - where ps is differs between systems
        check=False,
        capture_output=True,
        text=True,
    )
    return listed.stdout.strip()


def end_group(pid: int) -> None:
    """Ends the process group that `pid` leads. At once, because nothing in it is worth saving."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
