"""Charts as inline SVG: no script, no file, colours and font of the page around them, readable in light and dark.

Every chart is `WIDTH` units wide and scales with its column. Bars say their values to a pointer that rests on them.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

Floats = npt.NDArray[np.floating]

WIDTH = 360
_HEIGHT = 130  # of a plot without its axis
_LEFT, _RIGHT, _BOTTOM = 44, 8, 20  # room for the numbers of the axes
_ROW, _LETTER = 20, 6.6  # a row of bars; the width of a letter of its label and its value
_TITLE = 14


def bars(values: Mapping[str, float], texts: Sequence[str] = (), full: float = 0.0) -> Markup:
    """Horizontal bars, one a label; `texts` stand at their ends (else the numbers), `full` is a whole bar's value (0: the largest)."""
    if not values:
        return _nothing()
    longest = full or max(values.values()) or 1.0
    texts = texts or [f"{value:,.0f}" for value in values.values()]
    left = 12 + _LETTER * max(map(len, values))
    room = WIDTH - left - 8 - _LETTER * max(map(len, texts))
    parts = []
    for row, (label, value, text) in enumerate(zip(values, values.values(), texts, strict=True)):
        y, length = row * _ROW, value / longest * room
        parts.append(
            Markup(
                '<text x="{:.1f}" y="{}" text-anchor="end">{}</text><rect class="series" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
                '<text x="{:.1f}" y="{}">{}</text>'
            ).format(left - 6, y + 14, label, left, y + 4, length, _ROW - 7, left + length + 5, y + 14, text)
        )
    return _svg(len(values) * _ROW, parts, f"bars: {', '.join(values)}")


def histogram(values: Floats, edges: Floats, beside: Floats | None = None) -> Markup:
    """How many of `values` fall between each two `edges`, as columns; `beside`, a second set, as an outline.

    Values beyond the edges count in the outermost columns; NaN does not count.
    """
    counts = _counts(values, edges)
    others = None if beside is None else _counts(beside, edges)
    highest = max(int(counts.max(initial=0)), 0 if others is None else int(others.max(initial=0)))
    if highest == 0:
        return _nothing()
    across = _Scale(float(edges[0]), float(edges[-1]), _LEFT, WIDTH - _RIGHT)
    up = _Scale(0, highest, _HEIGHT, _TITLE)
    parts = [_axes(across, up, across_ticks=nice_ticks(across.low, across.high), up_ticks=[highest])]
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        if count:
            x, y = across(low), up(count)
            parts.append(
                Markup('<rect class="series" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>').format(
                    x, y, max(across(high) - x - 1, 0.5), _HEIGHT - y, f"{low:g} to {high:g}: {count:,}"
                )
            )
    if others is not None:
        steps = [(across(edge), up(count)) for pair, count in zip(pairwise(edges), others, strict=True) for edge in pair]
        parts.append(Markup('<polyline class="beside" points="{}"/>').format(_points(steps)))
    return _svg(_HEIGHT + _BOTTOM, parts, "histogram")


def curve(steps: Sequence[float], values: Sequence[float]) -> Markup:
    """A number over the steps, from step 0 at the left edge; its lowest and highest value stand at the axis."""
    finite = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if not finite:
        return _nothing()
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    across = _Scale(0, max(steps[-1], 1), _LEFT, WIDTH - _RIGHT)
    up = _Scale(low, high, _HEIGHT, _TITLE)
    line = Markup('<polyline class="line" points="{}"/>').format(_points([(across(step), up(value)) for step, value in finite]))
    axes = _axes(across, up, across_ticks=[steps[-1]], up_ticks=sorted({low, high}))
    return _svg(_HEIGHT + _BOTTOM, [axes, line], "curve")


def scatter(x: Floats, y: Floats) -> Markup:
    """A point a pair of numbers on two equal axes, with the diagonal; pairs with NaN or infinity are left out."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x):
        return _nothing()
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    side = WIDTH - _LEFT - _RIGHT
    across, up = _Scale(low, high, _LEFT, WIDTH - _RIGHT), _Scale(low, high, side, _TITLE)
    # One path of dots of no length, equal places once: 12,000 pairs would make a megabyte of circles.
    places = dict.fromkeys((round(across(a)), round(up(b))) for a, b in zip(x, y, strict=True))
    dots = Markup('<path class="dots" d="{}"/>').format("".join(f"M{a},{b}h0" for a, b in places))
    diagonal = Markup('<polyline class="beside" points="{}"/>').format(_points([(across(low), up(low)), (across(high), up(high))]))
    ticks = nice_ticks(low, high)
    return _svg(side + _BOTTOM, [_axes(across, up, across_ticks=ticks, up_ticks=ticks, floor=side), diagonal, dots], "scatter")


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers, multiples of 1, 2 or 5 times a power of ten, within `low` .. `high`."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= most - 1)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


class _Scale:
    """A number's place: `low` at `start`, `high` at `end`, evenly between."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self._start + share * (self._end - self._start)


def _counts(values: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    present = values[~np.isnan(values)]
    return np.histogram(present.clip(edges[0], edges[-1]), edges)[0].astype(np.int64)


def _axes(across: _Scale, up: _Scale, across_ticks: Sequence[float], up_ticks: Sequence[float], floor: float = _HEIGHT) -> Markup:
    right = WIDTH - _RIGHT
    parts = [Markup('<path class="axis" d="M{},{}V{}H{}"/>').format(_LEFT, _TITLE - 6, floor, right)]
    for tick in across_ticks:
        anchor = "end" if across(tick) > right - 12 else "middle"
        text = Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>')
        parts.append(text.format(min(across(tick), right), floor + 14, anchor, _number(tick)))
    parts += [
        Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(_LEFT - 5, up(tick) + 4, _number(tick))
        for tick in up_ticks
    ]
    return Markup("").join(parts)


def _number(value: float) -> str:
    """Four digits that count; whole numbers whole."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _svg(height: float, parts: Sequence[Markup], label: str) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">').format(WIDTH, height, label)
    return head + Markup("").join(parts) + Markup("</svg>")


def _nothing() -> Markup:
    return Markup('<p class="nothing">{}</p>').format(escape("There is nothing to count."))
