"""Bar charts as inline SVG: one bar per day, and all charts for the same days.

The SVG is stretched to the available width, so it contains only shapes; its texts are HTML around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.report.markup import Html, element, join

_SLOT = 10
_GAP = 2
_HEIGHT = 100
# A small value must be visible and differ from the mark of a day with the value zero.
_LOWEST_BAR = 6
_ZERO_MARK = 2


@dataclass(frozen=True)
class Bar:
    """One day: `label` is the date, `text` the formatted value; the value is None if it is not known.

    `has_trouble` marks a day on which a run did not succeed.
    """

    label: str
    value: int | None
    text: str
    has_trouble: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart. `name` is used for ids, `figure` is the total, `tone` a class of the style sheet."""

    name: str
    title: str
    figure: str
    bars: Sequence[Bar]
    tone: str = "good"

    @property
    def has_value(self) -> bool:
        """Return True if there is something to draw."""
        return any(bar.value for bar in self.bars)


def render_chart(chart: Chart) -> Html:
    """Return a figure with title, total, drawing and axis."""
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
        element("p", _describe_highest(chart.bars), class_="note"),
        _draw(chart),
        element("div", *axis, class_="axis", aria_hidden="true"),
        class_=f"chart {chart.tone}",
    )


def _draw(chart: Chart) -> Html:
    top = max((bar.value or 0 for bar in chart.bars), default=0)
    title, description = f"{chart.name}-title", f"{chart.name}-desc"
    width = _SLOT * len(chart.bars)
    return element(
        "svg",
        element("title", f"{chart.title}: {chart.figure}", id=title),
        element("desc", _describe(chart.bars), id=description),
        [_draw_slot(bar, _SLOT * n, top) for n, bar in enumerate(chart.bars)],
        element("line", x1=0, x2=width, y1=_HEIGHT, y2=_HEIGHT, class_="base"),
        role="img",
        aria_labelledby=title,
        aria_describedby=description,
        viewBox=f"0 0 {width} {_HEIGHT}",
        preserveAspectRatio="none",
        # A few bars must not become very wide.
        style=f"max-width:{len(chart.bars) * 3}rem",
    )


def _draw_slot(bar: Bar, x: int, top: int) -> Html:
    """Return a bar in a slot of full height, which shows the value when pointed at."""
    title = element("title", f"{bar.label}: {bar.text}")
    space = element("rect", x=x, y=0, width=_SLOT, height=_HEIGHT, class_="slot")
    trouble = (
        element("rect", x=x, y=0, width=_SLOT, height=_HEIGHT, class_="trouble") if bar.has_trouble else ""
    )
    return element("g", title, space, trouble, _draw_bar(bar, x, top))


def _draw_bar(bar: Bar, x: int, top: int) -> Html:
    if bar.value is None:
        return join(())
    # Whole numbers are enough for a drawing.
    height = max(bar.value * _HEIGHT // top, _LOWEST_BAR) if bar.value > 0 else _ZERO_MARK
    return element(
        "rect",
        x=x + _GAP // 2,
        y=_HEIGHT - height,
        width=_SLOT - _GAP,
        height=height,
        class_="bar" if bar.value > 0 else "none",
    )


def _describe_highest(bars: Sequence[Bar]) -> str:
    known = [bar for bar in bars if bar.value]
    if not known:
        return "None on any day"
    highest = max(known, key=lambda bar: bar.value or 0)
    return f"Most: {highest.text} on {highest.label}"


def _describe(bars: Sequence[Bar]) -> str:
    positive = sum(bar.value is not None and bar.value > 0 for bar in bars)
    unknown = sum(bar.value is None for bar in bars)
    return (
        f"One bar for each day from {bars[0].label} to {bars[-1].label}. {_describe_highest(bars)}. "
        f"Days with a value: {positive}; with zero: {len(bars) - positive - unknown}; "
        f"without a run: {unknown}; on which a run did not succeed: {sum(bar.has_trouble for bar in bars)}. "
        "The table Day by day lists every number."
    )
