"""A plot as an SVG: positions, texts and colours."""

from itertools import pairwise
from xml.etree import ElementTree as ET

from bench import plot
from bench.plot import Axis, Plot, Series, svg

SVG = "{http://www.w3.org/2000/svg}"
LEFT, RIGHT = plot.LEFT, plot.WIDTH - plot.RIGHT
TOP, BOTTOM = plot.TOP, plot.HEIGHT - plot.BOTTOM


def make_plot(*lines, x=None, y=None):
    lines = lines or (Series("five", [(1, 10), (10, 20)]),)
    return Plot("name", "The title", x or Axis("sessions"), y or Axis("seconds"), lines)


def parse(made):
    # The input is our own, so it is trusted.
    return ET.fromstring(svg(made))  # noqa: S314


def places(made, n=0):
    """Return the pixel positions of the points of the nth line."""
    drawn = parse(made).findall(f"{SVG}polyline")[n].get("points")
    return [tuple(map(int, point.split(","))) for point in drawn.split()]


def texts(made):
    return [text.text for text in parse(made).iter(f"{SVG}text")]


def test_svg_is_deterministic():
    assert svg(make_plot()) == svg(make_plot())


def test_linear_axis_begins_at_zero():
    made = make_plot(Series("five", [(0, 0), (10, 20)]))
    assert places(made) == [(LEFT, BOTTOM), (RIGHT, TOP)]
    assert [text for text in texts(made) if text.isdigit()] == [
        *("0", "2", "4", "6", "8", "10"),
        *("0", "5", "10", "15", "20"),
    ]


def test_logarithmic_axis_spaces_decades_evenly():
    line = Series("five", [(1, 1), (10, 10), (100, 100), (1000, 1000)])
    made = make_plot(line, x=Axis("sessions", log=True), y=Axis("seconds", log=True))
    found = places(made)
    steps = [(right[0] - left[0], left[1] - right[1]) for left, right in pairwise(found)]
    assert max(abs(one - other) for a, b in pairwise(steps) for one, other in zip(a, b, strict=True)) <= 1
    assert (found[0], found[-1]) == ((LEFT, BOTTOM), (RIGHT, TOP))
    assert "1,000" in texts(made)


def test_points_beyond_the_ticks_are_inside_the_frame():
    made = make_plot(Series("five", [(1, 3), (2, 900)]), y=Axis("seconds", log=True, ticks=(10, 100)))
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in places(made))


def test_zero_values_can_be_drawn():
    assert places(make_plot(Series("none", [(0, 0), (1, 0)]))) == [(LEFT, BOTTOM), (RIGHT, BOTTOM)]


def test_labels_do_not_overlap_and_are_inside():
    made = make_plot(*(Series(f"line {n}", [(0, 1), (1, 0.001 * n)]) for n in range(5)))
    heights = sorted(
        int(text.get("y")) for text in parse(made).iter(f"{SVG}text") if text.text.startswith("line ")
    )
    assert all(below - above >= plot.LINE_HEIGHT for above, below in pairwise(heights))
    assert heights[-1] <= BOTTOM + 4


def test_comparison_line_is_dashed_and_uses_no_colour():
    made = make_plot(
        Series("if it were linear", [(0, 0), (1, 1)], dashed=True), Series("one", [(0, 0), (1, 2)])
    )
    drawn = [line.get("class") for line in parse(made).findall(f"{SVG}polyline")]
    assert drawn == ["plain dashed", "l0"]


def test_description_has_the_title_and_every_point():
    made = make_plot(
        Series("five", [(1000, 12.5), (2000, 25)]), y=Axis("time", format=lambda seconds: f"{seconds:g} s")
    )
    drawing = parse(made)
    assert drawing.get("role") == "img"
    title, description = (drawing.find(f"{SVG}{part}") for part in ("title", "desc"))
    assert drawing.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "The title"
    assert description.text == "time by sessions. five: 12.5 s at 1,000, 25 s at 2,000."


def test_text_is_escaped():
    made = make_plot(Series("a < b & c", [(0, 0), (1, 1)]))
    assert "a < b & c" in texts(made)


def test_style_has_light_and_dark_colours():
    style = parse(make_plot()).find(f"{SVG}style").text
    light, dark = style.split("@media(prefers-color-scheme:dark)")
    tones = [f".{kind}{tone}{{" for kind in "ld" for tone in range(plot.TONES)]
    assert all(tone in light and tone in dark for tone in [*tones, ".plane{", ".grid{", "text{"])
