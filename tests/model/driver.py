"""One seed is one history: days with customers and nights with everything at once, drawn from the seed alone.

Most histories have three bad nights. One in 25 has 21 of them, in which payments may settle after weeks.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from recon.timestamps import HOUR, MINUTE, to_iso
from tests.model import own_layout
from tests.model.function_actions import night
from tests.model.model_world import ShopConfig
from tests.model.night_shop import NightShop, open_night_shop
from tests.model.verdict import check_at_rest

SHORT_NIGHTS, LONG_NIGHTS = 3, 21
LONG_EVERY = 25
OWN_LEDGER, MONTHS_PASS = 0.25, 0.2
ANY_SORT_KEY, WRONG_FILTERS = 0.25, 0.2
OWN_LAYOUT = 0.2
# Histories that a worker is given at a time.
CHUNK = 20
# Name of the action: how often by day, by night, and while an invocation is paused between two calls.
WEIGHTS: dict[str, tuple[int, int, int]] = {
    "open_sessions": (9, 2, 0),
    "complete_session": (8, 2, 4),
    "settle_payment": (3, 1, 2),
    "cancel_payment": (1, 0, 0),
    "deliver_event": (3, 3, 6),
    "repeat_event": (1, 1, 1),
    "run_manually": (1, 1, 0),
    "produce": (2, 8, 6),
    "consume": (3, 12, 7),
    "resume": (0, 0, 6),
    "duplicate_message": (1, 1, 6),
    "redrive": (1, 1, 0),
    "rotate_key": (1, 1, 0),
    "mend_key": (2, 3, 1),
    "wait_for_message": (0, 4, 0),
}
ACTIONS = list(WEIGHTS)
BY_DAY, BY_NIGHT, WHILE_PAUSED = (list(weights) for weights in zip(*WEIGHTS.values(), strict=True))
STEPS_BY_DAY, STEPS_BY_NIGHT = 12, 30


@dataclass(frozen=True)
class PlayedHistory:
    """The result of one history. `nights` counts the bad ones only; `seconds` are of one processor."""

    seed: int
    nights: int
    seconds: float
    violations: list[str]
    happened: Counter[str]
    met: Counter[tuple[str, str]]
    lines: list[tuple[float, str]]


def count_nights(seed: int) -> int:
    return LONG_NIGHTS if seed % LONG_EVERY == LONG_EVERY - 1 else SHORT_NIGHTS


def list_seeds(first: int, nights: int) -> range:
    """Return the seeds from `first` on whose histories have at least that many nights."""
    last = first
    while nights > 0:
        nights -= count_nights(last)
        last += 1
    return range(first, last)


def play(seed: int, nights: int | None = None, **env: str) -> PlayedHistory:
    """Play a history, by default with the nights of its seed; `env` overrides settings of the functions."""
    rng, began = random.Random(seed), time.process_time()
    count = nights or count_nights(seed)
    config = ShopConfig(rng.random() < 0.4, rng.randint(1, 3), _draw_layout(seed) | env)
    missed = _draw_missed_nights(rng, count)
    blind = rng.randrange(1, count) if count > 1 and rng.random() < 0.2 else None
    filtered = _draw_filtered_night(seed, count)
    with open_night_shop(seed, config) as shop:
        for number in range(count):
            _play_day(shop, rng)
            if number == blind and number not in missed:
                shop.pass_blind_night(rng)
            elif number == filtered and number not in missed:
                shop.pass_filtered_night(rng)
            else:
                _play_night(shop, rng, fires=number not in missed)
        # A missing order is looked for during 30 days only.
        months_pass = random.Random(f"months {seed}").random() < MONTHS_PASS
        if months_pass and not config.has_own_layout:
            shop.pass_months(rng)
        shop.come_to_rest(rng)
        violations = check_at_rest(shop)
        seconds = time.process_time() - began
        met = shop.world.invocations.met
        return PlayedHistory(seed, count, seconds, violations, shop.happened, met, shop.lines)


def _draw_layout(seed: int) -> dict[str, str]:
    """Return the settings of one shop in five, which has its own layout, or of another one."""
    is_own = random.Random(f"shape {seed}").random() < OWN_LAYOUT
    return own_layout.SETTINGS if is_own else _draw_ledger(seed) | _draw_sort_key(seed)


def _draw_ledger(seed: int) -> dict[str, str]:
    """Return the settings of the ledger, which one shop in four has in a separate table."""
    own = random.Random(f"ledger {seed}").random() < OWN_LEDGER
    return {"SYNC_LEDGER_TABLE": "ledger"} if own else {}


def _draw_sort_key(seed: int) -> dict[str, str]:
    """Return the setting of one shop in four, whose webhook writes sort keys that do not sort like time."""
    is_any = random.Random(f"sort key {seed}").random() < ANY_SORT_KEY
    return {"SYNC_ORDER_SORT_KEY": "any"} if is_any else {}


def _draw_filtered_night(seed: int, count: int) -> int | None:
    """Return the night on which the filter of one shop in five is wrong."""
    rng = random.Random(f"filter {seed}")
    return rng.randrange(1, count) if count > 1 and rng.random() < WRONG_FILTERS else None


def _draw_missed_nights(rng: random.Random, count: int) -> set[int]:
    """Return the nights without a schedule, in a row or scattered: they leave different holes."""
    if count < LONG_NIGHTS:
        return {number for number in range(1, count) if rng.random() < 0.1}
    start = rng.randrange(1, count - 3)
    return set(range(start, start + 3)) if rng.random() < 0.6 else set(rng.sample(range(1, count), 3))


def play_all(seeds: range, workers: int = 1) -> Iterator[PlayedHistory]:
    """Play the seeds in order and yield the histories without their lines, which a seed can repeat."""
    if workers == 1:
        yield from map(_play_without_lines, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_play_without_lines, seeds, chunksize=CHUNK)


def _play_without_lines(seed: int) -> PlayedHistory:
    return replace(play(seed), lines=[])


def _play_day(shop: NightShop, rng: random.Random) -> None:
    until = night(shop.nights)
    for _ in range(STEPS_BY_DAY):
        shop.wait(min(rng.randint(1, 3 * HOUR), max(0, until - shop.now - 1)))
        _act(shop, rng, BY_DAY)
    shop.expire_sessions()


def _play_night(shop: NightShop, rng: random.Random, *, fires: bool) -> None:
    if fires:
        shop.mistake_key()
        shop.start_night(rng)
    else:
        shop.skip_night(rng)
    for _ in range(STEPS_BY_NIGHT):
        # A wait may be longer than a function's timeout only if no invocation is paused.
        longest = 5 if shop.paused else 10 * MINUTE
        shop.wait(rng.choice((0, 1, rng.randint(1, longest))))
        _act(shop, rng, WHILE_PAUSED if shop.paused else BY_NIGHT)


def _act(shop: NightShop, rng: random.Random, weights: list[int]) -> None:
    shop.overwrite_state()
    shop.let_others_act()
    (name,) = rng.choices(ACTIONS, weights)
    getattr(shop, name)(rng)


def replay_command(seed: int) -> str:
    return f"python -m tests.model --seed {seed} --trace"


def summarize(played: PlayedHistory) -> str:
    """Return the first violation and the command that replays the history."""
    return f"seed {played.seed}: {played.violations[0]}\n  {replay_command(played.seed)}"


def tell_story(played: PlayedHistory) -> str:
    """Return everything that happened, line by line, and all violations."""
    lines = [f"{to_iso(moment)} {words}" for moment, words in played.lines]
    violations = [f"WRONG: {sentence}" for sentence in played.violations] or ["all is right"]
    return "\n".join([f"seed {played.seed}: {replay_command(played.seed)}", *lines, *violations])
