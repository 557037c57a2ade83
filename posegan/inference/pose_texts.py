"""What `--pose` says: a built-in pose, a row of a file of keypoints, or a picture of somebody.

| text | means |
|---|---|
| `sitting/left` | a pose of `posegan.people.pose_library` |
| `keypoints.parquet#0002_c1s1_000451_03.jpg` | the row of that image in a table, a keypoint CSV, COCO or OpenPose JSON |
| `person_keypoints.json` | the only person of such a file |
| `somebody.jpg` | the pose of whom the detector finds there |
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from posegan.errors import PoseGANError
from posegan.formats.annotation import read_json
from posegan.formats.detect import detect_format, read_format
from posegan.formats.openpose import read_openpose_file
from posegan.formats.plausible import refuse_shares
from posegan.people.detection import Keypoints
from posegan.people.pose_library import POSES
from posegan.skeleton import TORSO

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
TABLES = (".parquet", ".csv", ".json")


class Row(NamedTuple):
    """A row of a file of keypoints."""

    keypoints: Keypoints
    size: tuple[int, int] | None  # width, height of its image, where the file says it


class PoseText(NamedTuple):
    """A text that was understood; exactly one of the two files is set, or neither for a built-in pose."""

    name: str
    picture: Path | None = None
    table: Path | None = None
    row: str = ""


def parse_pose(text: str, folder: Path = Path()) -> PoseText:
    """What a text means; file names count from `folder`.

    Raises:
        PoseGANError: neither a file nor a built-in pose.
    """
    path = folder / text
    if not path.exists():
        if text.partition("/")[0] in POSES:
            return PoseText(text)
        file, mark, row = text.rpartition("#")
        if mark and (folder / file).exists():
            return PoseText(text, table=folder / file, row=row)
    if path.is_dir() or path.suffix.lower() in TABLES:
        return PoseText(text, table=path)
    if path.exists() or path.suffix.lower() in PICTURES:
        return PoseText(text, picture=path)
    raise PoseGANError(f"{text}: no such file, and no built-in pose; poses are {', '.join(POSES)}, from a side such as standing/left")


@lru_cache(maxsize=256)
def read_row(table: Path, row: str) -> Row:
    """The keypoints of the image `row` (its path or file name), or of the only one when `row` is empty.

    Raises:
        PoseGANError: no such row, several, a person without a whole torso, or a file that is not what it should be.
    """
    names, find = _table(table) if not table.is_dir() and detect_format(table) == "table" else _annotations(table)
    chosen = [number for number, name in enumerate(names) if not row or _means(row, name)]
    if not chosen:
        known = f"such as {names[0]}" if names else "and this file has none"
        raise PoseGANError(f"{table}: has no row {row}; a row is named by its image, {known}")
    if len(chosen) > 1 and row:
        raise PoseGANError(f"{table}: {len(chosen)} rows are called {row}; name its folder too, such as {names[chosen[0]]}")
    if len(chosen) > 1:
        raise PoseGANError(f"{table}: holds {len(chosen):,} rows; choose one as {table}#NAME, such as {names[0]}")
    found = find(chosen[0])
    if (found.keypoints[list(TORSO), 2] <= 0).any():
        raise PoseGANError(f"{table}, {names[chosen[0]]}: shoulders and hips are not all there; choose a row that has them")
    return found


def _means(row: str, name: str) -> bool:
    path = PurePosixPath(name)
    known = {name, path.name, str(path.with_suffix("")), path.stem}  # OpenPose's names have no suffix
    return row in known or (not path.suffix and str(PurePosixPath(row).with_suffix("")) in known)


@lru_cache(maxsize=4)
def _annotations(path: Path) -> tuple[list[str], Callable[[int], Row]]:
    form = detect_format(path)
    if form == "coco" and isinstance(content := read_json(path), dict) and "people" in content:
        annotations = [read_openpose_file(path, path.stem)]
    else:
        annotations = read_format(path, form)
    if annotations:
        refuse_shares(str(path), np.stack([annotation.keypoints for annotation in annotations]))
    return [annotation.image for annotation in annotations], lambda number: Row(annotations[number].keypoints, None)


@lru_cache(maxsize=4)
def _table(path: Path) -> tuple[list[str], Callable[[int], Row]]:
    try:
        from posegan.formats.table import read_keypoints
    except ImportError:
        raise PoseGANError(f"{path}: tables are read by pyarrow: pip install 'posegan[detect]', or name a CSV or JSON file") from None
    table, joints = read_keypoints(path)
    refuse_shares(str(path), joints)
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
    return table["image"].to_pylist(), lambda number: Row(joints[number], sizes[number] if all(sizes[number]) else None)
