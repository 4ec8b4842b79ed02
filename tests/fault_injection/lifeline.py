"""A process that ends with whoever started it, however that one ends: by the end of its standard input."""

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
    """Waits for the end of standard input and ends this process."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(pid, signal.SIGKILL)


class Child:
    """A module of ours as a process. `told` is the JSON line that it begins with, heard by `begins`."""

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
        self.told: Any = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def begins(self) -> None:
        """Returns when it is up; apart from the start, so that several start at once."""
        self.told = self.hears()

    def hears(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)

    def says(self, what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def asks(self, what: Any) -> Any:
        self.says(what)
        return self.hears()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
