"""YOLO's labels: a text file an image, a line a person, everything in fractions of the image (https://docs.ultralytics.com/datasets/pose/).

A line is class, the box's centre and size, then x, y, visibility or confidence of each joint (or x, y alone, 0 0 for a missing
one), and in predictions a confidence of the person at the end. An empty file is an image of nobody. Where a folder has several
classes, 0 is the people's. COCO's 17 joints with such a confidence are as many numbers as Halpe's 26 without visibility, which are
known by the middles of shoulders and hips, and refused.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from posegan.errors import PoseGANError
from posegan.formats.annotation import FRACTIONS, Annotation, Keypoints, Person, annotation_of, damaged, files_below, is_number, read_text
from posegan.formats.joint_orders import COCO, COCO_LIKE, HALPE, by_count, wanted

_BOX = 5  # numbers before the joints: class, x, y, width, height
_LARGEST = 2.0  # fractions of a box reach 1, and a little more at the image's edges
_AMBIGUOUS = _BOX + 2 * HALPE  # which is _BOX + 3 * COCO + 1 too
_HALPE_MIDDLES = ((18, 5, 6), (19, 11, 12))  # neck and hip, and the right and left ones that they lie between
_NEAR = 0.1  # of the box's side: so near to the middle they are
_NO_LABELS = ("classes.txt", "labels.txt", "notes.txt", "readme.txt", "train.txt", "val.txt", "test.txt")


class _Layout(NamedTuple):
    joints: int
    axes: int
    scored: bool


# By how many numbers a line has.
_LAYOUTS = {_BOX + 2 * COCO: _Layout(COCO, 2, False), _BOX + 2 * COCO + 1: _Layout(COCO, 2, True)} | {
    _BOX + 3 * count + scored: _Layout(count, 3, bool(scored)) for count in COCO_LIKE for scored in (0, 1)
}


class _Line(NamedTuple):
    kind: float  # the class
    person: Person
    halpe: bool | None  # whether its numbers may be Halpe's; None where they are not as many


def is_yolo(text: str) -> bool:
    """Whether a text begins with a line of nothing but numbers, at least a box."""
    fields = next((line.split() for line in text.splitlines() if line.strip()), [])
    return len(fields) >= _BOX and all(map(_is_float, fields))


def read_yolo(path: Path) -> list[Annotation]:
    """Every image of a folder of labels and the folders in it, or of one such file; names are without suffix.

    Raises:
        PoseGANError: no such file, or a line that is not a label of people; file and line are named.
    """
    files = [path] if not path.is_dir() else [file for file in files_below(path, ".txt") if file.name.lower() not in _NO_LABELS]
    names = [file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem for file in files]
    lines = [_lines(file) for file in files]
    doubtful = [line.halpe for image in lines for line in image if line.halpe is not None]
    if doubtful and sum(doubtful) > len(doubtful) / 2:
        raise PoseGANError(f"{path}: labels of {_AMBIGUOUS} numbers, Halpe's 26 joints without visibility; write a 1 behind each x and y")
    kinds = {line.kind for image in lines for line in image}
    if len(kinds) > 1 and 0 not in kinds:
        listed = ", ".join(f"{kind:g}" for kind in sorted(kinds))
        raise PoseGANError(f"{path}: labels of the classes {listed}, and none of 0, which is the people's; write 0 for people")
    people = [[line.person for line in image if len(kinds) == 1 or line.kind == 0] for image in lines]
    others = [tuple(f"class {line.kind:g}" for line in image if len(kinds) > 1 and line.kind != 0) for image in lines]
    return [annotation_of(name, image, FRACTIONS)._replace(others=rest) for name, image, rest in zip(names, people, others, strict=True)]


def _lines(path: Path) -> list[_Line]:
    return [_line(path, number, line.split()) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]


def _line(path: Path, number: int, fields: list[str]) -> _Line:
    values = [float(field) if _is_float(field) else None for field in fields]
    if len(values) < _BOX or not all(map(is_number, values)):
        raise damaged(path, f"line {number}", f"expected a YOLO label, class, box and joints in numbers, got {' '.join(fields)[:60]!r}")
    layout = _LAYOUTS.get(len(values))
    if layout is None:
        rest = len(values) - _BOX
        what = wanted(rest // 3, COCO_LIKE) if rest >= 3 else "a box without joints"
        way_out = "take a pose model's labels, or name the joints in a COCO file"
        raise PoseGANError(f"{path}, line {number}: a YOLO label of {len(values)} numbers: {what}; {way_out}")
    numbers = np.array(values, np.float32)
    if numbers[1:_BOX].max() > _LARGEST:
        raise damaged(path, f"line {number}", f"expected fractions of the image, 0 .. 1, got a box of {' '.join(fields[1:_BOX])}")
    joints = by_count(_points(numbers[_BOX : _BOX + layout.joints * layout.axes].reshape(-1, layout.axes)), COCO_LIKE)
    assert joints is not None  # the layouts are of known orders
    score = float(numbers[-1]) if layout.scored else None
    if score is not None and not 0 <= score <= 1:
        raise damaged(
            path, f"line {number}", f"expected a confidence, 0 .. 1, at the end, got {fields[-1]}; of tracks, leave the number out"
        )
    halpe = _is_halpe(numbers[_BOX:].reshape(-1, 2), numbers[3:_BOX]) if len(values) == _AMBIGUOUS else None
    return _Line(float(numbers[0]), Person(joints, score, float(numbers[3] * numbers[4])), halpe)


def _is_halpe(places: Keypoints, box: Keypoints) -> bool:
    """Whether numbers, as 26 joints (N, 2) in a box of this (width, height), have Halpe's neck and hip where these belong."""
    return all((np.abs(places[middle] - places[[one, other]].mean(axis=0)) <= _NEAR * box).all() for middle, one, other in _HALPE_MIDDLES)


def _points(points: Keypoints) -> Keypoints:
    """Joints (N, 2 or 3) with a confidence of at most 1; 0, 0, 0 = missing."""
    if points.shape[1] == 2:
        points = np.hstack([points, (points != 0).any(axis=1, keepdims=True).astype(np.float32)])
    points[:, 2] = np.minimum(points[:, 2], 1)
    points[points[:, 2] <= 0] = 0
    return points


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
