"""What mutmut found, read from its files: each mutant with its change and its fate."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant

_NAME = re.compile(r"(?P<module>.*)\.x(?:_|ǁ(?P<kind>\w+)ǁ)(?P<function>\w+)__mutmut_\d+")


class Fate(StrEnum):
    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    UNCHECKED = "unchecked"


# pytest's exit codes of a failed test and of an error, and how a process ends that ran out of its time.
_KILLED = {1, 3}
_TIMED_OUT = {-24, 24, 152, 36, -9}


@dataclass(frozen=True)
class Mutant:
    """`name` is mutmut's, `function` the dotted name of what was changed."""

    name: str
    module: str
    function: str
    fate: Fate
    path: str

    def change(self) -> str:
        """The lines that differ, without indentation: what stays the same when code around them moves."""
        lines = get_diff_for_mutant(self.name, path=self.path).splitlines()[2:]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if line[:1] in {"-", "+"})


def mutants(place: Path) -> Iterator[Mutant]:
    """All of them, module by module."""
    for file in sorted(place.rglob("*.py.meta")):
        path = str(file.relative_to(place)).removesuffix(".meta")
        codes: dict[str, int | None] = json.loads(file.read_text())["exit_code_by_key"]
        for name, code in codes.items():
            yield _mutant(name, code, path)


def _mutant(name: str, code: int | None, path: str) -> Mutant:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"not a mutant's name: {name}")
    function = ".".join(part for part in found.group("module", "kind", "function") if part)
    return Mutant(name, found["module"], function, fate_of(code), path)


def fate_of(code: int | None) -> Fate:
    """What no test reaches has survived, and so has what ended in a way that nobody foresaw."""
    if code is None:
        return Fate.UNCHECKED
    if code in _KILLED:
        return Fate.KILLED
    return Fate.TIMED_OUT if code in _TIMED_OUT else Fate.SURVIVED
