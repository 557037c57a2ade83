"""Digits and objects drawn by formulas: what the lessons learn from where there is no data set and no network.

Legend: n images drawn at once, S points of a stroke, h x w pixels; u, v: a pixel's place in a shape's own frame, where the shape
fills about -1 ... 1 and v points down.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
DIGIT_SIDE, OBJECT_SIDE = 28, 32  # pixels, as in MNIST and CIFAR-10
OBJECTS = ("car", "lorry", "ship", "plane", "house", "tree", "mushroom", "fish", "bird", "cup")
_AT_ONCE = 256  # images drawn together: enough for NumPy, few enough for the processor's cache


def draw_digits(labels: npt.NDArray[np.uint8], rng: Generator) -> Bytes:
    """Handwriting, as far as splines can: `(n, 28, 28)`, white on black, one for each of `labels` (0 ... 9)."""
    images = np.empty((len(labels), DIGIT_SIDE, DIGIT_SIDE), np.uint8)
    form = rng.integers(2, size=len(labels))  # most digits are written in one of two ways
    for digit, way in np.ndindex(10, 2):
        for chosen in _blocks(np.flatnonzero((labels == digit) & (form == way))):
            images[chosen] = _write(_DIGITS[digit][way % len(_DIGITS[digit])], len(chosen), rng)
    return images


def draw_objects(labels: npt.NDArray[np.uint8], rng: Generator) -> Bytes:
    """Things before a cluttered ground, in any colour, partly hidden: `(n, 32, 32, 3)`, one for each of `labels` (see OBJECTS)."""
    images = np.empty((len(labels), OBJECT_SIDE, OBJECT_SIDE, 3), np.uint8)
    for label, shape in enumerate(_SHAPES):
        for chosen in _blocks(np.flatnonzero(labels == label)):
            images[chosen] = _picture(shape, len(chosen), rng)
    return images


def _blocks(numbers: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))


# --- Digits: strokes through a few points, as a pen goes. A point is (x, y); y points down. -------------------------------------------

Stroke = list[tuple[float, float]]
_ROUND: Stroke = [(0.05, -0.95), (-0.45, -0.6), (-0.5, 0.4), (0, 0.95), (0.45, 0.5), (0.5, -0.5), (0.05, -0.95)]
_LOWER_3: Stroke = [(-0.1, -0.05), (0.4, 0.15), (0.5, 0.55), (0.05, 0.97), (-0.5, 0.75)]
_HEAD_9: Stroke = [(0.45, -0.6), (0.05, -0.95), (-0.45, -0.6), (-0.1, -0.1), (0.35, -0.25), (0.45, -0.6)]
_DIGITS: tuple[tuple[list[Stroke], ...], ...] = (
    ([_ROUND],),
    ([[(0.1, -0.95), (0.0, 0.95)]], [[(-0.35, -0.55), (0.1, -0.95)], [(0.1, -0.95), (0.1, 0.95)], [(-0.3, 0.95), (0.5, 0.95)]]),
    (
        [[(-0.5, -0.5), (-0.1, -0.95), (0.45, -0.6), (0.1, 0.2), (-0.55, 0.95)], [(-0.55, 0.95), (0.6, 0.92)]],
        [[(-0.5, -0.6), (0, -0.95), (0.45, -0.5), (0, 0.4), (-0.5, 0.85), (-0.4, 0.5), (0.1, 0.85), (0.6, 0.8)]],
    ),
    (
        [[(-0.5, -0.75), (0, -0.97), (0.42, -0.6), (0.2, -0.2), (-0.1, -0.05)], _LOWER_3],
        [[(-0.5, -0.93), (0.45, -0.93)], [(0.45, -0.93), (-0.1, -0.05)], _LOWER_3],
    ),
    (
        [[(-0.3, -0.95), (-0.55, 0.2)], [(-0.55, 0.2), (0.6, 0.15)], [(0.3, -0.5), (0.2, 0.97)]],
        [[(0.2, -0.95), (-0.6, 0.3)], [(-0.6, 0.3), (0.65, 0.3)], [(0.2, -0.95), (0.2, 0.97)]],
    ),
    (
        [[(0.5, -0.93), (-0.35, -0.93)], [(-0.35, -0.93), (-0.42, -0.1)],
         [(-0.42, -0.1), (0.1, -0.25), (0.5, 0.3), (0.1, 0.95), (-0.5, 0.8)]],
        [[(0.55, -0.9), (-0.2, -0.9)], [(-0.2, -0.9), (-0.3, -0.1), (0.3, 0.05), (0.4, 0.6), (-0.05, 0.95), (-0.5, 0.85)]],
    ),
    (
        [[(0.35, -0.95), (-0.25, -0.4), (-0.5, 0.35), (-0.15, 0.95), (0.4, 0.75), (0.4, 0.25), (0, 0.05), (-0.45, 0.4)]],
        [[(-0.05, -0.97), (-0.4, 0.1), (-0.35, 0.75), (0.05, 0.97), (0.45, 0.6), (0.2, 0.2), (-0.35, 0.45)]],
    ),
    (
        [[(-0.55, -0.9), (0.55, -0.93)], [(0.55, -0.93), (0.1, 0), (-0.15, 0.97)]],
        [[(-0.5, -0.6), (-0.5, -0.9)], [(-0.5, -0.9), (0.5, -0.9)], [(0.5, -0.9), (0, 0.97)], [(-0.25, 0), (0.45, -0.02)]],
    ),
    (
        [[(0, -0.05), (-0.42, -0.5), (0, -0.97), (0.42, -0.5), (0, -0.05), (-0.5, 0.5), (0, 0.97), (0.5, 0.5), (0, -0.05)]],
        [[(0.4, -0.75), (-0.05, -0.95), (-0.4, -0.6), (0.4, 0.4), (0.05, 0.95), (-0.4, 0.6), (0.0, 0.05), (0.4, -0.75)]],
    ),
    ([_HEAD_9, [(0.45, -0.6), (0.4, 0.97)]], [_HEAD_9, [(0.45, -0.6), (0.45, 0.3), (0.1, 0.95), (-0.4, 0.8)]]),
)  # fmt: skip


def _write(strokes: list[Stroke], count: int, rng: Generator) -> Bytes:
    """One way of writing a digit, `count` times: `(n, 28, 28)`."""
    turn, lean = rng.normal(0, 0.14, (2, count, 1))  # radians; a shift by height
    size = rng.uniform(6.5, 9.5, (count, 1, 1)) * rng.uniform([0.75, 0.9], [1.25, 1.1], (count, 1, 2))  # pixels, x and y
    place = (DIGIT_SIDE - 1) / 2 + rng.normal(0, 1.3, (count, 1, 2))
    thickness, ink = rng.uniform(0.7, 1.6, (count, 1)), rng.uniform(0.75, 1, (count, 1))
    y, x = np.mgrid[:DIGIT_SIDE, :DIGIT_SIDE].reshape(2, -1).astype(np.float32)
    nearest = np.full((count, DIGIT_SIDE**2), np.inf, np.float32)
    for stroke in strokes:
        points = np.asarray(stroke) + rng.normal(0, 0.055, (count, len(stroke), 2))
        curve = _spline(len(stroke)) @ points  # (n, S, 2)
        across, down = curve[..., 0] - (lean + turn) * curve[..., 1], curve[..., 1] + turn * curve[..., 0]
        curve = (np.stack((across, down), -1) * size + place).astype(np.float32)
        for start, end in zip(curve[:, :-1].swapaxes(0, 1), curve[:, 1:].swapaxes(0, 1), strict=True):
            np.minimum(nearest, _distance(x, y, start, end), out=nearest)  # squared
    line = np.clip(thickness + 0.5 - np.sqrt(nearest), 0, 1) * ink
    return np.rint(255 * line).astype(np.uint8).reshape(count, DIGIT_SIDE, DIGIT_SIDE)


def _spline(points: int, between: int = 4) -> npt.NDArray[np.float64]:
    """The matrix (S, points) that takes a stroke's points to points of the Catmull-Rom spline through them; of two, their line."""
    if points == 2:
        return np.eye(2)
    steps = np.arange((points - 1) * between + 1) / between
    part = np.minimum(steps.astype(int), points - 2)
    t = (steps - part)[:, None]
    weights = np.hstack((-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)) / 2
    matrix = np.zeros((len(steps), points))
    for offset, column in zip((-1, 0, 1, 2), weights.T, strict=True):
        np.add.at(matrix, (np.arange(len(steps)), np.clip(part + offset, 0, points - 1)), column)
    return matrix


