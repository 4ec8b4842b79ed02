"""A shop with doubles of its services in this process, and the measured programs in their own."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness.doubles import TABLE, FakeCloud
from bench.harness.framing import Frame, FrameConnection, FrameServer
from bench.harness.programs import REPORT, ROLES, Report
from bench.shops import UniformShop
from testkit.fake_stripe import RateLimits

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS, STOP_SECONDS = 60, 10
# Settings that every program needs. The services are in another process here, so no name of them matters.
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_LAMBDA_FUNCTION_NAME": "producer",
    "COMMERCE_TABLE": TABLE,
    "STRIPE_SECRET": "sk_test_bench",
}


@dataclass
class Harness:
    """The programs and services of one measurement.

    `environment` is that of the programs, `last_called` the monotonic time of each operation's last call, and
    `failed` describes everything that should not have happened.
    """

    shop: UniformShop
    cloud: FakeCloud
    home: Path
    environment: Mapping[str, str]
    reports: list[Report] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    last_called: dict[str, float] = field(default_factory=dict)
    _ready: "queue.Queue[FrameConnection]" = field(default_factory=queue.Queue)
    _programs: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _connections: list[FrameConnection] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.home / "socket"

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Serve requests on another thread inside the block."""
        server = FrameServer(self.socket, self._handle, self._accept_program)
        serving = threading.Thread(target=server.serve)
        serving.start()
        try:
            yield
        finally:
            self._kill_programs()
            server.close()
            serving.join()

    def start_programs(self, role: str, count: int = 1) -> list[FrameConnection]:
        """Start that many programs; return a connection to each once they are warm."""
        for _ in range(count):
            with (self.home / f"{role}.log").open("ab") as log:
                command = [sys.executable, "-m", "bench.harness.programs", role, str(self.socket)]
                program = subprocess.Popen(  # noqa: S603 - this project's own
                    command, cwd=ROOT, env={**self.environment}, stdout=log, stderr=log
                )
            self._programs.append(program)
        connections = [self._ready.get(timeout=READY_SECONDS) for _ in range(count)]
        self._connections += connections
        return connections

    def check_programs(self) -> None:
        """Raise RuntimeError if a program has ended early."""
        if any(program.poll() is not None for program in self._programs):
            logs = [log.read_text()[-2000:] for log in self.home.glob("*.log")]
            raise RuntimeError("a program ended early:\n" + "\n".join(logs))

    def stop_programs(self) -> None:
        """Close the connections, upon which the programs report and end."""
        for connection in self._connections:
            connection.close()
        for program in self._programs:
            program.wait(STOP_SECONDS)

    def _kill_programs(self) -> None:
        for program in self._programs:
            program.kill()
            program.wait(STOP_SECONDS)

    def _accept_program(self, connection: FrameConnection, frame: Frame) -> bool:
        if frame.name not in ROLES:
            return False
        self._ready.put(connection)
        return True

    def _handle(self, frame: Frame) -> Frame:
        if frame.name == REPORT:
            self.reports.append(Report(**json.loads(frame.body)))
            return Frame("200", b"")
        self.last_called[frame.name] = time.monotonic()
        return self.cloud.handle(frame)


@contextmanager
def open_harness(shop: UniformShop, limits: RateLimits, settings: Mapping[str, str]) -> Iterator[Harness]:
    """Yield a harness that holds the shop; `settings` extend the settings that every program needs."""
    cloud = FakeCloud(limits)
    cloud.load(shop.sales(), shop.webhook_orders())
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {**SETTINGS, "SYNC_QUEUE_URL": cloud.queue, **settings}
    with tempfile.TemporaryDirectory(prefix="nightly-sync-bench-") as home:
        harness = Harness(shop, cloud, Path(home), environment)
        with harness.serve():
            yield harness
