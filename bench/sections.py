"""The sections of bench/RESULTS.md: the module that measures each, and its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class SectionResult:
    """A section's markdown, and a sentence for each demand that it missed."""

    markdown: str
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section whose `module` has a function `measure`. If `on_demand`, it runs only when named."""

    module: str
    on_demand: bool = False

    def measure(self) -> SectionResult:
        measure: Callable[[], SectionResult] = import_module(self.module).measure
        return measure()


SECTIONS: Mapping[str, Section] = {
    "requests": Section("bench.requests"),
    "nightly": Section("bench.throughput"),
    "backfill": Section("bench.backfill"),
    "polite": Section("bench.rate_limit_coexistence"),
    "million": Section("bench.million"),
    "ledger": Section("bench.ledger"),
    "cold": Section("bench.cold_start"),
    "memory": Section("bench.memory"),
}