def _distance(x: Floats, y: Floats, start: Floats, end: Floats) -> Floats:
    """Squared distance in pixels of each pixel to a segment of each image, `(n, h * w)`."""
    along = end - start
    dx, dy = x - start[:, :1], y - start[:, 1:]
    share = np.clip((dx * along[:, :1] + dy * along[:, 1:]) / ((along**2).sum(1, keepdims=True) + 1e-6), 0, 1)
    return np.asarray((dx - share * along[:, :1]) ** 2 + (dy - share * along[:, 1:]) ** 2, np.float32)


# --- Objects: flat shapes painted over one another. -----------------------------------------------------------------------------------


class Frame(NamedTuple):
    """Pixels in the frame of one shape, `(n, h, w)` each, how many pixels a unit is, `(n, 1, 1)`, and that shape's own random numbers."""

    u: Floats
    v: Floats
    unit: Floats
    rng: Generator

    def vary(self, low: float, high: float) -> Floats:
        """A number an image, `(n, 1, 1)`."""
        return np.asarray(self.rng.uniform(low, high, self.unit.shape), np.float32)


Part = tuple[Floats, int]  # how much a pixel is covered, 0 ... 1, (n, h, w); which of the image's colours
Size = float | Floats


def _ellipse(f: Frame, cu: Size, cv: Size, ru: Size, rv: Size) -> Floats:
    distance = (1 - np.hypot((f.u - cu) / ru, (f.v - cv) / rv)) * np.minimum(ru, rv)
    return _soft(distance, f)


