"""A process that ends together with its parent, however that one ends: when its standard input is closed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 10


def end_with_parent(pid: int) -> None:
    """Wait for the end of standard input and kill this process."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(pid, signal.SIGKILL)


class ChildProcess:
    """A module as a process that exchanges JSON lines; `greeting` is the first line, set by
    `wait_until_up`."""

    def __init__(self, log: Path, module: str, *arguments: str, env: dict[str, str]) -> None:
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._log = log
        self.greeting: Any = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_up(self) -> None:
        """Read the greeting; separate from the start, so that several processes start at once."""
        self.greeting = self._read()

    def request(self, message: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
