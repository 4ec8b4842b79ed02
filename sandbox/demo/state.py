"""The state of a kept sandbox in `state.json`: addresses, names and process ids.

Its only credentials are the invented ones of the emulator. The operator's command reads the file, too.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.stack import SandboxStack
from testkit.emulator.clients import CREDENTIALS

FILE = "state.json"


@dataclass(frozen=True)
class SandboxState:
    """A kept sandbox. `pids` are by the name of the process; unknown values are empty."""

    endpoint_url: str
    fake_stripe_url: str | None
    pids: Mapping[str, int]
    stack: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    credentials: Mapping[str, str] = field(default_factory=lambda: dict(CREDENTIALS))

    def write(self, home: Path) -> None:
        # A rename is atomic, so that no reader sees half of the file.
        draft = home / f"{FILE}.new"
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.rename(home / FILE)


def read_state(home: Path) -> SandboxState | None:
    """Return the stored state, or None if there is none that this version can read."""
    try:
        return SandboxState(**json.loads((home / FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def remove_state(home: Path) -> None:
    (home / FILE).unlink(missing_ok=True)


def stack_names(stack: SandboxStack) -> dict[str, str]:
    """Return the names and addresses with which a stack can be inspected."""
    return {
        "name": stack.name,
        "table": stack.table,
        "queueUrl": stack.queue_url,
        "deadLetterQueueUrl": stack.dlq_url,
        "producer": stack.producer,
        "consumer": stack.consumer,
        "schedule": stack.schedule,
        "stripeKeyParameter": stack.secret_parameter,
    }
