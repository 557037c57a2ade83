"""OpenPose's JSON: a folder of one `<image>_keypoints.json` an image, BODY_25 or COCO's 18 joints.

https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md. Both know the neck. OpenPose gives a
person no confidence: the mean of the visible joints' stands for it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, Keypoints, damaged, flat, largest, nobody, read_json, triples
from posegan.skeleton import JOINT_COUNT, LEFT_HIP, RIGHT_HIP

SUFFIX = "_keypoints.json"
_BODY_25_COUNT, _MIDDLE_HIP = 25, 8
# Where each of the 18 joints stands in BODY_25, which has the middle of the hips between arms and legs, and feet at the end.
_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)


def read_openpose(folder: Path) -> list[Annotation]:
    """Every image of the folder and the folders in it, with its largest person; names are without suffix.

    Raises:
        PoseGANError: no such folder, no such file in it, or one that is not OpenPose's.
    """
    paths = sorted(folder.rglob(f"*{SUFFIX}"))
    if not paths:
        raise PoseGANError(f"{folder}: holds no file <image>{SUFFIX}; name the folder that OpenPose's --write_json was given")
    return [read_openpose_file(path, path.relative_to(folder).as_posix().removesuffix(SUFFIX)) for path in paths]


def read_openpose_file(path: Path, name: str) -> Annotation:
    """One file, for the image called `name`; errors as `read_openpose`."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("people"), list):
        raise damaged(path, "top level", "expected OpenPose's list people")
    joints = [_joints(path, number, person) for number, person in enumerate(content["people"])]
    people = [person for person in joints if person.any()]
    if not people:
        return nobody(name)
    chosen = people[largest(people)]
    return Annotation(name, chosen, float(chosen[chosen[:, 2] > 0, 2].mean()))


def write_openpose(folder: Path, annotations: Iterable[Annotation]) -> None:
    """Write one BODY_25 file an annotation, under the folders of its image's name."""
    for annotation in annotations:
        path = folder / f"{Path(annotation.image).with_suffix('')}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        people = [{"person_id": [-1], "pose_keypoints_2d": flat(_body_25(annotation.keypoints))}] if annotation.keypoints.any() else []
        path.write_text(json.dumps({"version": 1.3, "people": people}), encoding="utf-8")


def _joints(path: Path, number: int, person: Any) -> Keypoints:
    values = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if (body := triples(values, _BODY_25_COUNT)) is not None:
        return body[list(_BODY_25)]
    if (points := triples(values, JOINT_COUNT)) is not None:
        return points
    raise damaged(path, f"people[{number}]", f"pose_keypoints_2d: expected x, y, confidence of {_BODY_25_COUNT} or {JOINT_COUNT} joints")


def _body_25(keypoints: Keypoints) -> Keypoints:
    body = np.zeros((_BODY_25_COUNT, 3), np.float32)
    body[list(_BODY_25)] = keypoints
    right, left = keypoints[RIGHT_HIP], keypoints[LEFT_HIP]
    if right[2] > 0 and left[2] > 0:
        body[_MIDDLE_HIP] = (*(right[:2] + left[:2]) / 2, min(right[2], left[2]))
    return body
