"""Line plots as self-contained SVG, in light and dark colours and with a description in words."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

from ops.report.markup import Html, element

type Point = tuple[float, float]

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 78, 150, 52, 56
LINE_HEIGHT = 16  # between the names of lines that end at the same height
TONES = 5
FEW_TICKS = 5
# Colours that people with red-green colour blindness can distinguish: https://jfly.uni-koeln.de/color/
_STYLE = """
.plane{fill:#fff}.grid{stroke:#d8dee4}.frame{stroke:#8c959f}
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}
polyline{fill:none;stroke-width:2.5}.dashed{stroke-dasharray:6 5;stroke-width:1.5}
.l0{stroke:#0072b2}.l1{stroke:#d55e00}.l2{stroke:#007a5a}.l3{stroke:#a6468c}.l4{stroke:#8a6d00}
.d0{fill:#0072b2}.d1{fill:#d55e00}.d2{fill:#007a5a}.d3{fill:#a6468c}.d4{fill:#8a6d00}
.plain{stroke:#6e7781}.dplain{fill:#57606a}
@media(prefers-color-scheme:dark){
.plane{fill:#0d1117}.grid{stroke:#2b323b}.frame{stroke:#6e7681}text{fill:#e6edf3}
.l0{stroke:#56b4e9}.l1{stroke:#ff9149}.l2{stroke:#2fc99a}.l3{stroke:#e79ad0}.l4{stroke:#f0e442}
.d0{fill:#56b4e9}.d1{fill:#ff9149}.d2{fill:#2fc99a}.d3{fill:#e79ad0}.d4{fill:#f0e442}
.plain{stroke:#8b949e}.dplain{fill:#9ea7b3}}
"""


@dataclass(frozen=True)
class Series:
    """A line of a plot; a `dashed` one is for comparison only."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis, or a linear one from zero. `ticks` are round numbers by default."""

    label: str
    log: bool = False
    ticks: tuple[float, ...] = ()
    format: Callable[[float], str] = lambda value: f"{value:,.10g}"


@dataclass(frozen=True)
class Plot:
    """Series of at least one point each; values on a logarithmic axis are above zero."""

    name: str
    title: str
    x: Axis
    y: Axis
    lines: Sequence[Series]


@dataclass(frozen=True)
class _Scale:
    """Maps values to positions from `begin` to `end`."""

    log: bool
    ticks: tuple[float, ...]
    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> int:
        low, high, at = (log10(one) if self.log else one for one in (self.low, self.high, value))
        return round(self.begin + (at - low) / (high - low) * (self.end - self.begin))


def svg(plot: Plot) -> str:
    points = [point for line in plot.lines for point in line.points]
    x = _scale(plot.x, [point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = _scale(plot.y, [point[1] for point in points], HEIGHT - BOTTOM, TOP)
    title, description = f"{plot.name}-title", f"{plot.name}-desc"
    return element(
        "svg",
        element("title", plot.title, id=title),
        element("desc", describe_plot(plot), id=description),
        element("style", Html(_STYLE)),
        element("rect", width=WIDTH, height=HEIGHT, rx=6, class_="plane"),
        _text(LEFT, 28, plot.title, class_="title"),
        _x_axis(plot.x, x),
        _y_axis(plot.y, y),
        list(_lines(plot.lines, x, y)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{title} {description}",
    )


def describe_plot(plot: Plot) -> str:
    """Return every point of every series in words."""
    series = [
        f"{line.name}: " + ", ".join(f"{plot.y.format(y)} at {plot.x.format(x)}" for x, y in line.points)
        for line in plot.lines
    ]
    return f"{plot.y.label} by {plot.x.label}. " + "; ".join(series) + "."


def _scale(axis: Axis, values: Sequence[float], begin: float, end: float) -> _Scale:
    ticks = axis.ticks or tuple(_decades(values) if axis.log else _round_steps(max(values)))
    low, high = min(ticks), max(ticks)
    return _Scale(axis.log, ticks, min(low, *values), max(high, *values), begin, end)


def _decades(values: Sequence[float]) -> Iterator[float]:
    for power in range(floor(log10(min(values))), ceil(log10(max(values))) + 1):
        yield 10.0**power


def _round_steps(most: float) -> Iterator[float]:
    """Yield ticks from zero to at least `most`, in steps of one, two or five."""
    if most <= 0:
        most = 1.0
    unit = 10.0 ** floor(log10(most / FEW_TICKS))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor * FEW_TICKS >= most)
    yield from (round(step * n, 12) for n in range(ceil(most / step) + 1))


def _x_axis(axis: Axis, scale: _Scale) -> list[Html]:
    bottom = HEIGHT - BOTTOM
    ticks = [
        part
        for tick in scale.ticks
        for part in (
            element("line", x1=scale(tick), x2=scale(tick), y1=TOP, y2=bottom, class_="grid"),
            _text(scale(tick), bottom + 20, axis.format(tick), text_anchor="middle"),
        )
    ]
    label = _text((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 12, axis.label, text_anchor="middle")
    return [*ticks, label, element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="frame")]


def _y_axis(axis: Axis, scale: _Scale) -> list[Html]:
    ticks = [
        part
        for tick in scale.ticks
        for part in (
            element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=scale(tick), y2=scale(tick), class_="grid"),
            _text(LEFT - 8, scale(tick) + 4, axis.format(tick), text_anchor="end"),
        )
    ]
    return [*ticks, _text(LEFT, TOP - 8, axis.label)]


def _lines(lines: Sequence[Series], x: _Scale, y: _Scale) -> Iterator[Html]:
    tones = iter(range(TONES))
    drawn = [(line, "plain" if line.dashed else str(next(tones))) for line in lines]
    heights = _apart([y(line.points[-1][1]) for line in lines])
    for (line, tone), height in zip(drawn, heights, strict=True):
        places = [(x(point[0]), y(point[1])) for point in line.points]
        stroke, fill = (f"l{tone}", f"d{tone}") if tone != "plain" else ("plain dashed", "dplain")
        yield element("polyline", points=" ".join(f"{at},{up}" for at, up in places), class_=stroke)
        if not line.dashed:
            yield from (element("circle", cx=at, cy=up, r=4, class_=fill) for at, up in places)
        yield _text(WIDTH - RIGHT + 10, height + 4, line.name, class_=fill)


def _apart(heights: Sequence[int]) -> list[int]:
    """Return the heights in the same order, moved so that no two are closer than a line of text."""
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    placed = [heights[n] for n in order]
    for above, below in pairwise(range(len(placed))):
        placed[below] = max(placed[below], placed[above] + LINE_HEIGHT)
    # Pushed below the plot: all of them up again by so much.
    over = max(0, placed[-1] - (HEIGHT - BOTTOM))
    back = dict(zip(order, placed, strict=True))
    return [back[n] - over for n in range(len(heights))]


def _text(x: int, y: int, content: str, **attributes: str) -> Html:
    return element("text", content, x=x, y=y, **attributes)
