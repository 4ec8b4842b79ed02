"""The sections of bench/RESULTS.md: who measures each, and what a measurement answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Measured:
    """What a section found: its markdown, and the demands that it missed, each in a sentence."""

    markdown: str
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """`module` has `measured()`. One that is `on_demand` takes long, and runs only when it is named."""

    module: str
    on_demand: bool = False

    def measure(self) -> Measured:
        measured: Callable[[], Measured] = import_module(self.module).measured
        return measured()


SECTIONS: Mapping[str, Section] = {
    "requests": Section("bench.requests"),
    "growth": Section("bench.growth"),
    "nightly": Section("bench.throughput"),
    "backfill": Section("bench.backfill"),
    "polite": Section("bench.rate_limit_coexistence"),
    "cold": Section("bench.cold"),
    "memory": Section("bench.memory"),
}
