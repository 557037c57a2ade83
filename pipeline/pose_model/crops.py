"""Real crops of Market-1501 with their joints, whole and pasted small into scenes.

The published joints (OpenPose's, whole pixels) lack many that can be seen well. Where they do, the model that training starts
from is asked: what it is sure of becomes a label, of what it is sure not to see the model shall stay unsure, and the rest is UNKNOWN.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.pose_model.labels import ABSENT, COCO_TO_JOINT, SEEN, UNKNOWN, Joints, Labelled, Person, mirrored, placed, write_picture
from pipeline.raw_archive import normalised_names, open_archive, parse_name, read_member
from posegan.formats.keypoint_csv import read_keypoint_csv
from posegan.images import decode_image
from posegan.people.estimator import PersonPose, PoseEstimator

SURE, SURELY_NOT = 0.5, 0.1  # confidences of the starting model's joints
SCENE_HEIGHT, SCENE_WIDTH = 256, 128  # px; a crop is half as large, and is pasted at half its size to its size
_RIM = 4  # px of a pasted crop over which it fades into the scene: else a person would be known by the straight edges around it
_CHUNK = 512


class Crop(NamedTuple):
    """An image of one person and the published joints: `(18, 3)` x, y, confidence 1 or 0, all zeros if missing."""

    name: str
    jpeg: bytes
    published: npt.NDArray[np.float32]


def read_crops(archive: Path, annotations: Path, folder: str) -> list[Crop]:
    """The crops of `folder` (bounding_box_train, bounding_box_test) that show one of its identities and have a row in `annotations`.

    Neither distractors (0000) nor junk (-1), as of them the published joints mean nothing certain.
    """
    published = {Path(row.image).name: row.keypoints for row in read_keypoint_csv(annotations)}
    with open_archive(archive) as file:
        members = {place: name for name, place in normalised_names(file.namelist()).items()}
        return [
            Crop(Path(place).name, read_member(file, name), published[Path(place).name])
            for place, name in sorted(members.items())
            if place.startswith(f"{folder}/") and _shows_person(place) and Path(place).name in published
        ]


def _shows_person(place: str) -> bool:
    name = parse_name(place)
    return name is not None and name.identity > 0


def complete(published: npt.NDArray[np.float32], found: PersonPose | None) -> Joints:
    """Published joints `(18, 3)` in COCO's order `(17, 3)`, those that are missing as the starting model `found` them."""
    joints = published[COCO_TO_JOINT].copy()
    missing = joints[:, 2] == 0
    joints[:, 2] = np.where(missing, UNKNOWN, SEEN)
    if found is not None:
        own = found.keypoints[COCO_TO_JOINT]
        filled = missing & (own[:, 2] >= SURE)
        joints[filled, :2] = own[filled, :2]
        joints[filled, 2] = SEEN
        joints[missing & (own[:, 2] <= SURELY_NOT), 2] = ABSENT
    return joints


def box_of(joints: Joints, found: PersonPose | None, height: int, width: int) -> tuple[float, float, float, float]:
    """The starting model's box, or without one what the SEEN joints span, a twentieth of the picture wider on each side."""
    if found is not None:
        left, top, right, bottom = (float(edge) for edge in found.box)
    else:
        seen = joints[joints[:, 2] == SEEN, :2]
        margin = height / 20
        (left, top), (right, bottom) = seen.min(axis=0) - margin, seen.max(axis=0) + margin
    return max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)


def label_crops(crops: Sequence[Crop], teacher: PoseEstimator) -> Iterator[Labelled]:
    """The crops with the labels that `complete` and `box_of` give them; one without any joint, published or found, is left out."""
    for start in range(0, len(crops), _CHUNK):
        chunk = crops[start : start + _CHUNK]
        images = [decode_image(crop.jpeg) for crop in chunk]
        for crop, image, found in zip(chunk, images, teacher.estimate(images), strict=True):
            joints = complete(crop.published, found)
            if (joints[:, 2] == SEEN).any():
                person = Person(box_of(joints, found, image.height, image.width), joints)
                yield Labelled(crop.jpeg, image.height, image.width, [person])


