"""Painting a clothed body: every part is a tapered round shape with a texture wrapped around it.

Parts are painted from the farthest to the nearest onto a canvas of twice the image's size, and a
second buffer remembers which part owns each pixel; that is how a joint's visibility is exact.
Legend: canvas (2H, 2W, 3) float32 RGB 0 .. 255; owners (2H, 2W) uint8 part numbers, 0 = background.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.drawing.wardrobe import COLUMNS, Outfit, Texture
from pipeline.drawing.wardrobe import FRONT as FRONT_COLUMN
from posegan.people.body import HEAD_RADIUS, Body, Build, Floats, Posture, faces_camera, joint_points, pose_body, view
from posegan.skeleton import JOINT_COUNT, JOINTS

TORSO, HEAD, NECK, HAIR, SKIRT, BACKPACK, NOSE = 1, 2, 3, 4, 5, 6, 7
HANDBAG, SHOE, THIGH, SHIN, UPPER_ARM, FOREARM, HAND = 8, 10, 12, 14, 16, 18, 20  # + 0 right, + 1 left
PERSON = 32  # owners of the picture's n-th person are shifted by n times this
FOREGROUND = 255

# asin of -1 .. 1 in 256 steps, in texture columns: where on the turned part a pixel's ray lands.
_ASIN_COLUMNS = np.array([math.asin(max(-1.0, min(1.0, (i - 127.5) / 127.5))) * COLUMNS / (2 * math.pi) for i in range(256)])


_STEPS = np.linspace(0, 1, 33)  # where along a part its half widths are tabulated


class Part(NamedTuple):
    """One painted shape: an axis on the canvas, half widths along it, and what wraps around it."""

    owner: int
    start: tuple[float, float]
    end: tuple[float, float]
    depth: float
    radii: npt.NDArray[np.float32]
    flatness: float  # 1: round caps; more: flatter ones
    texture: Texture
    turn: float  # texture columns by which the part is turned


class Figure(NamedTuple):
    """A posed person placed on a canvas: what to paint, and where the joints are in image pixels."""

    person: int
    parts: list[Part]
    joints: npt.NDArray[np.float64]  # (18, 2) x, y in pixels of the image, centre of the first pixel at 0
    facing: npt.NDArray[np.bool_]  # (18,) False: a face joint on the far side of the head


# A point of the person's frame as the camera sees it: x and y in pixels, and how near it is.
_Seen = Callable[[Floats], tuple[float, float, float]]


class _MakePart(Protocol):
    def __call__(
        self, owner: int, start: Floats, end: Floats, widths: tuple[float, ...], texture: Texture,
        bias: float = 0.0, squash: float = 1.0, flatness: float = 1.0,
    ) -> Part: ...  # fmt: skip


class Placement(NamedTuple):
    """Where the person stands in the image: scale is pixels a stature; x, y is the ground point."""

    scale: float
    x: float
    y: float
    pitch: float


# The owners that a joint may be seen on; any other owner at its pixel hides it.
_SEEN_ON: dict[str, set[int]] = {
    "nose": {HEAD, NOSE}, "neck": {TORSO, NECK, HEAD, HAIR}, "right_eye": {HEAD, NOSE}, "left_eye": {HEAD, NOSE},
    "right_ear": {HEAD, HAIR}, "left_ear": {HEAD, HAIR},
}  # fmt: skip
for _i, _side in enumerate(("right", "left")):
    _SEEN_ON[f"{_side}_shoulder"] = {TORSO, UPPER_ARM + _i, NECK}
    _SEEN_ON[f"{_side}_elbow"] = {UPPER_ARM + _i, FOREARM + _i}
    _SEEN_ON[f"{_side}_wrist"] = {FOREARM + _i, HAND + _i}
    _SEEN_ON[f"{_side}_hip"] = {TORSO, THIGH + _i, SKIRT}
    _SEEN_ON[f"{_side}_knee"] = {THIGH + _i, SHIN + _i}
    _SEEN_ON[f"{_side}_ankle"] = {SHIN + _i, SHOE + _i}


def place_figure(build: Build, posture: Posture, outfit: Outfit, at: Placement, person: int = 0) -> Figure:
    """Pose the body, look at it from the camera, and list its parts, owned by this `person` of the picture."""
    body = pose_body(build, posture)
    scale = at.scale * build.stature

    def seen(point: Floats) -> tuple[float, float, float]:
        right, up, near = view(point, posture.yaw, at.pitch)
        # Multiples of 1/64 px: the last bits of sin and cos, which differ between machines, never reach a pixel.
        return round((at.x + scale * right) * 64) / 64, round((at.y - scale * up) * 64) / 64, round(near * 4096) / 4096

    parts = [part._replace(owner=part.owner + PERSON * person) for part in _parts(body, build, posture, outfit, seen, scale)]
    parts.sort(key=lambda part: part.depth)
    points = [seen(point) for point in joint_points(body)]
    head_depth = seen(body.head)[2]
    facing = faces_camera(np.array([point[2] - head_depth for point in points]))
    return Figure(person, parts, np.array([point[:2] for point in points]), facing)


def paint_figure(canvas: npt.NDArray[np.float32], owners: npt.NDArray[np.uint8], figure: Figure) -> None:
    """Paint all parts, the nearest last."""
    for part in figure.parts:
        paint_part(canvas, owners, part)


def joint_visibility(figure: Figure, owners: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """`(18,)`: 2 = seen, 1 = hidden by the body or by something, 0 = outside the image or on the far side of the head."""
    height, width = owners.shape
    result = np.zeros(JOINT_COUNT, np.int8)
    for joint, (x, y) in enumerate(figure.joints):
        column, row = math.floor(2 * x + 1), math.floor(2 * y + 1)  # the image's pixel centres lie between two of the canvas
        if not (0 <= column < width and 0 <= row < height) or not figure.facing[joint]:
            continue
        # A joint sits on its part's edge as often as inside it: one pixel of tolerance.
        around = owners[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].astype(np.intp) - PERSON * figure.person
        result[joint] = 1 if _SEEN_ON[JOINTS[joint]].isdisjoint(around.ravel().tolist()) else 2
    return result


def extent(figure: Figure, owners: npt.NDArray[np.uint8]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of what is seen of the person, as edges in image pixels; None when nothing is."""
    mine = (owners > PERSON * figure.person) & (owners < PERSON * (figure.person + 1))
    rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
    if not len(rows):
        return None
    return float(columns[0]) / 2, float(rows[0]) / 2, float(columns[-1] + 1) / 2, float(rows[-1] + 1) / 2


