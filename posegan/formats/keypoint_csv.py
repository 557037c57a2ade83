"""The field's CSV: a line `name: [18 y]: [18 x]` an image, -1 = missing, as the Deformable GAN, PATN and their successors use it.

Its precision is what stands in it: whole pixels when written here, no confidence. A joint above or left of the
image is written at its edge, because below 0 would read as missing.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from posegan.formats.annotation import Annotation, Keypoints, damaged, is_number, nobody, read_text
from posegan.skeleton import JOINT_COUNT

HEADER = "name:keypoints_y:keypoints_x"
_MISSING = -1


def read_keypoint_csv(path: Path) -> list[Annotation]:
    """Every image of the file, in order; confidence is 1 for a joint that is there.

    Raises:
        PoseGANError: no such file, another header, a row that is no name and two lists of 18 numbers, or a name
            that stands twice; file and line are named.
    """
    lines = read_text(path).splitlines()
    if not lines or lines[0].replace(" ", "") != HEADER:
        raise damaged(path, "line 1", f"expected the header {HEADER}, got {lines[0][:60] if lines else 'nothing'!r}{_way_out(lines)}")
    found: dict[str, int] = {}
    annotations = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            annotation = _annotation(path, number, line)
            if (first := found.setdefault(annotation.image, number)) != number:
                raise damaged(path, f"line {number}", f"{annotation.image} stands in line {first} already")
            annotations.append(annotation)
    return annotations


def _way_out(lines: list[str]) -> str:
    """What an error adds where it shows what somebody did."""
    first = lines[0] if lines else ""
    if first.count(":") == 2 and first.endswith("]"):
        return ": a row already; put that header above it"
    if "nose_x" in first:
        return ": a table of keypoints as a CSV; save it as Parquet (pandas: to_parquet)"
    return ""


def write_keypoint_csv(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write the annotations, in order, to `path`."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(HEADER + "\n")
        for annotation in annotations:
            y, x = _whole(annotation.keypoints, 1), _whole(annotation.keypoints, 0)
            file.write(f"{annotation.image}: {y}: {x}\n")


def _annotation(path: Path, number: int, line: str) -> Annotation:
    fields = [field.strip() for field in line.split(":")]
    if len(fields) != 3 or not fields[0]:
        raise damaged(path, f"line {number}", f"expected name:[y, ...]:[x, ...], got {line[:60]!r}")
    name, y, x = (fields[0], _numbers(path, number, fields[1]), _numbers(path, number, fields[2]))
    points = np.array([x, y, np.ones(JOINT_COUNT)], np.float32).T
    points[(points[:, :2] == _MISSING).any(axis=1)] = 0
    return Annotation(name, points, 1.0) if points.any() else nobody(name)


def _numbers(path: Path, number: int, text: str) -> list[float]:
    try:
        values = [float(value) for value in text.removeprefix("[").removesuffix("]").split(",")]
    except ValueError:
        values = []
    if not (text.startswith("[") and text.endswith("]")) or len(values) != JOINT_COUNT or not all(map(is_number, values)):
        raise damaged(path, f"line {number}", f"expected a list of {JOINT_COUNT} numbers, got {text[:60]!r}")
    return values


def _whole(keypoints: Keypoints, axis: int) -> list[int]:
    pixels = np.rint(keypoints[:, axis]).clip(0).astype(int)
    return [int(value) for value in np.where(keypoints[:, 2] > 0, pixels, _MISSING)]
