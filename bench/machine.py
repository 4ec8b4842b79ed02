"""Describes the machine that figures were measured on, and measures how busy it is."""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

_MODEL = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)


def describe_machine() -> str:
    """Return `2 cores of <model>, Python 3.12.3`, with the architecture if the model is unknown."""
    return f"{len(_cores())} cores of {cpu_model(Path('/proc/cpuinfo'))}, Python {platform.python_version()}"


def measure_slowdown(seconds: float = 1.0) -> float:
    """Return how many times as long as on an idle machine a program takes that keeps all cores busy."""
    program = f"import time\nwhile time.process_time() < {seconds}: pass"
    began = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-S", "-c", program]) for _ in _cores()]  # noqa: S603 - our own
    for one in running:
        one.wait()
    return max(1.0, (time.monotonic() - began) / seconds)


def _cores() -> set[int]:
    return os.sched_getaffinity(0)


def cpu_model(path: Path) -> str:
    found = _MODEL.search(path.read_text()) if path.exists() else None
    return found[1].strip() if found else platform.machine()
