"""Describes the machine that figures were measured on."""

import os
import platform
import re
from pathlib import Path

_MODEL = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)


def describe_machine() -> str:
    """Return `2 cores of <model>, Python 3.12.3`, with the architecture if the model is unknown."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {cpu_model(Path('/proc/cpuinfo'))}, Python {platform.python_version()}"


def cpu_model(path: Path) -> str:
    found = _MODEL.search(path.read_text()) if path.exists() else None
    return found[1].strip() if found else platform.machine()
