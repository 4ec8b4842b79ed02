"""What a kept sandbox is: addresses, names and process numbers, in `state.json` of its folder. No key but the
made-up credentials that the emulator takes; the operator's command reads the file too."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.stack import Stack
from testkit.emulator.clients import CREDENTIALS

FILE = "state.json"


@dataclass(frozen=True)
class State:
    """`pids` are by name of the process. What is not known yet is empty."""

    endpoint_url: str
    fake_stripe_url: str | None
    pids: Mapping[str, int]
    stack: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    credentials: Mapping[str, str] = field(default_factory=lambda: dict(CREDENTIALS))

    def write(self, home: Path) -> None:
        # A second reader never sees half of it.
        draft = home / f"{FILE}.new"
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.rename(home / FILE)


def read_state(home: Path) -> State | None:
    """The state that was written last, or None when there is none, or none that this version can read."""
    try:
        return State(**json.loads((home / FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def remove_state(home: Path) -> None:
    (home / FILE).unlink(missing_ok=True)


def names_of(stack: Stack) -> dict[str, str]:
    """What one needs to know of a stack to look at it."""
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
