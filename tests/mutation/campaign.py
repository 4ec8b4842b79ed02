"""Runs mutmut in two rounds: each mutant against the fastest tests that reach it, what lives against more.

mutmut keeps in one file which tests reach which function, and how long each takes. A round is mutmut's own
run with that file cut to size: a mutant that lives costs all the time its tests take, and one that dies
seldom needs more than a second of them.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PLACE = Path("mutants")
STATISTICS = PLACE / "mutmut-stats.json"
ALL_STATISTICS = PLACE / "all-tests.json"
# Of the tests of one function, as mutmut timed them.
FIRST_ROUND_SECONDS = 2.0
SECOND_ROUND_SECONDS = 30.0
# Reached by few and fast tests: run first and alone, these make mutmut write everything that it writes once.
FEW = "recon.config.x__positive__*"

type Statistics = dict[str, Any]


def prepare(*, anew: bool) -> None:
    """Makes the mutants, and asks which tests reach which function. What was made before is only added to,
    unless `anew`. Raises CalledProcessError where a test fails without any mutant."""
    if anew:
        shutil.rmtree(PLACE, ignore_errors=True)
    if ALL_STATISTICS.exists():
        shutil.copy(ALL_STATISTICS, STATISTICS)
    _mutmut([FEW], workers=1)
    shutil.copy(STATISTICS, ALL_STATISTICS)


def first_round(names: Sequence[str], workers: int) -> None:
    """`names`: mutmut's patterns; none: every mutant that has no verdict yet."""
    _round(names, workers, FIRST_ROUND_SECONDS)


def second_round(names: Sequence[str], workers: int) -> None:
    if names:
        _round(names, workers, SECOND_ROUND_SECONDS)


def _round(names: Sequence[str], workers: int, seconds: float) -> None:
    statistics = json.loads(ALL_STATISTICS.read_text())
    STATISTICS.write_text(json.dumps(cut(statistics, seconds)))
    _mutmut(names, workers)


def cut(statistics: Statistics, seconds: float) -> Statistics:
    """Of each function the fastest tests that take so long together, and one in any case."""
    took = statistics["duration_by_test"]
    tests = statistics["tests_by_mangled_function_name"]
    kept = {function: list(_fastest(reached, took, seconds)) for function, reached in tests.items()}
    return statistics | {"tests_by_mangled_function_name": kept}


def _fastest(tests: Iterable[str], took: dict[str, float], seconds: float) -> Iterable[str]:
    spent = 0.0
    for number, test in enumerate(sorted(tests, key=lambda test: (took[test], test))):
        spent += took[test]
        if number and spent > seconds:
            return
        yield test


def _mutmut(names: Sequence[str], workers: int) -> None:
    program = Path(sys.executable).with_name("mutmut")
    subprocess.run([program, "run", "--max-children", str(workers), *names], check=True)
