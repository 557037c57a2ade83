"""OpenPose's JSON, one file an image: BODY_25 or COCO's 18 joints, and what other programs write in its manner.

https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md: `<image>_keypoints.json`, with a list
`people` of `pose_keypoints_2d` (`pose_keypoints` before version 1.2). Also read: ControlNet's and DWPose's, a list of such
contents, whose canvas is the size that the joints count in, named `<image>.json`; AlphaPose's in this manner, for all images in
one file or one file an image, with `bodies` and `joints` too. OpenPose gives a person no confidence: the mean of the visible
joints' stands for it. Nobody is an empty person.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from posegan.errors import PoseGANError
from posegan.formats.annotation import (
    FRACTIONS,
    Annotation,
    Keypoints,
    Person,
    annotation_of,
    damaged,
    files_below,
    flat,
    points_of,
    read_json,
    size_of,
)
from posegan.formats.joint_orders import BODY_25, BODY_25_PLACES, OPENPOSE_LIKE, by_count, wanted
from posegan.skeleton import LEFT_HIP, RIGHT_HIP

SUFFIX = "_keypoints.json"
_PEOPLE, _JOINTS = ("people", "bodies"), ("pose_keypoints_2d", "pose_keypoints", "joints")
_MIDDLE_HIP = 8


def is_openpose(content: Any) -> bool:
    """Whether a file's content is of this format."""
    if isinstance(content, list):
        return bool(content) and all(map(_has_people, content))
    return _has_people(content) or (isinstance(content, dict) and bool(content) and all(map(_has_people, content.values())))


def has_openposes_name(path: Path) -> bool:
    """Whether a file is called as OpenPose calls its own."""
    return path.name.lower().endswith(SUFFIX)


def read_openpose(path: Path) -> list[Annotation]:
    """Every image of a file, or of a folder and the folders in it, with its largest person.

    Names are without suffix, but for those that stand in the file.

    Raises:
        PoseGANError: no such folder, no such file in it, or one that is not OpenPose's.
    """
    if not path.is_dir():
        return _read(path, path.name)
    paths = files_below(path, ".json")
    if any(map(has_openposes_name, paths)):  # others beside them may be ControlNet's, or anything
        paths = [file for file in paths if has_openposes_name(file) or is_openpose(read_json(file))]
    if not paths:
        raise PoseGANError(f"{path}: holds no file <image>{SUFFIX}; name the folder that OpenPose's --write_json was given")
    return [annotation for file in paths for annotation in _read(file, file.relative_to(path).as_posix())]


def write_openpose(folder: Path, annotations: Iterable[Annotation]) -> None:
    """Write one BODY_25 file an annotation, under the folders of its image's name."""
    for annotation in annotations:
        path = folder / f"{Path(annotation.image).with_suffix('')}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        people = [{"person_id": [-1], "pose_keypoints_2d": flat(_body_25(annotation.keypoints))}] if annotation.keypoints.any() else []
        path.write_text(json.dumps({"version": 1.3, "people": people}), encoding="utf-8")


def _read(path: Path, file: str) -> list[Annotation]:
    """The images of a file; `file` is its path below the folder that was named."""
    name = next((file[: -len(suffix)] for suffix in (SUFFIX, ".json") if file.lower().endswith(suffix)), file)
    content = read_json(path)
    if not is_openpose(content):
        raise damaged(path, "top level", "expected OpenPose's list people")
    if isinstance(content, list):
        frames = {name if len(content) == 1 else f"{name}-{number}": frame for number, frame in enumerate(content)}
    else:
        frames = {name: content} if _has_people(content) else content
    return [_image(path, image, frame) for image, frame in frames.items()]


def _image(path: Path, name: str, content: dict[str, Any]) -> Annotation:
    people = next(content[key] for key in _PEOPLE if key in content) or []
    read = [person for number, entry in enumerate(people) if (person := _person(path, number, entry)) is not None]
    size = size_of(content.get("canvas_width"), content.get("canvas_height"))
    if size and read and all((person.keypoints[:, :2] <= 1).all() for person in read):
        size = FRACTIONS  # of the canvas: ControlNet wrote them so at times
    return annotation_of(name, read, size)


def _person(path: Path, number: int, entry: Any) -> Person | None:
    """The person; None for an empty one, which is how programs write that nobody was found."""
    if not isinstance(entry, dict | None):
        raise damaged(path, f"people[{number}]", "expected a person with pose_keypoints_2d")
    values = next((entry[key] for key in _JOINTS if key in entry), None) if entry else None
    if not values:
        return None
    points = points_of(values)
    if points is None:
        raise damaged(path, f"people[{number}]", "pose_keypoints_2d: expected x, y, confidence of 25 or 18 joints")
    joints = by_count(points, OPENPOSE_LIKE)
    if joints is None:
        raise damaged(path, f"people[{number}]", f"pose_keypoints_2d: {wanted(len(points), OPENPOSE_LIKE)}")
    return Person(joints)


def _has_people(content: Any) -> bool:
    return isinstance(content, dict) and any(isinstance(content.get(key, 0), list | None) for key in _PEOPLE)


def _body_25(keypoints: Keypoints) -> Keypoints:
    body = np.zeros((BODY_25, 3), np.float32)
    body[list(BODY_25_PLACES)] = keypoints
    right, left = keypoints[RIGHT_HIP], keypoints[LEFT_HIP]
    if right[2] > 0 and left[2] > 0:
        body[_MIDDLE_HIP] = (*(right[:2] + left[:2]) / 2, min(right[2], left[2]))
    return body
