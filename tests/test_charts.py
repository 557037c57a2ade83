"""Charts are well-formed SVG whose shapes are as large as their numbers."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from markupsafe import Markup

from pipeline.pages.charts import WIDTH, bars, curve, histogram, nice_ticks, scatter


def shapes(svg: Markup, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(tag))


def places(svg: Markup, name: str) -> list[tuple[float, float]]:
    (line,) = (shape for shape in shapes(svg, "polyline") if shape.get("class") == name)
    return [(float(x), float(y)) for x, y in (point.split(",") for point in line.attrib["points"].split())]


def test_bars_are_as_long_as_their_values_and_stay_inside() -> None:
    svg = bars({"one": 1, "a much longer label": 4, "nothing": 0}, ["1 (100,000)", "4", "0"])
    one, four, nothing = (float(rect.attrib["width"]) for rect in shapes(svg, "rect"))
    assert one == pytest.approx(four / 4, abs=0.1)
    assert nothing == 0
    for rect, text in zip(shapes(svg, "rect"), (text for text in shapes(svg, "text") if text.get("text-anchor") is None), strict=True):
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) < float(text.attrib["x"]) < WIDTH - 6 * len(text.text or "")


def test_bars_of_shares_leave_room_up_to_the_whole() -> None:
    (half,) = (float(rect.attrib["width"]) for rect in shapes(bars({"a": 0.5}, ["50%"], 1), "rect"))
    (whole,) = (float(rect.attrib["width"]) for rect in shapes(bars({"a": 1.0}, ["50%"], 1), "rect"))
    assert half == pytest.approx(whole / 2, abs=0.1)


def test_a_histogram_counts_every_number_once_and_no_missing_one() -> None:
    values = np.array([-5, 0.1, 0.6, 0.7, 99, np.nan])
    columns = shapes(histogram(values, np.array([0, 0.5, 1.0])), "rect")
    assert [column[0].text for column in columns] == ["0 to 0.5: 2", "0.5 to 1: 3"]
    first, second = (float(column.attrib["height"]) for column in columns)
    assert first == pytest.approx(second * 2 / 3, abs=0.1)


def test_the_outline_beside_has_the_same_axes() -> None:
    svg = histogram(np.array([0.2]), np.array([0, 0.5, 1]), np.array([0.2, 0.7, 0.7]))
    (column,) = shapes(svg, "rect")
    low, _, high, _ = places(svg, "beside")
    assert low[0] == float(column.attrib["x"])
    assert low[1] == pytest.approx(float(column.attrib["y"]))
    assert high[1] < low[1]


def test_a_curve_begins_at_step_zero_and_spans_its_values() -> None:
    svg = curve([5, 10], [2.0, 4.0])
    (early, low), (late, high) = places(svg, "line")
    left = 44
    assert early - left == pytest.approx((late - left) / 2)
    assert low > high
    assert {text.text for text in shapes(svg, "text")} == {"10", "2", "4"}
    assert "nan" not in curve([1, 2, 3], [3.0, float("nan"), 3.0])


def test_points_of_a_scatter_on_the_diagonal_lie_on_it() -> None:
    svg = scatter(np.array([0.0, 1, 0.5, np.nan]), np.array([0.0, 1, 0.5, 1]))
    (start_x, start_y), (end_x, end_y) = places(svg, "beside")
    dots = next(path.attrib["d"] for path in shapes(svg, "path") if path.get("class") == "dots")
    points = [tuple(map(float, dot.removesuffix("h0").split(","))) for dot in dots.split("M")[1:]]
    assert len(points) == 3
    for x, y in points:
        assert (x - start_x) / (end_x - start_x) == pytest.approx((y - start_y) / (end_y - start_y), abs=0.01)


def test_equal_points_are_drawn_once() -> None:
    assert len(scatter(np.zeros(10_000), np.zeros(10_000))) < 2000


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.037), (-3, 12), (17, 22_262), (0.2, 0.9)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert low <= ticks[0] + 1e-9 and ticks[-1] - 1e-9 <= high
    assert all(len(f"{tick:.6g}".strip("-0.").replace(".", "")) <= 6 for tick in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_nothing_is_said_to_be_nothing() -> None:
    empty = np.array([])
    for chart in (bars({}), histogram(empty, np.array([0, 1.0])), curve([], []), scatter(empty, empty)):
        assert "nothing to count" in chart
        assert "<svg" not in chart


def test_labels_are_escaped() -> None:
    assert "<b>" not in bars({"<b>": 1})