def paint_part(canvas: npt.NDArray[np.float32], owners: npt.NDArray[np.uint8], part: Part) -> None:
    """Paint one part with anti-aliased edges; what lies outside the canvas is cut."""
    height, width = owners.shape
    (ax, ay), (bx, by) = part.start, part.end
    reach = float(part.radii.max()) + 1
    left, right = max(0, math.floor(min(ax, bx) - reach)), min(width, math.ceil(max(ax, bx) + reach) + 1)
    top, bottom = max(0, math.floor(min(ay, by) - reach)), min(height, math.ceil(max(ay, by) + reach) + 1)
    if left >= right or top >= bottom:
        return
    length = max(math.hypot(bx - ax, by - ay), 1e-3)
    ex, ey = np.float32((bx - ax) / length), np.float32((by - ay) / length)
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(ax)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(ay)
    along, across = x * ex + y * ey, x * ey - y * ex
    inside = np.clip(along, 0, np.float32(length))
    steps = len(part.radii) - 1
    radius = part.radii[(inside * np.float32(steps / length)).astype(np.intp)]
    beyond = (along - inside) * np.float32(part.flatness)
    coverage = np.clip(radius - np.sqrt(across * across + beyond * beyond) + np.float32(0.5), 0, 1)

    side = np.clip(across / radius, -1, 1)
    columns = np.round(_ASIN_COLUMNS + part.turn).astype(np.intp) % COLUMNS
    column = columns[((side + 1) * np.float32(127.5)).astype(np.intp)]
    row = (inside * np.float32((len(part.texture) - 0.01) / length)).astype(np.intp)
    shade = 1 - np.float32(0.28) * side * side - np.float32(0.1) * side  # light from the upper left
    color = part.texture[row, column] * shade[..., None]

    region = canvas[top:bottom, left:right]
    region += (color - region) * coverage[..., None]
    owners[top:bottom, left:right][coverage > 0.5] = part.owner


