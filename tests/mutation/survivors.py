"""The mutants that are known to live, each with its reason; keyed by function and change, never by line."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.verdicts import Fate, Mutant

LIST = Path(__file__).with_name("survivors.toml")

type Key = tuple[str, str]  # function, change


@dataclass(frozen=True)
class Comparison:
    """`unknown` survivors are in no list; `dead` keys are listed and name no survivor."""

    unknown: list[Mutant]
    dead: list[Key]


def listed(text: str) -> dict[Key, str]:
    """The reason by function and change. Raises ValueError for an entry without one, or one given twice."""
    reasons: dict[Key, str] = {}
    for group in tomllib.loads(text).get("reason", []):
        why = group.get("why", "").strip()
        if not why:
            raise ValueError("a group of survivors has no reason")
        for entry in group["survivors"]:
            key = (entry["function"], entry["change"].strip())
            if key in reasons:
                raise ValueError(f"listed twice: {key}")
            reasons[key] = why
    return reasons


def compared(mutants: Iterable[Mutant], known: dict[Key, str]) -> Comparison:
    """Of the functions that have mutants here; the list may be longer."""
    mutants = list(mutants)
    lives = {
        mutant.name: (mutant.function, mutant.change()) for mutant in mutants if mutant.fate is Fate.SURVIVED
    }
    functions = {mutant.function for mutant in mutants}
    return Comparison(
        unknown=[mutant for mutant in mutants if mutant.name in lives and lives[mutant.name] not in known],
        dead=[key for key in known if key[0] in functions and key not in lives.values()],
    )
