"""What a hostile or broken sender puts in a field's place: JSON, or what parsers of JSON take for it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.hostile.paths import Path

MISSING: Any = object()
# In every text and every key: nothing of it may be repeated by a message or a log line.
SECRET = "SECRET-4711"
EMOJI = "🦄🎁👩‍👩‍👧‍👦"


def nested(depth: int, leaf: Any = SECRET) -> Any:
    value = leaf
    for _ in range(depth):
        value = {"in": value}
    return value


# By class, so that a failure has a name. Made anew each time: a mutant may be changed.
MUTATIONS: dict[str, Callable[[], Any]] = {
    "missing": lambda: MISSING,
    "null": lambda: None,
    "true": lambda: True,
    "false": lambda: False,
    "zero": lambda: 0,
    "a small integer": lambda: 7,
    "a negative integer": lambda: -12_345,
    "an integer of 38 digits": lambda: 10**37,
    "an integer of 400 digits": lambda: 10**400,
    "a fraction": lambda: 19.99,
    "not a number": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "an empty text": lambda: "",
    "a text": lambda: SECRET,
    "a number as text": lambda: "4999",
    "a text in many scripts": lambda: f"{EMOJI} Ünïcödé 汉字 \u202e עברית {SECRET}",
    "a text with control characters": lambda: f"\x00\x07\r\n\x1b[31m{SECRET}",
    "half a surrogate pair": lambda: f"\ud83d{SECRET}",
    "a text of 400 KB": lambda: SECRET + "x" * 400 * 1024,
    "an empty list": list,
    "a list of null": lambda: [None],
    "a list of integers": lambda: [1, 2, 3],
    "a list of objects": lambda: [{"id": SECRET}, {}],
    "an empty object": dict,
    "an object": lambda: {"id": SECRET, "object": "unknown"},
    "an object with an empty name": lambda: {"": SECRET},
    "an object with names of 500 characters": lambda: {f"{n}" + "k" * 499: SECRET for n in range(20)},
    "an object with emoji for names": lambda: {EMOJI * n: SECRET for n in range(1, 5)},
    "an object with null in it": lambda: {"a": None, "b": SECRET},
    "an object of 400 KB": lambda: {f"k{n}": SECRET + "v" * 500 for n in range(850)},
    "an object 40 deep": lambda: nested(40),
    "an object 400 deep": lambda: nested(400),
}


@dataclass(frozen=True)
class Mutation:
    """One field of one object, and what stands in its place."""

    what: str
    path: Path

    def __str__(self) -> str:
        return f"{self.what} at {'.'.join(map(str, self.path))}"

    def of(self, session: Any) -> Any:
        """A copy of the session with this done to it."""
        changed = json.loads(json.dumps(session))
        holder, last = _holder(changed, self.path), self.path[-1]
        value = MUTATIONS[self.what]()
        if value is MISSING:
            del holder[last]
        else:
            holder[last] = value
        return changed


def mutations_of(session: Any, paths: Iterable[Path]) -> list[Mutation]:
    """Each field that is there, or that its object could have, in each way."""
    return [
        Mutation(what, path)
        for path in paths
        if (holder := _holder(session, path)) is not None
        for what in MUTATIONS
        if what != "missing" or _has(holder, path[-1])
    ]


def _holder(session: Any, path: Path) -> Any | None:
    """What the field is a part of; None where the session has no such part."""
    holder = session
    for step in path[:-1]:
        if not _has(holder, step):
            return None
        holder = holder[step]
    if isinstance(holder, list):
        return holder if _has(holder, path[-1]) else None
    return holder if isinstance(holder, dict) else None


def _has(holder: Any, step: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(step, int) and len(holder) > step
    return isinstance(holder, dict) and step in holder
