"""The values that a hostile sender puts in place of a field: JSON, or text that parsers take for JSON."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.hostile.field_paths import FieldPath

MISSING: Any = object()
# Part of every text and key: no message and no log line may repeat it.
SECRET = "SECRET-4711"
EMOJI = "🦄🎁👩‍👩‍👧‍👦"


def nest(depth: int, leaf: Any = SECRET) -> Any:
    value = leaf
    for _ in range(depth):
        value = {"in": value}
    return value


# By a name for failure messages. Each value is built anew, since a mutant may be changed.
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
    "an object 40 deep": lambda: nest(40),
    "an object 400 deep": lambda: nest(400),
}


@dataclass(frozen=True)
class FieldMutation:
    """One field of an object, and the name of the value in its place."""

    what: str
    path: FieldPath

    def __str__(self) -> str:
        return f"{self.what} at {'.'.join(map(str, self.path))}"

    def apply(self, session: Any) -> Any:
        """Return a copy of the session with this mutation."""
        changed = json.loads(json.dumps(session))
        set_field(_find_holder(changed, self.path), self.path[-1], MUTATIONS[self.what]())
        return changed


def set_field(holder: Any, name: str | int, value: Any) -> None:
    """Set a field, or delete it if the value is MISSING and the field is there."""
    if value is not MISSING:
        holder[name] = value
    elif _has(holder, name):
        del holder[name]


def list_mutations(session: Any, paths: Iterable[FieldPath]) -> list[FieldMutation]:
    """Return every mutation of each field that is there or that its object could have."""
    return [
        FieldMutation(what, path)
        for path in paths
        if (holder := _find_holder(session, path)) is not None
        for what in MUTATIONS
        if what != "missing" or _has(holder, path[-1])
    ]


def _find_holder(session: Any, path: FieldPath) -> Any | None:
    """Return the object or list that the field is part of; None if the session has none."""
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
