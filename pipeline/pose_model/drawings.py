"""Drawn people with their joints: the sample's kind, and a kind that is much more varied.

The varied kind has bystanders, occluders, cut-off bodies, vivid colours, grey pictures and strong blur.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.drawing.picture import HEIGHT, WIDTH, Drawing, Identity, draw_identity, draw_people, draw_placement
from pipeline.drawing.scene import Camera, draw_camera
from pipeline.pose_model.labels import COCO_TO_JOINT, Labelled, Person, write_picture
from pipeline.processes import all_cores

# Seeds of these never meet. 1, 4 and 5 were the drawings that earlier weights were trained on; HELD_OUT measured those as well.
HELD_OUT, TRAINING, CHECKING, CALIBRATING = 2, 6, 3, 7
VIVID_SHARE = 0.5  # of the training's drawings

_CAMERAS_A_BLOCK, _BLOCK = 8, 500


def draw_scene_of_people(rng: np.random.Generator, camera: Camera, vivid: bool) -> list[Drawing]:
    """A crop as a person detector makes it: one person, sometimes bystanders, occluders, cut-off bodies, grey."""
    people: list[tuple[Identity, float, Any]] = []
    place = draw_placement(rng, camera.pitch, cut_off=rng.random() < 0.15)
    if vivid:
        place = place._replace(scale=place.scale * rng.uniform(0.7, 1.08), x=place.x + rng.normal(0, 4))
    if rng.random() < 0.2:  # somebody behind, at the rim
        offset = rng.uniform(18, 40) * (1 if rng.random() < 0.5 else -1)
        behind = place._replace(scale=place.scale * rng.uniform(0.6, 0.95), x=place.x + offset, y=place.y - rng.uniform(2, 20))
        people.append((draw_identity(rng, vivid), float(rng.uniform(0, 2 * math.pi)), behind))
    people.append((draw_identity(rng, vivid), float(rng.uniform(0, 2 * math.pi)), place))
    return draw_people(rng, people, camera, occluded=rng.random() < 0.12, grey=vivid and rng.random() < 0.08)


def draw_block(seed: int, stream: int, start: int, count: int, vivid_share: float) -> list[list[Drawing]]:
    """The drawings number `start` and after of a stream, each as one `Drawing` a person, the one in front last."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1000 + stream, start)))
    cameras = [draw_camera(rng, vivid=bool(number % 2)) for number in range(_CAMERAS_A_BLOCK)]
    return [
        draw_scene_of_people(rng, cameras[int(rng.integers(len(cameras)))], vivid=bool(rng.random() < vivid_share)) for _ in range(count)
    ]


def labelled(drawings: list[Drawing]) -> Labelled:
    """One picture of `draw_block` with the labels of all of whom something can be seen."""
    people = [Person(drawing.box, drawing.joints[COCO_TO_JOINT]) for drawing in drawings if drawing.box is not None]
    return Labelled(drawings[0].jpeg, HEIGHT, WIDTH, people)


def write_drawings(folder: Path, split: str, count: int, seed: int, stream: int) -> None:
    """Write `count` drawings of a stream and their labels for ultralytics, on all cores."""
    blocks = [(folder, split, seed, stream, start, min(_BLOCK, count - start)) for start in range(0, count, _BLOCK)]
    with all_cores() as pool:
        for _ in pool.map(_write_block, blocks):
            pass


def _write_block(block: tuple[Path, str, int, int, int, int]) -> None:
    folder, split, seed, stream, start, count = block
    for index, drawings in enumerate(draw_block(seed, stream, start, count, VIVID_SHARE), start):
        write_picture(folder, split, f"drawing-{index:06d}", labelled(drawings))
