"""People drawn into one picture, with their joints."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.drawing.figure import FOREGROUND, Placement, extent, joint_visibility, paint_figure, place_figure
from pipeline.drawing.scene import Camera, backdrop, expose, occlude
from pipeline.drawing.wardrobe import Outfit, draw_outfit
from posegan.people.body import Build, draw_build, draw_posture

HEIGHT, WIDTH = 128, 64


class Identity(NamedTuple):
    """A person of the sample."""

    build: Build
    outfit: Outfit


class Drawing(NamedTuple):
    """A JPEG and where its person's joints are: `(18, 3)` x, y, visibility (2 seen, 1 hidden, 0 not in the picture)."""

    jpeg: bytes
    joints: npt.NDArray[np.float32]
    box: tuple[float, float, float, float] | None  # left, top, right, bottom in px


def draw_identity(rng: np.random.Generator, vivid: bool = False) -> Identity:
    """A random person; `vivid` widens the clothes' colours."""
    return Identity(draw_build(rng), draw_outfit(rng, vivid))


def draw_people(
    rng: np.random.Generator, people: list[tuple[Identity, float, Placement]], camera: Camera, occluded: bool = False, grey: bool = False
) -> list[Drawing]:
    """One picture of several people, each given with a yaw and a place, the last one in front.

    Returns one `Drawing` a person, all with the same JPEG.
    """
    canvas = backdrop(camera, rng, 2 * HEIGHT, 2 * WIDTH)
    owners = np.zeros(canvas.shape[:2], np.uint8)
    figures = []
    for number, (identity, yaw, place) in enumerate(people):
        figure = place_figure(identity.build, draw_posture(rng, yaw), identity.outfit, place, number)
        paint_figure(canvas, owners, figure)
        figures.append(figure)
    boxes = [extent(figure, owners) for figure in figures]
    if occluded:
        occlude(canvas, owners, rng, FOREGROUND)
    jpeg = expose(camera, canvas, rng, grey)
    drawings = []
    for figure, box in zip(figures, boxes, strict=True):
        joints = np.concatenate([figure.joints, joint_visibility(figure, owners)[:, None]], axis=1).astype(np.float32)
        joints[joints[:, 2] == 0] = 0
        drawings.append(Drawing(jpeg, joints, box))
    return drawings


def draw_placement(rng: np.random.Generator, pitch: float, cut_off: bool = False) -> Placement:
    """Where a person stands in a detector's crop: nearly filling it, or cut off by one of its edges."""
    scale = rng.uniform(104, 118)
    x, y = 31.5 + rng.normal(0, 2.5), 127 - rng.uniform(1, 127 - scale)
    if cut_off:
        scale *= rng.uniform(1.0, 1.35)
        y = rng.uniform(126, 150) if rng.random() < 0.6 else scale - rng.uniform(4, 24)
        x += rng.normal(0, 8)
    return Placement(float(scale), float(x), float(y), pitch)
