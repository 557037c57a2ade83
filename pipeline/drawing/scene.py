"""A camera: the street that it looks at, and what it does to a picture of it."""

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Pixels = npt.NDArray[np.uint8]


class Camera(NamedTuple):
    """One fixed camera. `scene` is twice as fine as the images, as the canvas is."""

    scene: Pixels  # (h, w, 3)
    horizon: int  # row of the scene where the ground begins
    pitch: float  # radians, looking down
    cast: npt.NDArray[np.float32]  # (3,) colour gains
    contrast: float
    blur: float  # px
    noise: float  # grey levels
    quality: int  # of JPEG


def draw_camera(rng: np.random.Generator, vivid: bool = False) -> Camera:
    """A random street and the faults of the camera that sees it; `vivid` widens both."""
    horizon = int(rng.integers(190, 260))
    wide = 1.6 if vivid else 1.0
    return Camera(
        scene=_draw_scene(rng, 640, 420, horizon, vivid),
        horizon=horizon,
        pitch=float(rng.uniform(0.0, 0.3)),
        cast=(1 + rng.normal(0, 0.06 * wide, 3)).astype(np.float32),
        contrast=float(rng.uniform(1 - 0.3 * wide / 1.6, 1.1)),
        blur=float(rng.uniform(0.2, 0.7 * wide)),
        noise=float(rng.uniform(0.5, 3.5 * wide)),
        quality=int(rng.integers(92 - round(22 * wide), 96)),
    )


def backdrop(camera: Camera, rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
    """A random window `(height, width, 3)` of the scene, in which a person on the ground can stand."""
    rows, columns = camera.scene.shape[:2]
    top = int(np.clip(camera.horizon - height * rng.uniform(0.35, 0.85), 0, rows - height))
    left = int(rng.integers(0, columns - width + 1))
    window: npt.NDArray[np.float32] = camera.scene[top : top + height, left : left + width].astype(np.float32)
    return window * np.float32(rng.uniform(0.9, 1.1))


def expose(camera: Camera, canvas: npt.NDArray[np.float32], rng: np.random.Generator, grey: bool = False) -> bytes:
    """What the camera stores of a canvas `(2H, 2W, 3)`: a JPEG of `(H, W)` with its cast, blur and noise."""
    height, width = canvas.shape[0] // 2, canvas.shape[1] // 2
    pixels = (canvas[::2, ::2] + canvas[::2, 1::2] + canvas[1::2, ::2] + canvas[1::2, 1::2]) / 4
    pixels = (pixels - 118) * np.float32(camera.contrast * rng.uniform(0.95, 1.05)) + 118
    pixels *= camera.cast * np.float32(rng.uniform(0.9, 1.1))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(round(camera.blur * float(rng.uniform(0.7, 1.3)), 2)))
    noise = rng.normal(0, camera.noise, (height, width, 1)) + rng.normal(0, camera.noise / 2, (height, width, 3))
    pixels = np.asarray(image) + noise
    image = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
    if grey:
        image = image.convert("L").convert("RGB")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=camera.quality)
    return stream.getvalue()


