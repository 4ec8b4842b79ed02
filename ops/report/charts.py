"""Bars, as inline SVG: one for each day, all charts over the same days.

The SVG is stretched to the width there is, so it holds shapes only; all its words are HTML around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.report.markup import Html, element, joined

_SLOT = 10
_GAP = 2
_HEIGHT = 100
# What is not nothing is seen, and differs from the mark of a day on which there was nothing.
_LOWEST_BAR = 6
_NOTHING = 2


@dataclass(frozen=True)
class Bar:
    """`label` is the day, `text` the value in words; None is a day of which nothing is known."""

    label: str
    value: int | None
    text: str


@dataclass(frozen=True)
class Chart:
    """`name` makes its ids; `figure` is the one number of it all; `tone` is a class of the style sheet."""

    name: str
    title: str
    figure: str
    bars: Sequence[Bar]
    tone: str = "good"


def chart(chart: Chart) -> Html:
    first, last = chart.bars[0], chart.bars[-1]
    caption = element(
        "figcaption",
        element("span", chart.title, class_="chart-title"),
        element("span", chart.figure, class_="chart-figure"),
    )
    axis = [element("span", first.label), element("span", last.label)] if last != first else [first.label]
    return element(
        "figure",
        caption,
        element("p", _highest(chart.bars), class_="note"),
        _drawing(chart),
        element("div", *axis, class_="axis", aria_hidden="true"),
        class_=f"chart {chart.tone}",
    )


def _drawing(chart: Chart) -> Html:
    top = max((bar.value or 0 for bar in chart.bars), default=0)
    title, description = f"{chart.name}-title", f"{chart.name}-desc"
    width = _SLOT * len(chart.bars)
    return element(
        "svg",
        element("title", f"{chart.title}: {chart.figure}", id=title),
        element("desc", _description(chart.bars), id=description),
        [_slot(bar, _SLOT * n, top) for n, bar in enumerate(chart.bars)],
        element("line", x1=0, x2=width, y1=_HEIGHT, y2=_HEIGHT, class_="base"),
        role="img",
        aria_labelledby=title,
        aria_describedby=description,
        viewBox=f"0 0 {width} {_HEIGHT}",
        preserveAspectRatio="none",
        # A few days are not drawn as a few walls.
        style=f"max-width:{len(chart.bars) * 3}rem",
    )


def _slot(bar: Bar, x: int, top: int) -> Html:
    """The whole height says the value to whoever points at it."""
    said = element("title", f"{bar.label}: {bar.text}")
    space = element("rect", x=x, y=0, width=_SLOT, height=_HEIGHT, class_="slot")
    return element("g", said, space, _mark(bar, x, top))


def _mark(bar: Bar, x: int, top: int) -> Html:
    if bar.value is None:
        return joined(())
    # Whole numbers: a height is a picture of an amount, and never becomes one again.
    height = max(bar.value * _HEIGHT // top, _LOWEST_BAR) if bar.value > 0 else _NOTHING
    return element(
        "rect",
        x=x + _GAP // 2,
        y=_HEIGHT - height,
        width=_SLOT - _GAP,
        height=height,
        class_="bar" if bar.value > 0 else "none",
    )


def _highest(bars: Sequence[Bar]) -> str:
    known = [bar for bar in bars if bar.value]
    if not known:
        return "None on any day"
    highest = max(known, key=lambda bar: bar.value or 0)
    return f"Most: {highest.text} on {highest.label}"


def _description(bars: Sequence[Bar]) -> str:
    marked = sum(bar.value is not None and bar.value > 0 for bar in bars)
    unknown = sum(bar.value is None for bar in bars)
    return (
        f"One bar for each day from {bars[0].label} to {bars[-1].label}. {_highest(bars)}. "
        f"Days with any: {marked}; with none: {len(bars) - marked - unknown}; without a run: {unknown}. "
        "The table Day by day has every number."
    )