def _tapered(f: Frame, cu: Size, top: Size, bottom: Size, upper: Size, lower: Size) -> Floats:
    """From v = top to v = bottom, half as wide as `upper` there and `lower` here: boxes, triangles, hulls."""
    share = (f.v - top) / (bottom - top)
    beside = upper + (lower - upper) * share - np.abs(f.u - cu)
    return _soft(np.minimum(beside, np.minimum(f.v - top, bottom - f.v)), f)


def _soft(distance: Floats, f: Frame) -> Floats:
    """The cover of a pixel by a shape whose edge is `distance` units away, positive within."""
    return np.asarray(np.clip(distance * f.unit + 0.5, 0, 1), np.float32)


def _car(f: Frame) -> list[Part]:
    cabin, roof = f.vary(-0.2, 0.1), f.vary(-0.55, -0.35)
    body = [(_tapered(f, cabin, roof, 0.02, 0.3, f.vary(0.5, 0.7)), 0), (_tapered(f, cabin, roof + 0.1, 0.0, 0.22, 0.42), 2)]
    return [*body, (_tapered(f, 0, -0.05, 0.38, 0.95, 0.98), 0), *_wheels(f, f.vary(0.5, 0.62))]


def _lorry(f: Frame) -> list[Part]:
    cab = f.vary(-0.25, 0.0)
    load = (_tapered(f, -0.3, f.vary(-0.7, -0.45), 0.38, 0.66, 0.66), 0)
    return [load, (_tapered(f, 0.68, cab, 0.38, 0.2, 0.28), 1), (_tapered(f, 0.74, cab + 0.07, 0.1, 0.12, 0.16), 2), *_wheels(f, 0.6)]


def _wheels(f: Frame, apart: Size) -> list[Part]:
    radius = f.vary(0.17, 0.24)
    return [(_ellipse(f, side * apart, 0.42, radius, radius), 3) for side in (-1, 1)]


