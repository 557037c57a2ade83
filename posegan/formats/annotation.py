"""What every format of keypoints is read into and written from, and how their faults are named.

Legend: K = 18 joints. Keypoints are `(K, 3)` float32 `x, y, confidence` as in `posegan.skeleton`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from posegan.errors import PoseGANError
from posegan.orientation import UPRIGHT, is_turned, turned_upright
from posegan.skeleton import JOINT_COUNT

Keypoints = npt.NDArray[np.float32]
FRACTIONS = (1, 1)  # the size of an image in whose widths and heights keypoints are given
_SAME_SHAPE = 1.25  # programs that work on sizes of whole 64 pixels stretch an image by less
LARGEST = 1e6  # a number beyond it, in pixels or confidence, is damage


class Annotation(NamedTuple):
    """One image's person. No visible joint means that the file says: nobody is seen here.

    `image` is as the file has it: a file name, or a path such as bounding_box_test/x.jpg; OpenPose leaves the suffix out.
    """

    image: str
    keypoints: Keypoints  # (K, 3); 0, 0, 0 = missing
    confidence: float  # of the person, 0 .. 1; the mean of the visible joints' where the format has none, 0 for nobody
    size: tuple[int, int] | None = None  # width and height of the image that the keypoints count in, where the file says it, or FRACTIONS
    others: tuple[str, ...] = ()  # of the image's entries that are of other classes than people's, and so were left out, these


class Person(NamedTuple):
    """One of perhaps several people of an image."""

    keypoints: Keypoints  # (K, 3)
    score: float | None = None
    area: float | None = None  # of the box, where the file has one


def nobody(image: str, size: tuple[int, int] | None = None) -> Annotation:
    """The annotation of an image in which no joint is seen."""
    return Annotation(image, np.zeros((JOINT_COUNT, 3), np.float32), 0.0, size)


def annotation_of(image: str, people: Sequence[Person], size: tuple[int, int] | None = None) -> Annotation:
    """An image's one person: the highest score where all have one, else the largest box; the first of equals."""
    seen = [person for person in people if person.keypoints.any()]
    if not seen:
        return nobody(image, size)
    scores = [person.score for person in seen if person.score is not None]
    if len(scores) == len(seen):
        chosen = seen[scores.index(max(scores))]
        return Annotation(image, chosen.keypoints, min(max(*scores, 0.0), 1.0), size)
    areas = [_box_area(person.keypoints) if person.area is None else person.area for person in seen]
    chosen = seen[areas.index(max(areas))]
    return Annotation(image, chosen.keypoints, float(chosen.keypoints[chosen.keypoints[:, 2] > 0, 2].mean()), size)


def in_pixels(annotation: Annotation, size: tuple[int, int], orientation: int = UPRIGHT) -> Annotation:
    """The annotation in pixels of its upright image, which is of this (width, height), whatever size it was made on.

    Where the image's file has an EXIF `orientation` by which it is turned, and the annotation's size is that of the stored pixels, its
    joints are turned with these.

    Raises:
        PoseGANError: the two sizes are not of one shape.
    """
    if annotation.size is None or annotation.size == size:
        return annotation
    width, height = annotation.size
    if annotation.size != FRACTIONS and is_turned(annotation.size, size, orientation):
        upright = turned_upright(annotation.keypoints, annotation.size, orientation)
        return in_pixels(annotation._replace(keypoints=upright, size=(height, width)), size)
    stretch = size[0] * height / (size[1] * width)
    if annotation.size != FRACTIONS and not 1 / _SAME_SHAPE <= stretch <= _SAME_SHAPE:
        raise PoseGANError(
            f"{annotation.image}: its file of keypoints says {width}x{height} pixels (width x height), the image has {size[0]}x{size[1]}; "
            "mend the size in the file"
        )
    return annotation._replace(keypoints=scaled(annotation.keypoints, (width, height), size), size=size)


def scaled(keypoints: Keypoints, old: tuple[int, int], new: tuple[int, int]) -> Keypoints:
    """Keypoints of an image of one (width, height), or in FRACTIONS of it, in pixels of the same image at another."""
    edge = 0.0 if old == FRACTIONS else 0.5  # the origin is the centre of the first pixel; fractions are given of whole pixels
    joints = keypoints.copy()
    joints[:, :2] = (joints[:, :2] + edge) * np.divide(new, old) - edge
    joints[joints[:, 2] <= 0] = 0
    return joints


def damaged(path: Path, where: str, problem: str) -> PoseGANError:
    """The error of a file whose part `where` (such as `line 3`) is not as its format asks."""
    return PoseGANError(f"{path}, {where}: {problem}; mend or remove that entry")


