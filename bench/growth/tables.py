"""The tables of docs/scaling.md about growth."""

from collections.abc import Iterable

from bench.growth.charts import duration
from bench.growth.grid import SIZES, Grid, Grown, by_consumers
from bench.growth.site import CORE_SHARE, CPU_OF_A_BATCH, Site
from bench.page import number, table


def grid_table(grid: Grid) -> str:
    """Return the duration of each night and, for the largest size, its limits."""
    rows = [
        (
            str(night.consumers),
            *(duration(grid[sessions, night.consumers].tally.seconds) for sessions in SIZES),
            *_speed(night),
        )
        for night in by_consumers(grid, SIZES[-1])
    ]
    largest = (f"{number(SIZES[-1])}: {what}" for what in SPEED)
    return table(("consumers", *(f"{number(size)} sessions" for size in SIZES), *largest), rows)


def next_table(nights: Iterable[Grown]) -> str:
    rows = [(str(night.consumers), *_speed(night), str(night.tally.came_back)) for night in nights]
    return table(("consumers", *SPEED, "sessions that came back"), rows)


SPEED = ("sessions a second", "conflicts for 100 commits", "throttled for 100 commits", "waits for")


def _speed(night: Grown) -> tuple[str, ...]:
    commits = night.tally.commits
    return (
        number(night.rate),
        number(100 * night.conflicts),
        number(100 * night.tally.throttled / commits),
        night.binds,
    )


def assumptions_table() -> str:
    """Return the model's assumptions, from the values that it uses."""
    site = Site()
    rows = [
        ("answers of Stripe", _ms(site.seconds["stripe"])),
        ("a Query", _ms(site.seconds["query"])),
        ("a transaction", _ms(site.seconds["transact_write_items"])),
        ("of that, how long it keeps others from the counters", _ms(site.hold)),
        ("a receive or a delete of SQS", _ms(site.poll)),
        ("each of these by chance shorter or longer, by up to", f"{site.spread:.0%}"),
        (
            "what a consumer computes a batch",
            f"{_ms(site.computing)}: {_ms(CPU_OF_A_BATCH)} of a core, of which 256 MB have {CORE_SHARE:.0%}",
        ),
        ("a new function, before its first batch", f"{site.cold_start:g} s"),
        ("units a second of the run's partition", number(site.partition_units)),
        ("requests to Stripe a second, of all together", f"{site.stripe_rps:g}"),
    ]
    return table(("assumed", ""), rows)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
