"""Plays histories: `python -m tests.model --seed 17 --trace` tells one once more, `--nights 20000` many.

Exit status 1 when anything was wrong, with the seeds and the commands that replay them, or when many nights
went by and something that can happen never did.
"""

import argparse
import sys
from collections.abc import Sequence

from infra.arguments import ArgumentParser, whole_number
from tests.model.driver import BAD_NIGHTS, found, play, played_all, story
from tests.model.tally import Tally

# Histories in which everything should have happened, rare accidents aside.
MANY = 100


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.trace:
        played = play(options.seed, options.nights or BAD_NIGHTS)
        print(story(played))  # noqa: T201 - a program for a terminal
        return bool(played.wrong)
    count = -(-(options.nights or BAD_NIGHTS) // BAD_NIGHTS)
    return _play_many(options.seed, count, options.workers)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m tests.model", description=__doc__)
    nights = f"how many, rounded up to whole histories of {BAD_NIGHTS}; with --trace exactly so many"
    parser.add_argument("--seed", type=int, default=0, help="the first history's seed")
    parser.add_argument("--nights", type=whole_number(1), help=nights)
    parser.add_argument("--workers", type=whole_number(1), default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="play one history and tell all of it")
    options = parser.parse_args(arguments)
    if options.trace:
        parser.refuse_given(("--workers",), "is for many histories; --trace plays one, so leave it out")
    return options


def _play_many(first: int, count: int, workers: int) -> int:
    tally = Tally()
    for played in played_all(range(first, first + count), workers):
        tally.add(played)
        if played.wrong:
            print(found(played), flush=True)  # noqa: T201 - a program for a terminal
    print(tally.report())  # noqa: T201 - a program for a terminal
    return bool(tally.wrong) or (count >= MANY and tally.is_blind())


if __name__ == "__main__":
    sys.exit(main())
