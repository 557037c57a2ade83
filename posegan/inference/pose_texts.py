"""What `--pose` says: a built-in pose, a row of a file of keypoints, or a picture of somebody.

| text | means |
|---|---|
| `sitting/left` | a pose of `posegan.people.pose_library`, also where a folder is called so; `./sitting/left` is that folder |
| `keypoints.parquet#0002_c1s1_000451_03.jpg` | the row of that image in a table or in any other file of keypoints |
| `person_keypoints.json` | the only person of such a file |
| `somebody.jpg` | the pose of whom the detector finds there |
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from posegan.errors import PoseGANError
from posegan.formats.detect import detect_format, read_format
from posegan.formats.names import OwnNames
from posegan.formats.plausible import refuse_shares, refuse_unsaid_shares
from posegan.people.detection import Keypoints
from posegan.people.pose_library import POSES, pose_names
from posegan.places import is_there
from posegan.skeleton import TORSO

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2")  # of a folder; a named file may have any
TABLES = (".parquet", ".csv", ".json", ".txt")


class Row(NamedTuple):
    """A row of a file of keypoints."""

    keypoints: Keypoints
    size: tuple[int, int] | None  # width, height of its image, where the file says it; FRACTIONS for parts of it


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
    if not text.strip():
        raise PoseGANError("expected a pose, a picture or FILE#IMAGE, got nothing")
    path = folder / text
    if text in (*POSES, *pose_names()) and (path.is_dir() or not is_there(path)):
        return PoseText(text)
    if not is_there(path):
        if text.partition("/")[0] in POSES:
            return PoseText(text)
        marks = [place for place, character in enumerate(text) if character == "#"]  # which names may have as well
        if place := next((place for place in reversed(marks) if text[:place] and is_there(folder / text[:place])), 0):
            return PoseText(text, table=folder / text[:place], row=text[place + 1 :])
    elif path.is_dir() or path.suffix.lower() not in TABLES:
        return PoseText(text, table=path) if path.is_dir() else PoseText(text, picture=path)
    if path.suffix.lower() in TABLES:
        return PoseText(text, table=path)
    if path.suffix.lower() in PICTURES:
        return PoseText(text, picture=path)
    raise PoseGANError(f"{text}: no such file, and no built-in pose; poses are {', '.join(POSES)}, from a side such as standing/left")


@lru_cache(maxsize=256)
def read_row(table: Path, row: str, otherwise: str = "") -> Row:
    """The keypoints of the image `row` (its path or file name), else of the one `otherwise`; of the only one when `row` is empty.

    Raises:
        PoseGANError: no such row, several, a person without a whole torso, or a file that is not what it should be.
    """
    names, known, find = _rows(table)
    chosen = (known.find(row) or (known.find(otherwise) if otherwise else [])) if row else list(range(len(names)))
    if not chosen:
        example = f"such as {known.called(0)}" if names else "and this file has none"
        raise PoseGANError(f"{table}: has no row {row}; a row is named by its image, {example}")
    if len(chosen) > 1 and row:
        raise PoseGANError(f"{table}: {len(chosen)} rows are called {row}; name its folder too, such as {known.called(chosen[0])}")
    if len(chosen) > 1:
        raise PoseGANError(f"{table}: holds {len(chosen):,} rows; choose one as {table}#NAME, such as {known.called(0)}")
    found = find(chosen[0])
    if (found.keypoints[list(TORSO), 2] <= 0).any():
        raise PoseGANError(f"{table}, {names[chosen[0]]}: shoulders and hips are not all there; choose a row that has them")
    return found


@lru_cache(maxsize=4)
def _rows(path: Path) -> tuple[list[str], OwnNames, Callable[[int], Row]]:
    """The names of a file's images, the same to look them up in, and what finds the row at a position."""
    form = detect_format(path)
    names, files, find = _table(path) if form == "table" else _annotations(path, form)
    return names, OwnNames(names, files), find


def _annotations(path: Path, form: str) -> tuple[list[str], dict[str, str], Callable[[int], Row]]:
    annotations = read_format(path, form)
    refuse_unsaid_shares(path, annotations)
    return [annotation.image for annotation in annotations], {}, lambda number: Row(annotations[number].keypoints, annotations[number].size)


def _table(path: Path) -> tuple[list[str], dict[str, str], Callable[[int], Row]]:
    try:
        from posegan.formats.table import photo_files, read_keypoints
    except ImportError:
        raise PoseGANError(f"{path}: tables are read by pyarrow: pip install 'posegan[detect]', or name a CSV or JSON file") from None
    table, joints = read_keypoints(path)
    refuse_shares(str(path), joints)
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
    names = table["image"].to_pylist()
    return names, photo_files(table), lambda number: Row(joints[number], sizes[number] if all(sizes[number]) else None)
