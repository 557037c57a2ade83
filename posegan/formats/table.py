"""keypoints.parquet: its schema and its one reader.

Legend: rows are images; K = 18 joints.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from posegan.errors import PoseGANError
from posegan.formats.parquet import conformed, open_parquet, row_label
from posegan.skeleton import JOINT_COUNT, JOINTS

KEYPOINT_COLUMNS = tuple(f"{joint}_{axis}" for joint in JOINTS for axis in ("x", "y", "confidence"))

SPLITS = ("train", "test", "query")
STATUSES = ("ok", "no_person", "unreadable", "bad_name")

KEYPOINTS_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        *(pa.field(name, pa.int32()) for name in ("identity", "camera", "sequence", "frame", "box", "width", "height")),
        pa.field("status", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("person_confidence", pa.float32()),
        *(pa.field(name, pa.float32()) for name in KEYPOINT_COLUMNS),
    ],
    metadata={
        "units": "x, y: pixels of the image, origin at the centre of the top-left pixel; width, height: pixels",
        "missing": "a missing joint has confidence 0 and null x and y; all joints are null when status is not ok",
        "identity": "-1: junk box, 0: distractor",
        "status": ", ".join(STATUSES),
    },
)


_LARGEST = 1e6  # pixels; beyond it is damage
_NEEDED = ("identity", "camera", "width", "height", "person_confidence")  # where a row is ok
# Keys in the metadata of a table: as read, what counted as missing, in words; and how the files of own photos are called, JSON by image.
MENDED, PHOTOS = b"mended", b"photos"


class Keypoints(NamedTuple):
    """keypoints.parquet in memory: its joints as (rows, 18, 3) float32 with confidence 0 = missing, and its other columns."""

    table: pa.Table
    joints: npt.NDArray[np.float32]


def read_keypoints(path: Path) -> Keypoints:
    """Read keypoints.parquet, also one that another program wrote with these columns in types that hold the same values.

    A joint whose x, y or confidence is null is missing. Where that, or confidence 0, drops a number that is there, the metadata of the
    table says so under `MENDED`.

    Raises:
        PoseGANError: no such file, not a table of these columns, or a value that cannot be, named by row and column.
    """
    head = pa.schema(list(KEYPOINTS_SCHEMA)[: -len(KEYPOINT_COLUMNS)])
    with open_parquet(path, "pose", KEYPOINTS_SCHEMA) as file:
        joints = np.empty((file.metadata.num_rows, JOINT_COUNT, 3), np.float32)
        others, mended = [], list[str]()
        for start, batch in conformed(file, path, KEYPOINTS_SCHEMA):  # the wide columns never stand in memory beside the joints
            part = joints[start : start + batch.num_rows]
            for number, name in enumerate(KEYPOINT_COLUMNS):
                part[:, number // 3, number % 3] = batch.column(name).to_numpy(zero_copy_only=False)
            label = row_label(batch, start)
            refuse_values(path, batch, part, label)
            mended += [f"{JOINTS[joint]} in {label(row)}" for row, joint in zip(*np.nonzero(_mend(part)), strict=True)]
            others.append(pa.RecordBatch.from_arrays([batch.column(name) for name in head.names], schema=head))
        metadata = dict(file.schema_arrow.metadata or {})
    if mended:
        lack, count = ("1 joint lacks", "counts") if len(mended) == 1 else (f"{len(mended):,} joints lack", "count")
        metadata[MENDED] = f"{lack} x, y or a confidence above 0 and {count} as missing: {mended[0]}".encode()
    table = pa.Table.from_batches(others, head)
    _refuse_twice(path, table["image"])
    return Keypoints(table.cast(head.with_metadata(metadata or None)), joints)


def photo_files(table: pa.Table) -> dict[str, str]:
    """How the files of a user's own photos are called, by image; none where the table knows of none, as one that pandas wrote."""
    try:
        files = json.loads((table.schema.metadata or {}).get(PHOTOS, b"{}"))
    except ValueError:
        return {}
    return {str(image): str(file) for image, file in files.items()} if isinstance(files, dict) else {}


def row_name(table: pa.Table, row: int) -> str:
    """How a row of a table is called: its number, from 0 as pandas counts, its image, and the file where that is an own photo."""
    image = table["image"][row].as_py()
    file = photo_files(table).get(image)
    return f"row {row} ({image}{f', {file}' if file else ''})"


def with_photo_files(table: pa.Table, files: Mapping[str, str]) -> pa.Table:
    """The table with the names of the files of a user's own photos in its metadata, where there are any."""
    if not files:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), PHOTOS: json.dumps(dict(files))})