def read_text(path: Path) -> str:
    """A text file's content; a byte order mark is dropped.

    Raises:
        PoseGANError: no such file, no file at all, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise PoseGANError(f"{path}: could not be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise PoseGANError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def files_below(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder, and of the folders in it, whose names end in `suffix` (lower case) in any case, sorted; none that is hidden.

    Hidden are those that begin with a dot, and what macOS lays beside files in archives.
    """

    def is_hidden(path: Path) -> bool:
        return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)

    return sorted(path for path in folder.rglob("*") if path.name.lower().endswith(suffix) and path.is_file() and not is_hidden(path))


def read_json(path: Path) -> Any:
    """A JSON file's content; errors as `read_text`, and not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        lines = "; of JSON lines, one content a line, make one list" if error.msg == "Extra data" and error.lineno > 1 else ""
        raise damaged(path, f"line {error.lineno}", f"not JSON ({error.msg} at column {error.colno}){lines}") from None
    except RecursionError:
        raise damaged(path, "top level", "lists within lists without end") from None


def points_of(values: object, scores: object = None) -> Keypoints | None:
    """A list of joints from a file as (N, 3) float32 x, y, confidence, at most 1; None when it is none.

    It is flat (x, y, confidence, x, ...) or nested ((x, y), (x, y, confidence), or {x, y, visibility} a joint). `scores` are the
    confidences, one a joint, where they stand apart; a visibility of 0 stays 0. A joint whose confidence is 0, below, null or not a
    number is missing, and so is one without place (null): nothing else of it is looked at.
    """
    rows = _rows(values)
    if rows is None or (scores is not None and (not isinstance(scores, list) or len(scores) != len(rows))):
        return None
    points = []
    for number, (x, y, seen) in enumerate(rows):
        point = _point(x, y, seen if scores is None else _scored(seen, scores[number]))
        if point is None:
            return None
        points.append(point)
    return np.array(points, np.float32).reshape(-1, 3)


def _rows(values: object) -> list[tuple[object, object, object]] | None:
    """The x, y, confidence of each joint; 1 where none stands there."""
    if not isinstance(values, list):
        return None
    if not any(isinstance(value, list | dict) for value in values):
        return list(zip(values[::3], values[1::3], values[2::3], strict=True)) if len(values) % 3 == 0 else None
    rows: list[tuple[object, object, object]] = []
    for value in values:
        if isinstance(value, dict) and "x" in value and "y" in value:
            rows.append((value["x"], value["y"], value.get("visibility", value.get("score", value.get("confidence", 1)))))
        elif isinstance(value, list) and len(value) in (2, 3):
            rows.append((value[0], value[1], value[2] if len(value) == 3 else 1))
        else:
            return None
    return rows


def _scored(seen: object, score: object) -> object:
    """A joint's confidence: one that somebody took out by hand has visibility 0, one that was put in has no score yet."""
    return seen and (score or seen)


def _point(x: object, y: object, confidence: object) -> tuple[float, float, float] | None:
    """The joint, 0, 0, 0 when it is missing; None when it is damaged."""
    if confidence is None or confidence != confidence or (is_number(confidence) and confidence <= 0):
        return 0.0, 0.0, 0.0
    if not is_number(confidence):
        return None
    if x is None or y is None:
        return 0.0, 0.0, 0.0
    return (float(x), float(y), min(float(confidence), 1.0)) if is_number(x) and is_number(y) else None


def size_of(width: object, height: object) -> tuple[int, int] | None:
    """The size that a file gives, in pixels, also as text; None where it gives none."""
    width, height = (int(side) if isinstance(side, str) and side.isdecimal() else side for side in (width, height))
    return (int(width), int(height)) if is_number(width) and is_number(height) and min(width, height) >= 1 else None


def flat(keypoints: Keypoints) -> list[float]:
    """Inverse of `points_of`, in the 3 decimals of keypoints.parquet."""
    return [round(float(value), 3) for value in keypoints.ravel()]


def extent(keypoints: Keypoints) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels of the box about the visible joints; zeros where none is visible."""
    visible = keypoints[keypoints[:, 2] > 0, :2]
    if not len(visible):
        return 0.0, 0.0, 0.0, 0.0
    (left, top), (right, bottom) = (visible.min(axis=0).tolist(), visible.max(axis=0).tolist())
    return left, top, right - left, bottom - top


def _box_area(keypoints: Keypoints) -> float:
    _, _, width, height = extent(keypoints)
    return width * height


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value from a file is a number that a joint, a box or a score can have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST  # not so for nan
