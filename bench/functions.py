"""Builds the functions and starts each in a process, as Lambda would."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from bench.lambda_process import peak_mb
from infra.build import BuildOptions, build
from testkit.builders import TABLE
from testkit.world import KEY

_PROCESS = Path(__file__).with_name("lambda_process.py")
# What Lambda's Python runtime brings for boto3, and the bytecode of those that are one file.
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "jmespath", "urllib3", "six.py", "__pycache__")
STOP_SECONDS = 10


@dataclass(frozen=True)
class BuiltFunctions:
    """The `folders` by function, and the folder with the packages of Lambda's own `runtime`."""

    folders: Mapping[str, Path]
    runtime: Path


@contextmanager
def build_functions() -> Iterator[BuiltFunctions]:
    """Build for this machine, in a folder that is deleted after the block."""
    with TemporaryDirectory() as home:
        runtime = Path(home) / "runtime"
        runtime.mkdir()
        for name in RUNTIME:
            (runtime / name).symlink_to(site_packages() / name)
        yield BuiltFunctions(build(Path(home) / "functions", BuildOptions(platform="host")), runtime)


def site_packages() -> Path:
    """Return the folder of this environment's packages."""
    return Path(boto3.__file__).parent.parent


@dataclass(frozen=True)
class ProcessReport:
    """The report of a process, sent once it is ready and after each event.

    `wall` and `cpu` are the seconds that this took; `peak_mb` and the imported `modules` are cumulative.
    """

    wall: float
    cpu: float
    peak_mb: float
    modules: list[str]
    answer: Any


class FunctionProcess:
    """A process with one function, or with its libraries alone."""

    def __init__(self, functions: BuiltFunctions, what: str, env: Mapping[str, str]) -> None:
        folder = functions.folders.get(what, functions.folders["producer"])
        program = [
            sys.executable,
            "-I",
            "-S",
            "-B",
            str(_PROCESS),
            str(folder),
            str(functions.runtime),
            what,
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            program, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def peak_mb(self) -> float:
        """Return the peak memory so far, even while the process is busy."""
        return peak_mb(self._process.pid)

    def read_report(self) -> ProcessReport:
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the function's process ended; see above for why")
        return ProcessReport(**json.loads(line))

    def invoke(self, event: object) -> ProcessReport:
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        return self.read_report()

    def stop(self) -> None:
        """Close standard input to end the process, and kill it if it does not end in time."""
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        finally:
            self._process.kill()


@contextmanager
def start_process(
    functions: BuiltFunctions, what: str, env: Mapping[str, str]
) -> Iterator[tuple[FunctionProcess, ProcessReport]]:
    """Yield a process and its first report; stop the process after the block."""
    process = FunctionProcess(functions, what, env)
    try:
        yield process, process.read_report()
    finally:
        process.stop()


def environment(aws: str, stripe: str, **settings: str) -> dict[str, str]:
    """Return a function's environment, which inherits nothing from this shell."""
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