def paste(rng: np.random.Generator, scene: Image.Image, crops: Iterable[Labelled]) -> Labelled:
    """The crops in `scene`, each at a random place and size, perhaps mirrored, in other light; a later one may hide an earlier one.

    Who is hidden for the most part loses the label; a hidden joint of the others is UNKNOWN.
    """
    canvas, people = np.asarray(scene, np.float32).copy(), list[Person]()
    for crop in crops:
        pixels, person = np.asarray(decode_image(crop.jpeg), np.float32), crop.people[0]
        if rng.random() < 0.5:
            pixels, person = pixels[:, ::-1], mirrored(person, crop.width)
        scale = rng.uniform(0.4, 1.0)
        size = max(8, round(crop.width * scale)), max(16, round(crop.height * scale))
        scale = size[1] / crop.height
        left, top = (int(rng.integers(0, room + 1)) for room in (scene.width - size[0], scene.height - size[1]))
        small = Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        light = np.float32(rng.uniform(0.75, 1.2)) * (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
        region = canvas[top : top + size[1], left : left + size[0]]
        region += (np.asarray(small, np.float32) * light - region) * fading(size[1], size[0])[..., None]
        frame = (float(left), float(top), float(left + size[0]), float(top + size[1]))
        people = [covered for each in people if (covered := cover(each, frame)) is not None]
        people.append(placed(person, scale, left, top))
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.round(canvas), 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=int(rng.integers(80, 96)))
    return Labelled(stream.getvalue(), scene.height, scene.width, people)


def cover(person: Person, frame: tuple[float, float, float, float]) -> Person | None:
    """The person after something opaque was laid on `frame`; None if more than half of the box lies under it."""
    left, top, right, bottom = person.box
    shared = max(0.0, min(right, frame[2]) - max(left, frame[0])) * max(0.0, min(bottom, frame[3]) - max(top, frame[1]))
    if shared > (right - left) * (bottom - top) / 2:
        return None
    x, y = person.joints[:, 0] + 0.5, person.joints[:, 1] + 0.5
    under = (x > frame[0]) & (x < frame[2]) & (y > frame[1]) & (y < frame[3]) & (person.joints[:, 2] != ABSENT)
    joints = person.joints.copy()
    joints[under, 2] = UNKNOWN
    return Person(person.box, joints)


def fading(height: int, width: int) -> npt.NDArray[np.float32]:
    """How much of a pasted picture is seen, `(height, width)`: nothing beyond its edge, all of it from `_RIM` pixels inside on."""
    x, y = (np.minimum(np.arange(size), np.arange(size)[::-1]) + 1 for size in (width, height))
    shares: npt.NDArray[np.float32] = (np.minimum(y[:, None], x[None, :]) / _RIM).clip(0, 1).astype(np.float32)
    return shares


def write_crops(folder: Path, split: str, crops: Iterable[Labelled]) -> None:
    """Write labelled crops for ultralytics, each with the bytes that it has in the archive."""
    for index, crop in enumerate(crops):
        write_picture(folder, split, f"crop-{index:06d}", crop)


def write_scenes(folder: Path, split: str, count: int, seed: int, crops: Sequence[Labelled], scenes: Sequence[Image.Image]) -> None:
    """Write `count` scenes, pictures without people of `SCENE_HEIGHT` x `SCENE_WIDTH`, with one to three of the crops pasted in."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 2000)))
    for index in range(count):
        chosen = [crops[int(number)] for number in rng.integers(len(crops), size=int(rng.integers(1, 4)))]
        write_picture(folder, split, f"scene-{index:06d}", paste(rng, scenes[index % len(scenes)], chosen))
