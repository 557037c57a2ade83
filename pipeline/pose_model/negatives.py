"""Pictures without people, by kind: some kinds for training, others, of other sources, for measuring alone.

A detector that was shown people only finds one in every picture. Drawn kinds are functions here; photographed ones are windows cut
out of pictures that Python or Debian packages bring along. Pictures in which a person or a figure can be seen are named and left out.
"""

import importlib.util
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from pipeline.drawing.figure import Part, paint_part
from pipeline.drawing.scene import backdrop, draw_camera, occlude
from pipeline.drawing.wardrobe import COLUMNS
from pipeline.pose_model.labels import Labelled, write_picture

Pixels = npt.NDArray[np.float32]  # (H, W, 3), 0 .. 255
# Draws one picture of a height and a width.
Draw = Callable[[np.random.Generator, int, int], Pixels]

# Height and width of what is measured: a crop's, a square and a landscape, in turns. Training knows the crop's shape alone.
SHAPES = ((128, 64), (160, 160), (120, 160))
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_LONGEST = 1200  # px to which a photograph is shrunk before windows are cut out of it
_SMALLEST_FILE = 20_000  # bytes; below it are icons


class Kind(NamedTuple):
    """One kind of pictures without people: drawn by a function, or cut out of the pictures of a package."""

    name: str
    training: bool  # else held out: nothing of it was ever trained on
    draw: Draw | None = None
    source: str = ""  # folder below the root of the file system, or module:folder inside a Python package
    install: str = ""  # how to get the pictures
    left_out: tuple[str, ...] = ()  # parts of paths: people, figures, faces, or no picture


def coarse_noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Independent pixels, or blocks of them, around a grey."""
    block = int(rng.choice([1, 1, 2, 4, 8]))
    spread = rng.uniform(10, 90)
    grain = rng.normal(rng.uniform(60, 190), spread, (-(-height // block), -(-width // block), int(rng.choice([1, 3]))))
    return _stretched(grain, height, width)


def slope(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A colour that turns into another along a direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:height, :width] / max(height, width)
    share = np.clip((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5, 0, 1)[..., None]
    return _blend(_color(rng), _color(rng), share)


def stripes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Parallel stripes of two colours at an angle, sharp or soft."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 50)
    y, x = np.mgrid[:height, :width]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period + rng.uniform(0, 6))
    share = np.clip(wave * rng.uniform(0.5, 8) / 2 + 0.5, 0, 1)[..., None]
    return _blend(_color(rng), _color(rng), share)


def blobs(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Ellipses and boxes of any colour, on a flat or sloping ground."""
    image = _image(slope(rng, height, width))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 25))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        a, b = rng.uniform(2, width / 2), rng.uniform(2, height / 3)
        shape = draw.ellipse if rng.random() < 0.6 else draw.rectangle
        shape((x - a, y - b, x + a, y + b), fill=_fill(rng))
    return np.asarray(image, np.float32)


