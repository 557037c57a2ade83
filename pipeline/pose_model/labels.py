"""People's labels, as a YOLO pose model is trained on them, and what moves them together with their pixels.

Legend: J = 17 joints of COCO. Joints are `(J, 3)` float32 `x, y, state` in pixels of their picture, centre of the first pixel
at 0; boxes are left, top, right, bottom in pixels as edges, so that a whole picture's is 0, 0, width, height.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.skeleton import COCO_JOINTS, JOINTS

Joints = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

# States of a joint. 1 and 2 are COCO's; of an UNKNOWN joint nobody knows whether it can be seen, so that it adds no loss at all,
# while an ABSENT one teaches the model to be unsure of it.
ABSENT, HIDDEN, SEEN, UNKNOWN = 0, 1, 2, 3

# Of the 18 joints, the one that is each of COCO's 17; and the joint on the other side of the body, in COCO's order.
COCO_TO_JOINT = [JOINTS.index(name) for name in COCO_JOINTS]
COCO_MIRROR = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


class Person(NamedTuple):
    """One person of a picture."""

    box: Box
    joints: Joints  # (J, 3)


class Labelled(NamedTuple):
    """A picture as a file's bytes, its size, and everybody in it."""

    jpeg: bytes
    height: int
    width: int
    people: list[Person]


def mirrored(person: Person, width: int) -> Person:
    """The person of a picture of `width` pixels after its left and right are exchanged: a right hand becomes a left one."""
    left, top, right, bottom = person.box
    joints = person.joints[COCO_MIRROR].copy()
    joints[:, 0] = width - 1 - joints[:, 0]
    return Person((width - right, top, width - left, bottom), joints)


def placed(person: Person, scale: float, left: float, top: float) -> Person:
    """The person after its picture is made `scale` times as large and its upper left corner is put at `left`, `top`."""
    joints = person.joints.copy()
    joints[:, :2] = (joints[:, :2] + 0.5) * scale - 0.5 + [left, top]  # a picture grows from its edge, not from a pixel's centre
    x0, y0, x1, y1 = person.box
    return Person((x0 * scale + left, y0 * scale + top, x1 * scale + left, y1 * scale + top), joints)


def label_line(person: Person, height: int, width: int) -> str:
    """One line of YOLO's pose format: class, box centre and size, then 17 times x, y, state; all places as shares of the picture.

    What lies outside the picture is cut off: of a box the part, of a joint its state, which becomes ABSENT.
    """
    left, top, right, bottom = np.clip(person.box, 0, [width, height, width, height])
    box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    # YOLO's coordinates run from the picture's edge, ours from the first pixel's centre.
    joints = (person.joints + np.array([0.5, 0.5, 0])) / np.array([width, height, 1])
    outside = ((joints[:, :2] < 0) | (joints[:, :2] > 1)).any(axis=1)
    joints[outside | (joints[:, 2] == ABSENT)] = 0
    return " ".join(["0", *(f"{value:.6f}" for value in (*box, *joints.ravel()))])


def write_picture(folder: Path, split: str, name: str, picture: Labelled) -> None:
    """Write the picture and its label file under `folder/images/split` and `folder/labels/split`, where ultralytics looks for them."""
    for part in ("images", "labels"):
        (folder / part / split).mkdir(parents=True, exist_ok=True)
    (folder / "images" / split / f"{name}.jpg").write_bytes(picture.jpeg)
    lines = [label_line(person, picture.height, picture.width) for person in picture.people]
    (folder / "labels" / split / f"{name}.txt").write_text("\n".join(lines))
