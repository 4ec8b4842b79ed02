"""Describes the machine that figures were measured on, and measures how busy it is."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

# Additions in a piece of work, which takes some 20 ms.
ADDITIONS = 1_000_000

_MODEL = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)


def describe_machine() -> str:
    """Return `2 cores of <model>, Python 3.12.3`, with the architecture if the model is unknown."""
    return f"{len(_cores())} cores of {cpu_model(Path('/proc/cpuinfo'))}, Python {platform.python_version()}"


def time_work(pieces: int = 20) -> list[float]:
    """Return the seconds that each of some equal pieces of work takes while all cores have such work.

    It is the time that passes: CPU seconds of a virtual machine go on while its host gives the core away.
    """
    program = (
        f"import time\nfor _ in range({pieces}):\n"
        f"    began = time.perf_counter()\n    sum(range({ADDITIONS}))\n"
        "    print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-S", "-c", program]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in _cores()]  # noqa: S603 - our own
    return [float(line) for one in running for line in one.communicate()[0].split()]


def find_slowdown(times: Sequence[float]) -> float:
    """Return how many times as long as the fastest pieces of work they all took on average.

    The fastest are the fastest twentieth, since one alone is chance.
    """
    fastest = sorted(times)[: max(1, len(times) // 20)]
    return mean(times) / mean(fastest)


def _cores() -> set[int]:
    return os.sched_getaffinity(0)


def cpu_model(path: Path) -> str:
    found = _MODEL.search(path.read_text()) if path.exists() else None
    return found[1].strip() if found else platform.machine()