def street(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """The drawn people's own street, as its camera sees it, often with something standing in it."""
    canvas = backdrop(draw_camera(rng, vivid=bool(rng.random() < 0.5)), rng, min(2 * height, 256), min(2 * width, 256))
    owners = np.zeros(canvas.shape[:2], np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        occlude(canvas, owners, rng, 1)
    return np.asarray(_image(canvas).resize((width, height), Image.Resampling.BOX), np.float32)


def loose_limbs(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """The tapered parts that drawn people are made of, scattered: sticks, bollards and sacks that are nobody."""
    canvas = street(rng, 2 * height, 2 * width) if rng.random() < 0.6 else slope(rng, 2 * height, 2 * width)
    canvas, owners = canvas.copy(), np.zeros((2 * height, 2 * width), np.uint8)
    for number in range(int(rng.integers(1, 9))):
        paint_part(canvas, owners, _loose_part(rng, number + 1, 2 * height, 2 * width))
    return np.asarray(_image(canvas).resize((width, height), Image.Resampling.BOX), np.float32)


def _loose_part(rng: np.random.Generator, owner: int, height: int, width: int) -> Part:
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.45) * height
    radii = np.interp(np.linspace(0, 1, 33), [0, 0.5, 1], rng.uniform(0.01, 0.09, 3) * height).astype(np.float32)
    texture = np.clip(_color(rng) + rng.normal(0, 12, (24, COLUMNS, 3)), 0, 255).astype(np.float32)
    end = (x + length * np.cos(angle), y + length * np.sin(angle))
    return Part(owner, (x, y), end, 0.0, np.maximum(radii, 0.75), float(rng.uniform(1, 4)), texture, 0.0)


def speckles(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Salt and pepper over a flat colour."""
    pixels = np.broadcast_to(_color(rng).astype(np.float32), (height, width, 3)).copy()
    hit = rng.random((height, width)) < rng.uniform(0.02, 0.5)
    pixels[hit] = rng.choice([0, 255], (int(hit.sum()), 1))
    return pixels


def clouds_of_noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Smooth noise whose every octave is as strong as it is coarse, as natural pictures' is."""
    pixels: Pixels = np.broadcast_to(_color(rng).astype(np.float32), (height, width, 3))
    for octave in range(1, 6):
        grain = rng.normal(0, 110 / octave**1.5, (2**octave, 2**octave, int(rng.choice([1, 3]))))
        pixels = pixels + _smooth(grain, height, width)
    return pixels


def rings(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A colour that turns into another with the distance from a point, once or in rings."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height)) / rng.uniform(20, 150)
    share = (np.clip(distance, 0, 1) if rng.random() < 0.5 else 0.5 + 0.5 * np.cos(distance * 6))[..., None]
    return _blend(_color(rng), _color(rng), share)


def tiles(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A chequered floor or a wall of tiles, each a little different, with joints."""
    size, gap = int(rng.integers(6, 40)), int(rng.integers(0, 3))
    rows, columns = np.mgrid[:height, :width]
    pattern = ((rows // size + columns // size) % 2)[..., None]
    shade = _stretched(rng.normal(0, 15, (height // size + 1, width // size + 1, 1)), height, width, size)
    pixels = _blend(_color(rng), _color(rng), pattern.astype(float)) + shade
    pixels[(rows % size < gap) | (columns % size < gap)] = rng.uniform(30, 220)
    return pixels


def sky(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A drawn sky: blue or red above, pale below, clouds, perhaps a sun, perhaps hills."""
    share = np.linspace(0, 1, height)[:, None, None]
    top = np.array([60, 110, 200]) if rng.random() < 0.7 else np.array([200, 110, 80])
    pixels = (
        (top + rng.normal(0, 20, 3)) * (1 - share) + (np.array([210, 220, 235]) + rng.normal(0, 15, 3)) * share + np.zeros((1, width, 1))
    )
    cloud = np.clip(_smooth(rng.normal(0, 1, (6, 5, 1)), height, width), 0, 1)
    pixels = pixels + (250 - pixels) * cloud * rng.uniform(0.3, 1)
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.4:
        x, y, r = rng.uniform(0, width), rng.uniform(0, height / 2), rng.uniform(3, 14)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 245, 200))
    if rng.random() < 0.5:
        line = [(x, height * rng.uniform(0.6, 0.85)) for x in np.linspace(0, width, 6)]
        draw.polygon([(0, height), *line, (width, height)], fill=_fill(rng))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float32)


def house(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A drawn house: gable or flat roof, windows with crosses, a door with steps, a chimney, a fence or a bush."""
    image = _image(slope(rng, height, width))
    draw = ImageDraw.Draw(image)
    left, right = width * rng.uniform(0.02, 0.25), width * rng.uniform(0.75, 0.98)
    eaves, ground = height * rng.uniform(0.2, 0.5), height * rng.uniform(0.82, 0.98)
    draw.rectangle((0, ground, width, height), fill=_fill(rng))
    draw.rectangle((left, eaves, right, ground), fill=_fill(rng))
    draw.polygon([(left - 3, eaves), ((left + right) / 2, eaves * rng.uniform(0.2, 0.9)), (right + 3, eaves)], fill=_fill(rng))
    chimney = right - (right - left) * rng.uniform(0.1, 0.4)
    draw.rectangle((chimney, eaves * 0.3, chimney + 5, eaves), fill=_fill(rng))
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    pane, frame = _fill(rng), _fill(rng)
    for row in range(rows):
        for column in range(columns):
            x, y = left + (right - left) * (column + 0.25) / columns, eaves + (ground - eaves) * (row + 0.2) / (rows + 0.5)
            a, b = (right - left) / columns / 2, (ground - eaves) / (rows + 0.5) / 2
            draw.rectangle((x, y, x + a, y + b), fill=pane, outline=frame)
            draw.line((x + a / 2, y, x + a / 2, y + b), fill=frame)
            draw.line((x, y + b / 2, x + a, y + b / 2), fill=frame)
    door = left + (right - left) * rng.uniform(0.1, 0.7)
    draw.rectangle((door, ground - height * rng.uniform(0.12, 0.25), door + width * 0.14, ground), fill=_fill(rng), outline=frame)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2))), np.float32)


def thing(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """One drawn object before a plain ground: a vase, a bottle, a lamp, a chair, a car, a fir or a flower in a pot."""
    image = _image(slope(rng, height, width))
    draw = ImageDraw.Draw(image)
    x, y = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.55)
    a, b = width * rng.uniform(0.15, 0.4), height * rng.uniform(0.2, 0.42)
    _THINGS[int(rng.integers(len(_THINGS)))](draw, rng, (x, y, a, b))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2))), np.float32)
    return pixels + rng.normal(0, rng.uniform(0.5, 5), (height, width, 1)).astype(np.float32)


_At = tuple[float, float, float, float]  # centre x and y, half width and half height


def _vase(draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: _At) -> None:
    x, y, a, b = at
    heights, widths = np.linspace(-b, b, 20), a * np.interp(np.linspace(0, 1, 20), np.linspace(0, 1, 5), rng.uniform(0.2, 1, 5))
    outline = [(x - w, y + h) for w, h in zip(widths, heights, strict=True)]
    draw.polygon(outline + [(2 * x - px, py) for px, py in reversed(outline)], fill=_fill(rng))


def _lamp(draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: _At) -> None:
    x, y, a, b = at
    draw.rectangle((x - 1.5, y - b, x + 1.5, y + b), fill=_fill(rng))
    draw.polygon([(x - a / 2, y - b), (x + a / 2, y - b), (x + a, y - b / 3), (x - a, y - b / 3)], fill=_fill(rng))
    draw.ellipse((x - a / 2, y + b - 4, x + a / 2, y + b + 4), fill=_fill(rng))


def _chair(draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: _At) -> None:
    x, y, a, b = at
    color = _fill(rng)
    draw.rectangle((x - a, y - b, x - a + 5, y + b), fill=color)
    draw.rectangle((x - a, y, x + a, y + 6), fill=_fill(rng))
    draw.rectangle((x + a - 5, y, x + a, y + b), fill=color)


def _car(draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: _At) -> None:
    x, y, a, _ = at
    color, top = _fill(rng), y + a / 2
    draw.rounded_rectangle((x - a, top, x + a, top + a * 0.7), 4, fill=color)
    draw.polygon([(x - a * 0.6, top), (x - a * 0.4, y), (x + a * 0.4, y), (x + a * 0.7, top)], fill=_fill(rng))
    for wheel in (x - a * 0.55, x + a * 0.55):
        draw.ellipse((wheel - a / 5, top + a * 0.5, wheel + a / 5, top + a * 0.9), fill=(20, 20, 22))


def _fir(draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: _At) -> None:
    x, y, a, b = at
    draw.rectangle((x - 3, y, x + 3, y + b), fill=(80, 60, 40))
    for level in range(4):
        low, wide = y - b + b * 0.45 * (level + 1), a * (level + 2) / 5
        draw.polygon([(x, low - b * 0.6), (x - wide, low), (x + wide, low)], fill=(30, 70 + int(rng.integers(40)), 45))


def _flower(draw: ImageDraw.ImageDraw, rng: np.random.Generator, at: _At) -> None:
    x, y, a, b = at
    draw.line((x, y - b / 2, x, y + b / 2), fill=(50, 120, 50), width=3)
    petal, r = _fill(rng), a / 2
    for angle in np.linspace(0, 2 * np.pi, int(rng.integers(5, 9)), endpoint=False):
        px, py = x + r * np.cos(angle), y - b / 2 + r * np.sin(angle)
        draw.ellipse((px - r / 1.6, py - r / 1.6, px + r / 1.6, py + r / 1.6), fill=petal)
    draw.polygon([(x - a / 2, y + b / 2), (x + a / 2, y + b / 2), (x + a / 3, y + b), (x - a / 3, y + b)], fill=_fill(rng))


_THINGS = (_vase, _lamp, _chair, _car, _fir, _flower)


# Of a wallpaper in ten sizes, the large ones are enough.
_SMALLER_SIZES = ("640x", "800x6", "1280x", "1440x9", "1600x", "1638x", "1680x", "1920x", "2560x1440")

KINDS = (
    Kind("noise, coarse", True, coarse_noise),
    Kind("gradients, straight", True, slope),
    Kind("stripes", True, stripes),
    Kind("blobs and boxes", True, blobs),
    Kind("the drawn street", True, street),
    Kind("loose limbs", True, loose_limbs),
    Kind("MATE's photographs", True, None, "usr/share/backgrounds/mate/nature", "apt-get install mate-backgrounds"),
    Kind(
        "Lomiri's photographs and paintings", True, None, "usr/share/backgrounds",
        "apt-get install lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 ukui-wallpapers",
        ("mate/", "gnome/", "sway/", "Sway_", "friends", "refugee", "Kleiber"),
    ),
    Kind(
        "game textures", True, None, "usr/share/games/colobot/textures", "apt-get install colobot-common-textures",
        ("interface/", "objects/", "back22"),
    ),
    Kind("noise, salt and pepper", False, speckles),
    Kind("noise, clouds", False, clouds_of_noise),
    Kind("gradients, round", False, rings),
    Kind("tiles", False, tiles),
    Kind("skies, drawn", False, sky),
    Kind("houses, drawn", False, house),
    Kind("objects, drawn", False, thing),
    Kind(
        "Plasma's photographs and paintings", False, None, "usr/share/wallpapers", "apt-get install plasma-workspace-wallpapers",
        ("Autumn", "SafeLanding", "FlyingKonqui", "Kite", "screenshot", "summer_1am", *_SMALLER_SIZES),
    ),
    Kind(
        "Stellarium's landscapes", False, None, "usr/share/stellarium/landscapes", "apt-get install stellarium-data",
        ("moon/", "mars/", "fog", "illum", "hurricane5"),
    ),
    Kind(
        "scikit-image's samples", False, None, "skimage:data", "pip install scikit-image",
        ("astronaut", "camera", "lfw", "face", "color.png"),
    ),
    Kind("scikit-learn's temple and flower", False, None, "sklearn:datasets/images", "pip install scikit-learn"),
)  # fmt: skip


class Empty(NamedTuple):
    """A picture without people, and its kind's name."""

    kind: str
    image: Image.Image


def kinds_at_hand(training: bool, root: Path = Path("/")) -> tuple[list[Kind], list[Kind]]:
    """The kinds for training, or those held out: (those whose pictures are there, those whose package is absent)."""
    kinds = [kind for kind in KINDS if kind.training == training]
    there = [kind for kind in kinds if kind.draw is not None or photographs(kind, root)]
    return there, [kind for kind in kinds if kind not in there]


def photographs(kind: Kind, root: Path = Path("/")) -> list[Path]:
    """The kind's picture files, sorted."""
    folder = _folder(kind.source, root)
    files = [] if folder is None else sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)
    return [file for file in files if file.stat().st_size >= _SMALLEST_FILE and not any(part in str(file) for part in kind.left_out)]


def _folder(source: str, root: Path) -> Path | None:
    module, colon, inside = source.partition(":")
    if not colon:
        return root / source
    found = importlib.util.find_spec(module)  # finds, and does not import
    return Path(found.origin).parent / inside if found is not None and found.origin else None


def draw_empty(kinds: Sequence[Kind], count: int, seed: int, shapes: Sequence[tuple[int, int]], root: Path = Path("/")) -> Iterator[Empty]:
    """`count` pictures without people, the kinds and then the shapes in turns; the same arguments give the same pictures."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 3000)))
    for index in range(count):
        kind = kinds[index % len(kinds)]
        height, width = shapes[index // len(kinds) % len(shapes)]
        if kind.draw is not None:
            yield Empty(kind.name, _image(kind.draw(rng, height, width)))
        else:
            files = photographs(kind, root)
            yield Empty(kind.name, window(rng, _opened(files[int(rng.integers(len(files)))]), height, width))


def window(rng: np.random.Generator, photo: Image.Image, height: int, width: int) -> Image.Image:
    """A random part of `photo`, from a fifth of it to all that has the shape, at `height` x `width`, perhaps mirrored."""
    largest = min(photo.height / height, photo.width / width)
    scale = largest * rng.uniform(0.2, 1)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    left, top = (int(rng.integers(0, room + 1)) for room in (photo.width - size[0], photo.height - size[1]))
    part = photo.crop((left, top, left + size[0], top + size[1])).resize((width, height), Image.Resampling.BILINEAR)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


@cache
def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.draft("RGB", (_LONGEST, _LONGEST))  # a JPEG's decoder can skip what is not wanted
        flat = Image.new("RGB", image.size, (128, 128, 128))
        pixels = image.convert("RGBA")
        flat.paste(pixels, (0, 0), pixels)
    flat.thumbnail((_LONGEST, _LONGEST))
    return flat


def write_empty(folder: Path, split: str, pictures: Iterable[Empty], seed: int) -> None:
    """Write pictures without people for ultralytics, with empty labels."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 3001)))
    for index, picture in enumerate(pictures):
        stream = io.BytesIO()
        picture.image.save(stream, "JPEG", quality=int(rng.integers(70, 96)))
        write_picture(folder, split, f"empty-{index:06d}", Labelled(stream.getvalue(), picture.image.height, picture.image.width, []))


def _blend(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], share: npt.NDArray[np.float64]) -> Pixels:
    """`one` where `share` is 1, `other` where it is 0."""
    pixels: Pixels = (one * share + other * (1 - share)).astype(np.float32)
    return pixels


def _color(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.uniform(10, 245, 3)


def _fill(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in _color(rng))
    return red, green, blue


def _image(pixels: npt.NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels.astype(np.float32)), 0, 255).astype(np.uint8))


def _stretched(grain: npt.NDArray[np.float64], height: int, width: int, size: int = 0) -> Pixels:
    """Blocks of one value each, in three channels."""
    size = size or -(-height // grain.shape[0])
    blocks = np.broadcast_to(grain, (*grain.shape[:2], 3)).astype(np.float32).repeat(size, 0).repeat(size, 1)
    return blocks[:height, :width]


def _smooth(grain: npt.NDArray[np.float64], height: int, width: int) -> Pixels:
    channels = [
        np.asarray(Image.fromarray(grain[..., channel].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
        for channel in range(grain.shape[2])
    ]
    return np.stack(channels, axis=-1)