def _ship(f: Frame) -> list[Part]:
    mast, width = f.vary(-0.2, 0.2), f.vary(0.35, 0.6)
    sail = (_tapered(f, mast - 0.05, f.vary(-0.9, -0.7), 0.2, 0.02, width), 1)
    return [sail, (_tapered(f, mast, -0.9, 0.35, 0.05, 0.05), 3), (_tapered(f, 0, 0.3, 0.75, 0.9, f.vary(0.45, 0.65)), 0)]


def _plane(f: Frame) -> list[Part]:
    sweep = f.vary(0.1, 0.3)
    wing = _tapered(f, sweep * (f.v - 0.1), -0.75, 0.05, 0.1, 0.25), _tapered(f, -sweep * (f.v - 0.1), 0.05, 0.75, 0.25, 0.1)
    tail = (_tapered(f, -0.75, -0.4, 0.0, 0.08, 0.2), 1)
    return [(wing[0], 1), (_ellipse(f, 0, 0.03, 0.95, f.vary(0.14, 0.2)), 0), tail, (wing[1], 1), (_ellipse(f, 0.68, 0.0, 0.12, 0.07), 2)]


def _house(f: Frame) -> list[Part]:
    wide, eaves = f.vary(0.5, 0.75), f.vary(-0.2, 0.05)
    walls, roof = (_tapered(f, 0, eaves, 0.85, wide, wide), 0), (_tapered(f, 0, f.vary(-0.95, -0.7), eaves + 0.05, 0.05, wide + 0.15), 1)
    return [walls, roof, (_tapered(f, -0.25, 0.3, 0.85, 0.14, 0.14), 3), (_tapered(f, 0.25, 0.15, 0.45, 0.16, 0.16), 2)]


def _tree(f: Frame) -> list[Part]:
    trunk = (_tapered(f, 0, -0.1, 0.95, 0.08, f.vary(0.1, 0.18)), 3)
    wide, fir = f.vary(0.45, 0.7), f.vary(0, 1) < 0.5
    crown = np.where(fir, _tapered(f, 0, -0.95, 0.45, 0.03, wide), _ellipse(f, 0, -0.3, wide, 0.62))
    return [trunk, (crown, 0)]


def _mushroom(f: Frame) -> list[Part]:
    wide, brim = f.vary(0.6, 0.85), f.vary(0.0, 0.15)
    cap = np.minimum(_ellipse(f, 0, brim, wide, f.vary(0.6, 0.9)), _soft(brim - f.v, f))
    dots = [(np.minimum(cap, _ellipse(f, x, brim - y, 0.12, 0.1)), 2) for x, y in ((-0.35, 0.2), (0.0, 0.4), (0.35, 0.2))]
    return [(_tapered(f, 0, -0.1, 0.9, 0.16, f.vary(0.18, 0.3)), 1), (cap, 0), *dots]


def _fish(f: Frame) -> list[Part]:
    tail = _tapered(Frame(f.v, -f.u, f.unit, f.rng), 0, 0.45, 0.95, 0.05, f.vary(0.3, 0.5))
    fin = (_tapered(f, -0.05, f.vary(-0.65, -0.5), 0, 0.05, 0.35), 1)
    return [(tail, 1), fin, (_ellipse(f, 0.1, 0, 0.7, f.vary(0.3, 0.45)), 0), (_ellipse(f, 0.5, -0.1, 0.08, 0.08), 3)]


def _bird(f: Frame) -> list[Part]:
    turned = Frame(f.v, -f.u, f.unit, f.rng)
    beak, tail = _tapered(turned, -0.45, -0.98, -0.7, 0.01, 0.12), _tapered(turned, 0.1, 0.4, 0.95, 0.1, f.vary(0.15, 0.3))
    body = [(_ellipse(f, -0.05, 0.1, 0.6, f.vary(0.32, 0.42)), 0), (_ellipse(f, 0.5, -0.42, 0.27, 0.25), 0)]
    legs = [(_tapered(f, x, 0.4, 0.9, 0.04, 0.04), 3) for x in (-0.15, 0.15)]
    return [*legs, (tail, 1), (beak, 2), *body, (_ellipse(f, -0.15, 0.1, 0.35, 0.18), 1), (_ellipse(f, 0.55, -0.47, 0.06, 0.06), 3)]


