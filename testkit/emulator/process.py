"""The process of the emulator: installed from its lock file, started on a free port, and ended."""

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
from testkit.emulator.clients import CREDENTIALS, AwsClients
from testkit.emulator.enforcement import Certificate, create_certificate, enforcement_variables

HERE = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".cache" / "emulator-venv"
HOST = "127.0.0.1"

# It starts in 2 s, but a busy machine takes longer.
START_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 30
# Another process can take a free port before the emulator binds it.
PORT_ATTEMPTS = 3

NOTHING: Mapping[str, str] = MappingProxyType({})


class EmulatorError(Exception):
    """The emulator could not be installed or started. The message ends with its log."""


class Emulator:
    """One emulated AWS. As a context manager it runs inside the block.

    `home` contains its log, which remains, and its functions' files while it runs. Without `home` it is a
    temporary folder, which is removed at the end. `environment` adds variables for the functions, such as
    those of a proxy. `enforcing` enforces the policies of roles and queues, over TLS, which queue policies
    demand.
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
        self._client: AwsClients | None = None

    @property
    def client(self) -> AwsClients:
        """Return the clients of this AWS, for example `emulator.client("sqs")`. `stop` closes them."""
        if self._client is None:
            self._client = AwsClients(self.url, self.certificate.authority if self.certificate else None)
        return self._client

    def start(self, *, detached: bool = False) -> Self:
        """Return when it answers. A detached emulator runs until `stop_detached(home)`."""
        python = install()
        files_path(self.home).mkdir(parents=True, exist_ok=True)
        if self._enforcing:
            self.certificate = create_certificate(HOST, python, files_path(self.home))
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
            # Its log line is needed, since another process may have taken the port and answer.
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
            environment |= enforcement_variables(self.certificate)
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
        """End the emulator and all its functions. Further calls have no effect."""
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
    """End the emulator that was started detached with this `home`. Return False if none is running."""
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
    """Return the folder to which the emulator and the functions write."""
    return home / "files"


def note_path(home: Path) -> Path:
    return home / "emulator.json"


# Installation


def install() -> Path:
    """Return the Python of the emulator's environment, created or updated from its lock file if needed."""
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
        raise EmulatorError(f"the emulator's environment cannot be created:\n{done.stderr.strip()}")


# Process


def clean_environment(files: Path, port: int) -> dict[str, str]:
    """Return the environment of the emulator, which the functions inherit.

    A variable of this shell, such as a proxy or a real AWS key, must not change what a function does.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        # Its MQTT broker would listen on all addresses.
        "IOT_MTLS_ENABLED": "0",
        "HOME": str(files),
        "TMPDIR": str(files),
        "LANG": "C.UTF-8",
        "STATE_DIR": str(files / "state"),
        "S3_DATA_DIR": str(files / "s3"),
        "BIND_HOST": HOST,  # by default it listens on every address of this machine
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
    # A proxy in the environment must not be used for this machine.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trust))
    try:
        with opener.open(f"{url}/_ministack/ready", timeout=2) as response:
            return bool(response.status == HTTPStatus.OK)
    except (URLError, OSError):
        return False


def is_emulator(pid: int) -> bool:
    """Return whether this process is the emulator and not another one that reused its number."""
    return str(HERE / "guard.py") in command_line(pid)


def command_line(pid: int) -> str:
    """Return the command line of a process, empty if there is none."""
    if Path("/proc/self/cmdline").exists():  # slim container images have no ps
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listed = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)],
        check=False,
        capture_output=True,
        text=True,
    )
    return listed.stdout.strip()


def end_group(pid: int) -> None:
    """Kill the process group that `pid` leads, since nothing in it has to be saved."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
