"""The functions as they are built, each started as Lambda would start it, and told what to do."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.lambda_process import peak_mb
from infra.build import BuildOptions, build, install_dependencies
from testkit.builders import TABLE
from testkit.world import KEY

_PROCESS = Path(__file__).with_name("lambda_process.py")
# What Lambda's Python runtime brings for boto3, and the bytecode of those that are one file.
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "jmespath", "urllib3", "six.py", "__pycache__")
STOP_SECONDS = 10


@dataclass(frozen=True)
class Built:
    """`folders` by function; `runtime` is what Lambda's own Python would have beside them."""

    folders: Mapping[str, Path]
    runtime: Path


@contextmanager
def built() -> Iterator[Built]:
    """For this machine, in a folder that is gone after the block."""
    with TemporaryDirectory() as home:
        runtime = Path(home) / "runtime"
        runtime.mkdir()
        locked = install_dependencies(BuildOptions(platform="host", with_boto3=True))
        for name in RUNTIME:
            (runtime / name).symlink_to(locked / name)
        yield Built(build(Path(home) / "functions", BuildOptions(platform="host")), runtime)


@dataclass(frozen=True)
class Told:
    """What a process said when it was ready, or had answered: seconds that it took, and by now its peak and
    the packages that it has imported."""

    wall: float
    cpu: float
    peak_mb: float
    modules: list[str]
    answer: Any


class Process:
    """One process of a function, or the bare one."""

    def __init__(self, built: Built, what: str, env: Mapping[str, str]) -> None:
        folder = built.folders.get(what, built.folders["producer"])
        program = [sys.executable, "-I", "-S", "-B", str(_PROCESS), str(folder), str(built.runtime), what]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            program, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def peak_mb(self) -> float:
        """Until now, whatever it is doing."""
        return peak_mb(self._process.pid)

    def hears(self) -> Told:
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the function's process ended; see above for why")
        return Told(**json.loads(line))

    def asks(self, event: object) -> Told:
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        return self.hears()

    def ends(self) -> None:
        """By the end of its standard input, or at the latest when nobody wants to wait any longer."""
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        finally:
            self._process.kill()


@contextmanager
def started(built: Built, what: str, env: Mapping[str, str]) -> Iterator[tuple[Process, Told]]:
    """The process, and what it told when it was ready; it is gone after the block."""
    process = Process(built, what, env)
    try:
        yield process, process.hears()
    finally:
        process.ends()


def environment(aws: str, stripe: str, **settings: str) -> dict[str, str]:
    """What a function sees, and nothing of this shell."""
    return {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": aws,
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "COMMERCE_TABLE": TABLE,
        "MALLOC_ARENA_MAX": "1",
        "NO_PROXY": "127.0.0.1",
        "STRIPE_API_BASE": stripe,
        "STRIPE_MAX_RPS": "10000",
        "STRIPE_SECRET": KEY,
        "SYNC_CONSUMER_CONCURRENCY": "2",
        "SYNC_QUEUE_URL": f"{aws}/123456789012/sync",
    } | settings
