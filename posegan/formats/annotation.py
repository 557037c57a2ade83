"""What every format of keypoints is read into and written from, and how their faults are named.

Legend: K = 18 joints. Keypoints are `(K, 3)` float32 `x, y, confidence` as in `posegan.skeleton`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.errors import PoseGANError
from posegan.skeleton import JOINT_COUNT

Keypoints = npt.NDArray[np.float32]
LARGEST = 1e6  # a number beyond it, in pixels or confidence, is damage


class Annotation(NamedTuple):
    """One image's person. No visible joint means that the file says: nobody is seen here.

    `image` is as the file has it: a file name, or a path such as bounding_box_test/x.jpg; OpenPose leaves the suffix out.
    """

    image: str
    keypoints: Keypoints  # (K, 3); 0, 0, 0 = missing
    confidence: float  # of the person, 0 .. 1; 1 where the format has none, 0 for nobody
    size: tuple[int, int] | None = None  # width, height of the image that the joints are pixels of, where the file says it


def nobody(image: str) -> Annotation:
    """The annotation of an image in which no joint is seen."""
    return Annotation(image, np.zeros((JOINT_COUNT, 3), np.float32), 0.0)


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


def read_json(path: Path) -> Any:
    """A JSON file's content; errors as `read_text`, and not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise damaged(path, f"line {error.lineno}", f"not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise damaged(path, "top level", "lists within lists without end") from None


def triples(values: object, count: int) -> Keypoints | None:
    """A flat list `x, y, confidence, x, ...` as `(count, 3)` float32, confidence at most 1; None when it is none."""
    if not isinstance(values, list) or len(values) != 3 * count or not all(map(is_number, values)):
        return None
    points = np.array(values, np.float32).reshape(count, 3)
    if (points[:, 2] < 0).any():
        return None
    points[:, 2] = np.minimum(points[:, 2], 1)
    points[points[:, 2] == 0] = 0
    return points


def flat(keypoints: Keypoints) -> list[float]:
    """Inverse of `triples`, in the 3 decimals of keypoints.parquet."""
    return [round(float(value), 3) for value in keypoints.ravel()]


def extent(keypoints: Keypoints) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels of the box about the visible joints; zeros where none is visible."""
    visible = keypoints[keypoints[:, 2] > 0, :2]
    if not len(visible):
        return 0.0, 0.0, 0.0, 0.0
    (left, top), (right, bottom) = (visible.min(axis=0).tolist(), visible.max(axis=0).tolist())
    return left, top, right - left, bottom - top


def largest(people: Sequence[Keypoints]) -> int:
    """Which of the people has the box of the largest area; the first of equals."""
    areas = [width * height for _, _, width, height in map(extent, people)]
    return areas.index(max(areas))


def is_number(value: object) -> bool:
    """Whether a value from a file is a number that a joint, a box or a score can have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST  # not so for nan
