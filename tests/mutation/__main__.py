"""`make mutants`: are there tests that notice when the code is wrong? ARGS="recon.stripe.rate_limiter" for one module.

Exit status 1 when fewer than nine in ten mutants are killed, when one lives that no reason is given for, or
when the list of survivors names one that lives no more.
"""

import argparse
import os
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from tests.mutation import campaign, page, report, survivors
from tests.mutation.verdicts import Fate, Mutant, mutants

ROOT = Path(__file__).parents[2]


def main() -> int:
    options = _options()
    if options.tests:
        print(" ".join(selection()))
        return 0
    os.chdir(ROOT)  # where mutmut looks for its settings, and makes its copy
    if not options.look:
        _run(options)
    found = [mutant for mutant in mutants(campaign.PLACE) if _is_wanted(mutant, options.modules)]
    if options.write:
        page.write(found)
    return _told(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules",
        nargs="*",
        help="such as recon.stripe.rate_limiter or recon.dynamodb.*; all, if none is named",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--look", action="store_true", help="run nothing, report what the last run found")
    parser.add_argument("--write", action="store_true", help="put the table into docs/mutants.md")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="processes")
    parser.add_argument("--tests", action="store_true", help="print which tests are asked")
    return parser.parse_args()


def selection() -> list[str]:
    """The tests that mutants are tried against: in memory, and fast."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    files: list[str] = settings["pytest_add_cli_args_test_selection"]
    return files


def _run(options: argparse.Namespace) -> None:
    """All, each against its fastest tests; then those that live and are not listed, against many more."""
    campaign.prepare(anew=not options.resume and not options.modules)
    wanted = [mutant for mutant in mutants(campaign.PLACE) if _is_wanted(mutant, options.modules)]
    again = bool(options.modules) and not options.resume
    # No name at all would mean every mutant.
    if names := [mutant.name for mutant in wanted if again or mutant.fate is Fate.UNCHECKED]:
        campaign.first_round(names, options.workers)
    tried = [mutant for mutant in mutants(campaign.PLACE) if _is_wanted(mutant, options.modules)]
    unknown = survivors.compared(tried, _listed()).unknown
    campaign.second_round([mutant.name for mutant in unknown], options.workers)


def _is_wanted(mutant: Mutant, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch(mutant.module, pattern) for pattern in patterns)


def _listed() -> dict[survivors.Key, str]:
    return survivors.listed(survivors.LIST.read_text())


def _told(found: list[Mutant]) -> int:
    compared = survivors.compared(found, _listed())
    unchecked = sum(mutant.fate is Fate.UNCHECKED for mutant in found)
    print(report.table(found))
    for mutant in compared.unknown:
        print(f"lives, and no reason is given: {mutant.name}\n{mutant.change()}\n")
    for function, change in compared.dead:
        print(f"is listed and lives no more: {function}\n{change}\n")
    if unchecked:
        print(f"{unchecked:,} mutants are not tried yet: go on with --resume")
    share, tried = report.share(found), len(found) - unchecked
    print(f"{share:.1%} of the {tried:,} mutants that were tried are killed; wanted are {report.WANTED:.0%}")
    return int(share < report.WANTED or bool(unchecked or compared.unknown or compared.dead))


if __name__ == "__main__":
    sys.exit(main())
