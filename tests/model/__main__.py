"""Play histories: `python -m tests.model --seed 17 --trace` tells one again, `--nights 20000` plays many.

Exit status 1 if anything was wrong, with the seeds and the commands that replay them, or if in many nights
something that can happen never did.
"""

import argparse
import sys
from collections.abc import Sequence

from infra.arguments import ArgumentParser, whole_number
from tests.model.driver import SHORT_NIGHTS, list_seeds, play, play_all, summarize, tell_story
from tests.model.tally import HistoryTally

# Everything except rare accidents should have happened in this many histories.
MANY_HISTORIES = 100


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse_options(arguments)
    if options.trace:
        played = play(options.seed, options.nights)
        print(tell_story(played))  # noqa: T201 - a program for a terminal
        return bool(played.violations)
    return _play_many(list_seeds(options.seed, options.nights or SHORT_NIGHTS), options.workers)


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m tests.model", description=__doc__)
    nights = "how many, rounded up to whole histories; with --trace exactly so many"
    parser.add_argument("--seed", type=int, default=0, help="the first history's seed")
    parser.add_argument("--nights", type=whole_number(1), help=nights)
    parser.add_argument("--workers", type=whole_number(1), default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="play one history and tell all of it")
    options = parser.parse_args(arguments)
    if options.trace:
        parser.refuse_given(("--workers",), "is for many histories; --trace plays one, so leave it out")
    return options


def _play_many(seeds: range, workers: int) -> int:
    tally = HistoryTally()
    for played in play_all(seeds, workers):
        tally.add(played)
        if played.violations:
            print(summarize(played), flush=True)  # noqa: T201 - a program for a terminal
    print(tally.report())  # noqa: T201 - a program for a terminal
    return bool(tally.wrong) or (len(seeds) >= MANY_HISTORIES and tally.is_blind())


if __name__ == "__main__":
    sys.exit(main())
