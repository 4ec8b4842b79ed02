"""One seed, one history: days with customers, nights with everything at once, drawn from the seed alone."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from recon.timestamps import HOUR, MINUTE
from tests.model.model_world import Shape
from tests.model.night_shop import NightShop, night_shop
from tests.model.verdict import wrong_at_rest
from tests.simulation.history import iso
from tests.simulation.plans import night

BAD_NIGHTS = 3
# Histories that a worker is given at a time.
CHUNK = 20
# Name of the action: how often by day, by night, and while an invocation stands still between two calls.
WEIGHTS: dict[str, tuple[int, int, int]] = {
    "opens": (9, 2, 0),
    "completes": (8, 2, 4),
    "settles": (3, 1, 2),
    "hears": (3, 3, 6),
    "hears_twice": (1, 1, 1),
    "asks_by_hand": (1, 1, 0),
    "produces": (2, 8, 6),
    "consumes": (3, 12, 7),
    "goes_on": (0, 0, 6),
    "duplicates": (1, 1, 6),
    "redrives": (1, 1, 0),
    "rotates_the_key": (1, 1, 0),
    "mends_the_key": (2, 3, 1),
    "waits_for_a_message": (0, 4, 0),
}
NAMES = list(WEIGHTS)
BY_DAY, BY_NIGHT, IN_BETWEEN = (list(weights) for weights in zip(*WEIGHTS.values(), strict=True))
STEPS_BY_DAY, STEPS_BY_NIGHT = 12, 30


@dataclass(frozen=True)
class Played:
    """`wrong` is empty when all is well. `nights` counts the bad ones only; `seconds` of one processor."""

    seed: int
    nights: int
    seconds: float
    wrong: list[str]
    happened: Counter[str]
    met: Counter[tuple[str, str]]
    lines: list[tuple[float, str]]


def play(seed: int, nights: int = BAD_NIGHTS, **env: str) -> Played:
    """`env` overrides settings of the functions."""
    rng, began = random.Random(seed), time.process_time()
    shape = Shape(rng.random() < 0.4, rng.randint(1, 3), env)
    with night_shop(seed, shape) as shop:
        for _ in range(nights):
            _day(shop, rng)
            _night(shop, rng)
        shop.comes_to_rest(rng)
        wrong = wrong_at_rest(shop)
        seconds = time.process_time() - began
        return Played(seed, nights, seconds, wrong, shop.happened, shop.world.invocations.met, shop.lines)


def played_all(seeds: range, workers: int = 1) -> Iterator[Played]:
    """One history a seed, in order. Their lines are left out: a seed tells them once more."""
    if workers == 1:
        yield from map(_without_lines, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_without_lines, seeds, chunksize=CHUNK)


def _without_lines(seed: int) -> Played:
    return replace(play(seed), lines=[])


def _day(shop: NightShop, rng: random.Random) -> None:
    until = night(shop.nights)
    for _ in range(STEPS_BY_DAY):
        shop.waits(min(rng.randint(1, 3 * HOUR), max(0, until - shop.now - 1)))
        _acts(shop, rng, BY_DAY)


def _night(shop: NightShop, rng: random.Random) -> None:
    shop.night_falls(rng)
    for _ in range(STEPS_BY_NIGHT):
        # Long enough for a function's timeout only where none stands still.
        longest = 5 if shop.paused else 10 * MINUTE
        shop.waits(rng.choice((0, 1, rng.randint(1, longest))))
        _acts(shop, rng, IN_BETWEEN if shop.paused else BY_NIGHT)


def _acts(shop: NightShop, rng: random.Random, weights: list[int]) -> None:
    (name,) = rng.choices(NAMES, weights)
    getattr(shop, name)(rng)


def replay_command(seed: int) -> str:
    return f"python -m tests.model --seed {seed} --trace"


def found(played: Played) -> str:
    """The first thing that is wrong, and how to see it once more."""
    return f"seed {played.seed}: {played.wrong[0]}\n  {replay_command(played.seed)}"


def story(played: Played) -> str:
    """Everything that happened, line by line, and what is wrong with it."""
    told = [f"{iso(moment)} {words}" for moment, words in played.lines]
    verdict = [f"WRONG: {sentence}" for sentence in played.wrong] or ["all is well"]
    return "\n".join([f"seed {played.seed}: {replay_command(played.seed)}", *told, *verdict])
