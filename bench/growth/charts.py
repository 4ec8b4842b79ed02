"""The plots of docs/scaling.md: time, requests, cost and conflicts, by consumers and by sessions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.growth.grid import CONSUMERS, SIZES, Grid, Grown, by_consumers, by_sessions
from bench.page import number
from bench.plot import Axis, Plot, Series, svg

DOCS = Path(__file__).resolve().parents[2] / "docs"
_MINUTE, _HOUR = 60, 3600


def duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    return f"{seconds / _MINUTE:.3g} min" if seconds < _HOUR else f"{seconds / _HOUR:.3g} h"


@dataclass(frozen=True)
class Figure:
    """One quantity to plot. If `linear`, twice the sessions or half the consumers should double it."""

    name: str
    title: str
    axis: Axis
    of: Callable[[Grown], float]
    linear: bool = False


FIGURES = (
    Figure(
        "time",
        "How long a night takes",
        Axis("time", log=True, ticks=(10, _MINUTE, 600, _HOUR, 6 * _HOUR), format=duration),
        lambda night: night.tally.seconds,
        linear=True,
    ),
    Figure(
        "requests",
        "Requests to Stripe, DynamoDB and SQS",
        Axis("for 1,000 sessions"),
        lambda night: round(1000 * night.tally.requests / night.sessions, 1),
    ),
    Figure(
        "cost",
        "What a night costs",
        Axis("US dollars for 1,000 sessions", format=lambda dollars: f"${dollars:.3g}"),
        lambda night: 1000 * night.cost / night.sessions,
    ),
    Figure(
        "conflicts",
        "Transactions that met at the counters",
        Axis("for each 100 commits"),
        lambda night: round(100 * night.conflicts, 1),
    ),
)
OVER_CONSUMERS = Axis("consumers at a time", log=True, ticks=CONSUMERS)
OVER_SESSIONS = Axis("sessions", log=True)


def draw_plots(grid: Grid) -> Iterator[tuple[Path, str]]:
    """Yield each file and its content."""
    for figure in FIGURES:
        for plot in (over_consumers(figure, grid), over_sessions(figure, grid)):
            yield DOCS / f"{plot.name}.svg", svg(plot) + "\n"


def over_consumers(figure: Figure, grid: Grid) -> Plot:
    lines = [
        Series(
            f"{number(sessions)} sessions",
            [(night.consumers, figure.of(night)) for night in by_consumers(grid, sessions)],
        )
        for sessions in SIZES
    ]
    if figure.linear:
        first = figure.of(grid[SIZES[-1], 1])
        lines.append(Series("if it were linear", [(n, first / n) for n in CONSUMERS], dashed=True))
    return _plot(figure, "consumers", OVER_CONSUMERS, lines)


def over_sessions(figure: Figure, grid: Grid) -> Plot:
    lines = [
        Series(
            f"{consumers} consumer{'s' * (consumers > 1)}",
            [(night.sessions, figure.of(night)) for night in by_sessions(grid, consumers)],
        )
        for consumers in CONSUMERS
    ]
    if figure.linear:
        last = grid[SIZES[-1], CONSUMERS[0]]
        lines.append(
            Series("if it were linear", [(n, figure.of(last) * n / SIZES[-1]) for n in SIZES], dashed=True)
        )
    return _plot(figure, "sessions", OVER_SESSIONS, lines)


def _plot(figure: Figure, over: str, x: Axis, lines: list[Series]) -> Plot:
    return Plot(f"growth-{figure.name}-by-{over}", f"{figure.title}, by {over}", x, figure.axis, lines)
