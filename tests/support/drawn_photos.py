"""Folders of own photos: drawn people at any size and in any format, with their exact joints.

As a program: `python tests/drawn_photos.py FOLDER` writes eight people of six photos each.
"""

import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.drawing.figure import Placement, joint_visibility, paint_figure, place_figure
from pipeline.drawing.picture import Identity, draw_identity
from pipeline.drawing.scene import Camera, backdrop, draw_camera
from posegan.people.body import draw_posture

ORIENTATION, QUARTER_TURN = 0x0112, 6  # EXIF: to be shown turned clockwise


class Shape(NamedTuple):
    """Size of a photo in pixels as it is seen, format, and whether it is stored lying on its side."""

    height: int
    width: int
    suffix: str
    turned: bool = False


SHAPES = (
    Shape(128, 64, ".jpg"),
    Shape(300, 220, ".png"),
    Shape(420, 420, ".webp"),
    Shape(360, 270, ".jpeg", turned=True),
    Shape(400, 560, ".jpg"),
    Shape(256, 128, ".tiff"),
)


def draw_photo(rng: np.random.Generator, identity: Identity, shape: Shape) -> tuple[Image.Image, npt.NDArray[np.float32]]:
    """A person who stands in a street, and the joints (18, 3): x, y, 1 where drawn, 0 0 0 where not in the picture."""
    canvas = backdrop(_camera(rng, shape), rng, 2 * shape.height, 2 * shape.width)
    owners = np.zeros(canvas.shape[:2], np.uint8)
    scale = shape.height * rng.uniform(0.8, 0.9)
    place = Placement(float(scale), shape.width / 2 + rng.normal(0, 0.03) * scale, shape.height * 0.96, 0.1)
    figure = place_figure(identity.build, draw_posture(rng, float(rng.uniform(0, 2 * math.pi))), identity.outfit, place)
    paint_figure(canvas, owners, figure)
    pixels = (canvas[::2, ::2] + canvas[::2, 1::2] + canvas[1::2, ::2] + canvas[1::2, 1::2]) / 4
    seen = np.minimum(joint_visibility(figure, owners), 1)[:, None]
    joints = np.concatenate([figure.joints, seen], axis=1).astype(np.float32) * seen
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), joints


def write_people(folder: Path, people: int, photos: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Write `folder`/person NN/photo NN.*, of `SHAPES` in turn; returns the joints by path below the folder."""
    joints = {}
    for person in range(people):
        rng = np.random.default_rng((seed, person))
        identity = draw_identity(rng)
        (folder / f"person {person:02d}").mkdir(parents=True)
        for photo in range(photos):
            shape = SHAPES[(person + photo) % len(SHAPES)]
            name = f"person {person:02d}/photo {photo:02d}{shape.suffix}"
            image, joints[name] = draw_photo(rng, identity, shape)
            save_photo(folder / name, image, shape.turned)
    return joints


def save_photo(path: Path, image: Image.Image, turned: bool) -> None:
    exif = Image.Exif()
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[ORIENTATION] = QUARTER_TURN
    image.save(path, exif=exif, **({"quality": 95} if path.suffix in (".jpg", ".jpeg", ".webp") else {}))


def _camera(rng: np.random.Generator, shape: Shape) -> Camera:
    """A street whose picture is large enough for a window of the canvas."""
    camera = draw_camera(rng)
    rows, columns = camera.scene.shape[:2]
    factor = max(1, -(-2 * shape.height // rows), -(-2 * shape.width // columns))
    scene = Image.fromarray(camera.scene).resize((columns * factor, rows * factor))
    return camera._replace(scene=np.asarray(scene), horizon=camera.horizon * factor)


if __name__ == "__main__":
    write_people(Path(sys.argv[1]), people=8, photos=6)