def _parts(body: Body, build: Build, posture: Posture, outfit: Outfit, seen: _Seen, scale: float) -> list[Part]:
    bulk, half = build.bulk, 0.5 + 0.5 * build.bulk

    def part(
        owner: int, start: Floats, end: Floats, widths: tuple[float, ...], texture: Texture,
        bias: float = 0.0, squash: float = 1.0, flatness: float = 1.0, yaw: float = posture.yaw,
    ) -> Part:  # fmt: skip
        """`widths`: half widths along the part in statures; `squash`: depth over width of its cross section."""
        a, b = seen(start), seen(end)
        sin, cos = math.sin(yaw), math.cos(yaw)
        silhouette = math.sqrt(cos * cos + squash * squash * sin * sin)
        radii = np.interp(_STEPS, np.arange(len(widths)) / (len(widths) - 1), widths)
        turn = FRONT_COLUMN - math.atan2(squash * sin, cos) * COLUMNS / (2 * math.pi)
        pixels = np.maximum(np.round(radii * silhouette * scale * 2 * 16) / 16, 0.75).astype(np.float32)
        # On the canvas, image pixel x is centred between canvas pixels 2x and 2x + 1.
        place = [(2 * point[0] + 0.5, 2 * point[1] + 0.5) for point in (a, b)]
        return Part(owner, place[0], place[1], (a[2] + b[2]) / 2 + bias, pixels, flatness, texture, round(turn * 64) / 64)

    down = body.pelvis + np.array([0.0, -0.03, 0.0])
    wide, hip = 0.105 * build.shoulders * half, 0.082 * build.hips * half
    head = HEAD_RADIUS * build.head
    up = np.array([0.0, 1.18 * head, 0.0])
    face = posture.yaw + posture.head_yaw
    parts = [
        part(TORSO, body.chest + np.array([0, 0.03, 0]), down,
             (wide * 0.6, wide * 0.97, wide * 1.05, wide, wide * 0.93, hip * 1.02, hip * 1.0, hip * 1.05, hip * 1.02),
             outfit.torso, squash=0.62 * half, flatness=3.0),
        part(NECK, body.neck + np.array([0, 0.03, 0.005]), body.chest, (0.03, 0.034), outfit.neck, bias=-0.01),
        part(HEAD, body.head + up, body.head - up, tuple(head * w for w in (0.5, 0.86, 1.0, 1.0, 0.92, 0.75, 0.5)), outfit.head,
             bias=0.012, squash=1.15, flatness=3.0, yaw=face),
        part(NOSE, body.nose * 0.8 + body.head * 0.2, body.nose, (0.009, 0.007), outfit.neck, bias=0.03 * math.cos(face)),
    ]  # fmt: skip
    for i in range(2):
        parts += [
            part(UPPER_ARM + i, body.shoulders[i], body.elbows[i], (0.034 * half, 0.035 * bulk, 0.029 * bulk), outfit.upper_arm),
            part(FOREARM + i, body.elbows[i], body.wrists[i], (0.029 * bulk, 0.028 * bulk, 0.021 * half), outfit.forearm, bias=0.01),
            part(HAND + i, body.wrists[i], body.fingers[i], (0.017, 0.02, 0.013), outfit.hand, bias=0.008),
            part(THIGH + i, body.hips[i], body.knees[i], (0.058 * bulk, 0.056 * bulk, 0.04 * bulk), outfit.thigh, bias=-0.015),
            part(SHIN + i, body.knees[i], body.ankles[i], (0.04 * bulk, 0.042 * bulk, 0.026 * half), outfit.shin, bias=-0.017),
            part(SHOE + i, body.ankles[i] + np.array([0, 0, -0.01]), body.toes[i], (0.03, 0.03, 0.022), outfit.shoe, bias=-0.01),
        ]
    return parts + _extras(body, build, outfit, part)


def _extras(body: Body, build: Build, outfit: Outfit, part: _MakePart) -> list[Part]:
    """Long hair, skirt, backpack, handbag."""
    extras = []
    if outfit.long_hair is not None:
        behind = np.array([0.0, 0.0, -0.035])
        extras.append(part(HAIR, body.head + 0.7 * behind, body.chest + behind, (0.05, 0.052, 0.045), outfit.long_hair, bias=-0.012))
    if outfit.skirt is not None:
        hip = 0.085 * build.hips * build.bulk
        knees = (body.knees[0] + body.knees[1]) / 2
        hem = body.pelvis + (knees - body.pelvis) * outfit.skirt_length
        spread = float(np.hypot(*(body.knees[0] - body.knees[1])[[0, 2]])) * 0.35 * outfit.skirt_length
        waist = body.pelvis + np.array([0.0, 0.03, 0.0])
        widths = (hip * 1.05, hip * 1.3 * outfit.skirt_flare**0.5, hip * 1.25 * outfit.skirt_flare + spread)
        extras.append(part(SKIRT, waist, hem, widths, outfit.skirt, bias=0.075, squash=0.85, flatness=5.0))
    if outfit.backpack is not None:
        back = np.array([0.0, 0.0, -0.11])
        top, end = body.chest + back - np.array([0, 0.02, 0]), body.pelvis + back + np.array([0, 0.07, 0])
        extras.append(part(BACKPACK, top, end, (0.07, 0.085, 0.088, 0.075), outfit.backpack, squash=0.55, flatness=2.5))
    if outfit.handbag is not None:
        side = outfit.bag_side
        top = body.fingers[side] - np.array([0, 0.02, 0])
        extras.append(part(HANDBAG, top, top - np.array([0, 0.11, 0]), (0.04, 0.06, 0.065), outfit.handbag, bias=0.012, flatness=4.0))
    return extras