def other_size(origin: str, image: str, found: tuple[int, int], known: tuple[int, int]) -> PoseGANError:
    """The error of an `image` in an archive, `origin`, that has another (width, height) than the table of keypoints says."""
    return PoseGANError(
        f"{origin}: {image} has {found[0]}x{found[1]} pixels, and the table of keypoints says {known[0]}x{known[1]}; "
        "take the archive that its joints were found in, or import them with --raw"
    )


def refuse_values(path: Path, batch: pa.RecordBatch, joints: npt.NDArray[np.float32], label: Callable[[int], str]) -> None:
    """Raise `PoseGANError` at the first value of some rows that cannot be; joints (rows, 18, 3) have NaN for null."""

    def refuse(bad: npt.NDArray[np.bool_], column: str, expected: str) -> None:
        if len(rows := np.flatnonzero(bad)):
            value = batch.column(column)[int(rows[0])].as_py()
            raise PoseGANError(f"{path}, {label(int(rows[0]))}, {column}: {'empty' if value is None else value}; expected {expected}")

    def known(column: str) -> pa.Array:
        return batch.column(column)

    for column, allowed in (("split", SPLITS), ("status", STATUSES)):
        refuse(~compute.is_in(known(column), pa.array(allowed)).to_numpy(zero_copy_only=False), column, f"one of {', '.join(allowed)}")
    refuse(compute.equal(known("image"), "").to_numpy(zero_copy_only=False), "image", "the image's name in the archive")
    ok = compute.equal(known("status"), "ok").to_numpy(zero_copy_only=False)
    for column in _NEEDED:
        refuse(ok & known(column).is_null().to_numpy(zero_copy_only=False), column, "a number, since the row's status is ok")
    for column, least in (("identity", -1), ("camera", 0), ("width", 1), ("height", 1)):
        refuse(known(column).fill_null(least).to_numpy() < least, column, f"{least} or more")
    person = known("person_confidence").fill_null(0).to_numpy()
    refuse(~((person >= 0) & (person <= 1)), "person_confidence", "0 .. 1")
    for number, column in enumerate(KEYPOINT_COLUMNS):
        values = joints[:, number // 3, number % 3]
        if number % 3 == 2:
            refuse((values < 0) | (values > 1), column, "0 .. 1")
        else:
            refuse(np.abs(values) > _LARGEST, column, f"pixels, at most {_LARGEST:,.0f}")
    there = ~np.isnan(joints).any(axis=2) & (joints[..., 2] > 0)
    refuse(~ok & there.any(axis=1), "status", "ok, since joints are there")


def _mend(joints: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Make what is missing 0, 0, 0, in place; which joints (rows, K) lost a number that was there by it."""
    null = np.isnan(joints)
    missing = null.any(axis=2) | (joints[..., 2] == 0)
    placed = (np.nan_to_num(joints[..., :2]) != 0).any(axis=2)  # 0, 0 is how others write nowhere
    lost: npt.NDArray[np.bool_] = missing & (placed | (np.nan_to_num(joints[..., 2]) > 0))
    joints[missing] = 0
    return lost


def _refuse_twice(path: Path, images: pa.ChunkedArray) -> None:
    if len(images) == compute.count_distinct(images).as_py():
        return
    first: dict[str, int] = {}
    for row, image in enumerate(images.to_pylist()):
        if (other := first.setdefault(image, row)) != row:
            raise PoseGANError(f"{path}, row {row}, image: {image} stands in row {other} already; remove one of them")


def keypoints_of(table: pa.Table) -> Keypoints:
    """A table of `KEYPOINTS_SCHEMA` that this program made, as `read_keypoints` gives it."""
    columns = [table[name].to_numpy() for name in KEYPOINT_COLUMNS]
    joints = np.nan_to_num(np.stack(columns, axis=1).astype(np.float32)).reshape(-1, JOINT_COUNT, 3)
    return Keypoints(table.drop_columns(list(KEYPOINT_COLUMNS)), joints)


def joint_columns(joints: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Joints (rows, 18, 3) as the 54 wide columns, rounded to 3 decimals; rows that are not `known` are null."""
    rounded = np.round(joints.astype(np.float64), 3).astype(np.float32)
    missing = rounded[..., 2] <= 0
    columns = {}
    for number, name in enumerate(KEYPOINT_COLUMNS):
        joint, axis = divmod(number, 3)
        null = ~known if axis == 2 else ~known | missing[:, joint]
        columns[name] = pa.array(rounded[:, joint, axis], mask=null)
    return columns
