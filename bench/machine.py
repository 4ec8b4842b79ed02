"""The machine that figures were measured on."""

import os
import platform
import re
from pathlib import Path

_MODEL = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)


def machine() -> str:
    """`2 cores of <model>, Python 3.12.3`; without the model where the system does not tell it."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {cpu_model(Path('/proc/cpuinfo'))}, Python {platform.python_version()}"


def cpu_model(told: Path) -> str:
    found = _MODEL.search(told.read_text()) if told.exists() else None
    return found[1].strip() if found else platform.machine()
