"""A shop, the services as doubles in this process, and the programs under measurement in theirs."""

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

from bench.stage.cloud import TABLE, Cloud
from bench.stage.programs import REPORT, ROLES, Report
from bench.stage.shop import Shop
from bench.stage.wire import Frame, Line, Switchboard
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
class Stage:
    """`environment` is what programs see; `last` when each operation was asked for last, on the monotonic
    clock; `failed` whatever should not have happened."""

    shop: Shop
    cloud: Cloud
    home: Path
    environment: Mapping[str, str]
    reports: list[Report] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    _ready: "queue.Queue[Line]" = field(default_factory=queue.Queue)
    _programs: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _lines: list[Line] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.home / "socket"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Answers inside the block, on a thread of its own."""
        switchboard = Switchboard(self.socket, self._answers, self._takes)
        serving = threading.Thread(target=switchboard.serves)
        serving.start()
        try:
            yield
        finally:
            self._kills()
            switchboard.close()
            serving.join()

    def begins(self, role: str, count: int = 1) -> list[Line]:
        """Starts so many programs and returns when they are warm, with a line to each."""
        for _ in range(count):
            with (self.home / f"{role}.log").open("ab") as log:
                command = [sys.executable, "-m", "bench.stage.programs", role, str(self.socket)]
                program = subprocess.Popen(  # noqa: S603 - this project's own
                    command, cwd=ROOT, env={**self.environment}, stdout=log, stderr=log
                )
            self._programs.append(program)
        lines = [self._ready.get(timeout=READY_SECONDS) for _ in range(count)]
        self._lines += lines
        return lines

    def check(self) -> None:
        """Raises when a program has ended that should be there."""
        if any(program.poll() is not None for program in self._programs):
            logs = [log.read_text()[-2000:] for log in self.home.glob("*.log")]
            raise RuntimeError("a program ended by itself:\n" + "\n".join(logs))

    def ends(self) -> None:
        """Hangs up, upon which programs report and end."""
        for line in self._lines:
            line.close()
        for program in self._programs:
            program.wait(STOP_SECONDS)

    def _kills(self) -> None:
        for program in self._programs:
            program.kill()
            program.wait(STOP_SECONDS)

    def _takes(self, line: Line, frame: Frame) -> bool:
        if frame.name not in ROLES:
            return False
        self._ready.put(line)
        return True

    def _answers(self, frame: Frame) -> Frame:
        if frame.name == REPORT:
            self.reports.append(Report(**json.loads(frame.body)))
            return Frame("200", b"")
        self.last[frame.name] = time.monotonic()
        return self.cloud.answers(frame)


@contextmanager
def staged(shop: Shop, limits: RateLimits, settings: Mapping[str, str]) -> Iterator[Stage]:
    """The stage with the shop on it; `settings` of the functions beside those that every program needs."""
    cloud = Cloud(limits)
    cloud.opens(shop.sales(), shop.webhook_orders())
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {**SETTINGS, "SYNC_QUEUE_URL": cloud.queue, **settings}
    with tempfile.TemporaryDirectory(prefix="nightly-sync-bench-") as home:
        stage = Stage(shop, cloud, Path(home), environment)
        with stage.opened():
            yield stage