def _cup(f: Frame) -> list[Part]:
    radius, side = f.vary(0.28, 0.38), f.vary(0.35, 0.55)
    ring = np.clip(_ellipse(f, side, 0.05, radius, radius) - _ellipse(f, side, 0.05, radius - 0.14, radius - 0.14), 0, 1)
    return [(ring, 0), (_tapered(f, -0.1, -0.6, 0.75, 0.58, f.vary(0.35, 0.55)), 0), (_ellipse(f, -0.1, -0.6, 0.58, 0.14), 1)]


_SHAPES: tuple[Callable[[Frame], list[Part]], ...] = (_car, _lorry, _ship, _plane, _house, _tree, _mushroom, _fish, _bird, _cup)


def _picture(shape: Callable[[Frame], list[Part]], count: int, rng: Generator) -> Bytes:
    """One kind of thing, `count` times: `(n, 32, 32, 3)`."""
    canvas = _ground(count, rng)
    for cover in (_litter(count, rng) for _ in range(3)):
        _paint(canvas, cover, rng.uniform(0, 1, (count, 3)))
    colours = rng.uniform(0, 1, (count, 4, 3)) * np.asarray([1, 1, 1, 0.4])[:, None]  # the last for wheels, eyes and trunks: dark
    f = _frame(count, rng, rng.uniform(9, 14, (count, 1, 1)), 3.0)
    for cover, colour in shape(f):
        _paint(canvas, cover, colours[:, colour])
    _paint(canvas, _litter(count, rng), rng.uniform(0, 1, (count, 3)))  # before it
    light = rng.uniform(0.6, 1.1, (count, 1, 1, 1))
    return np.rint(255 * np.clip(canvas * light + rng.normal(0, 0.06, canvas.shape), 0, 1)).astype(np.uint8)


def _frame(count: int, rng: Generator, unit: Any, scatter: float) -> Frame:
    y, x = np.mgrid[:OBJECT_SIDE, :OBJECT_SIDE] - (OBJECT_SIDE - 1) / 2
    angle, (dx, dy) = rng.normal(0, 0.2, (count, 1, 1)), rng.normal(0, scatter, (2, count, 1, 1))
    mirrored = rng.choice((-1.0, 1.0), (count, 1, 1))
    u = ((x - dx) * np.cos(angle) + (y - dy) * np.sin(angle)) * mirrored / unit
    v = ((y - dy) * np.cos(angle) - (x - dx) * np.sin(angle)) / unit
    return Frame(u.astype(np.float32), v.astype(np.float32), np.asarray(unit, np.float32), rng)


def _ground(count: int, rng: Generator) -> Floats:
    """Colours that change slowly over the picture: random ones at 4 x 4 places, interpolated."""
    places = rng.uniform(0, 1, (count, 1, 1, 3)) + rng.normal(0, 0.18, (count, 4, 4, 3))
    at = np.linspace(0, 3, OBJECT_SIDE)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(4)))  # (32, 4)
    return np.asarray(np.clip(np.einsum("yi,xj,nijc->nyxc", weights, weights, places, optimize=True), 0, 1), np.float32)


def _litter(count: int, rng: Generator) -> Floats:
    """A box or an ellipse somewhere: no class has it for its own."""
    f = _frame(count, rng, rng.uniform(2, 7, (count, 1, 1)), 11.0)
    long = f.vary(0.4, 1.6)
    return np.asarray(np.where(f.vary(0, 1) < 0.5, _ellipse(f, 0, 0, long, 0.8), _tapered(f, 0, -0.7, 0.7, long, f.vary(0.2, 1.2))))


def _paint(canvas: Floats, cover: Floats, colours: npt.NDArray[np.float64]) -> None:
    canvas += cover[..., None] * (colours[:, None, None].astype(np.float32) - canvas)