def occlude(canvas: npt.NDArray[np.float32], owners: npt.NDArray[np.uint8], rng: np.random.Generator, owner: int) -> None:
    """Put something in front of the person: a pole, a bollard, a box, a parked thing at the lower edge."""
    height, width = owners.shape
    color = rng.uniform(20, 190, 3).astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        span = int(rng.integers(4, 14))
        left = int(rng.integers(0, width - span))
        region = (slice(0, height), slice(left, left + span))
    elif kind == 1:
        span, tall = int(rng.integers(14, 50)), int(rng.integers(40, 110))
        left = int(rng.integers(-span // 2, width - span // 2))
        region = (slice(height - tall, height), slice(max(0, left), left + span))
    else:
        tall = int(rng.integers(16, 60))
        region = (slice(height - tall, height), slice(0, width))
    patch = canvas[region]
    ramp = np.linspace(1.1, 0.75, patch.shape[1], dtype=np.float32)[None, :, None]
    patch[:] = color * ramp
    patch[::7] *= np.float32(0.85)
    owners[region] = owner


def _draw_scene(rng: np.random.Generator, width: int, height: int, horizon: int, vivid: bool) -> Pixels:
    wall, ground = (_muted(rng, vivid) for _ in range(2))
    image = Image.new("RGB", (width, height), wall)
    draw = ImageDraw.Draw(image)
    x = 0
    while x < width:  # a row of houses, hedges and shop fronts
        span = int(rng.integers(50, 170))
        _draw_front(rng, draw, (x, 0, x + span, horizon), vivid)
        x += span
    draw.rectangle((0, horizon, width, height), fill=ground)
    _draw_ground(rng, draw, width, height, horizon, ground)
    for _ in range(int(rng.integers(2, 7))):  # trees, lamps, bins, parked things
        _draw_thing(rng, draw, width, horizon, vivid)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), np.float32)
    grain = rng.normal(0, 1, (height // 4 + 1, width // 4 + 1, 1)).repeat(4, 0).repeat(4, 1)[:height, :width]
    light = np.linspace(rng.uniform(0.85, 1.1), rng.uniform(0.85, 1.1), width)[None, :, None]
    return np.clip(pixels * light + grain * rng.uniform(1, 6), 0, 255).astype(np.uint8)


def _draw_front(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], vivid: bool) -> None:
    left, top, right, bottom = box
    color = _muted(rng, vivid)
    draw.rectangle(box, fill=color)
    kind = rng.integers(4)
    if kind == 0:  # windows
        pane = tuple(int(c * 0.55) for c in color)
        step = int(rng.integers(22, 46))
        for y in range(top + 8, bottom - 20, step):
            for x in range(left + 6, right - 12, step):
                draw.rectangle((x, y, x + step * 0.55, y + step * 0.6), fill=pane)
    elif kind == 1:  # bricks or slats
        line = tuple(int(c * 0.82) for c in color)
        for y in range(top, bottom, int(rng.integers(5, 14))):
            draw.line((left, y, right, y), fill=line, width=2)
    elif kind == 2:  # a hedge
        for _ in range(90):
            x, y, r = int(rng.integers(left, right)), int(rng.integers(top + 30, bottom)), int(rng.integers(3, 12))
            green = int(rng.integers(60, 120))
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(green - 25, green, green - 40))
    else:  # a shop window with a sign
        draw.rectangle((left + 4, bottom - 110, right - 4, bottom - 6), fill=tuple(int(c * 0.5) for c in color))
        draw.rectangle((left + 4, bottom - 135, right - 4, bottom - 112), fill=_muted(rng, True))


def _draw_ground(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int, horizon: int, color: tuple[int, int, int]
) -> None:
    line = tuple(int(c * rng.uniform(0.78, 0.95)) for c in color)
    vanish, step = int(rng.integers(0, width)), int(rng.integers(30, 90))
    if rng.random() < 0.6:  # paving in perspective
        for x in range(-3 * width, 4 * width, step * 4):
            draw.line((vanish, horizon - 60, x, height + 200), fill=line, width=2)
        y, gap = float(horizon), 6.0
        while y < height:
            draw.line((0, y, width, y), fill=line, width=2)
            y, gap = y + gap, gap * 1.35
    if rng.random() < 0.5:  # a kerb or a painted line
        y = int(rng.integers(horizon + 4, height - 20))
        draw.line(
            (0, y, width, y + int(rng.integers(-30, 30))), fill=tuple(min(255, c + 40) for c in color), width=int(rng.integers(3, 10))
        )


def _draw_thing(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, horizon: int, vivid: bool) -> None:
    x, base = int(rng.integers(0, width)), horizon + int(rng.integers(0, 50))
    color = _muted(rng, vivid)
    kind = rng.integers(4)
    if kind == 0:  # a tree
        draw.rectangle((x, base - 150, x + 12, base), fill=(72, 58, 46))
        for _ in range(25):
            dx, dy, r = rng.integers(-45, 45), rng.integers(-60, 40), rng.integers(8, 22)
            green = int(rng.integers(50, 110))
            draw.ellipse(
                (int(x + dx - r), int(base - 160 + dy - r), int(x + dx + r), int(base - 160 + dy + r)), fill=(green - 20, green, green - 35)
            )
    elif kind == 1:  # a lamp post
        draw.rectangle((x, 0, x + int(rng.integers(4, 9)), base), fill=color)
    elif kind == 2:  # a bin or a box
        draw.rectangle((x, base - int(rng.integers(30, 80)), x + int(rng.integers(20, 60)), base), fill=color)
    else:  # a parked car
        draw.rounded_rectangle((x, base - 46, x + 150, base), radius=14, fill=color)
        draw.rounded_rectangle((x + 28, base - 80, x + 120, base - 40), radius=12, fill=tuple(int(c * 0.6) for c in color))
        for wheel in (x + 22, x + 106):
            draw.ellipse((wheel, base - 16, wheel + 26, base + 10), fill=(25, 25, 28))


def _muted(rng: np.random.Generator, vivid: bool) -> tuple[int, int, int]:
    level = rng.uniform(70, 200)
    color = np.clip(level + rng.normal(0, 45 if vivid else 14, 3), 10, 245).astype(int)
    return int(color[0]), int(color[1]), int(color[2])
