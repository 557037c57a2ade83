"""keypoints.parquet: its schema and its one reader.

Legend: rows are images; K = 18 joints.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from posegan.errors import PoseGANError
from posegan.skeleton import JOINT_COUNT, JOINTS

KEYPOINT_COLUMNS = tuple(f"{joint}_{axis}" for joint in JOINTS for axis in ("x", "y", "confidence"))


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
        "status": "ok, no_person, unreadable, bad_name",
    },
)


_HOLDS = {"pose": "keypoints", "pair": "pairs"}  # what a stage's table holds


class Keypoints(NamedTuple):
    """keypoints.parquet in memory: its joints as (rows, 18, 3) float32 with confidence 0 = missing, and its other columns."""

    table: pa.Table
    joints: npt.NDArray[np.float32]


def read_keypoints(path: Path) -> Keypoints:
    """Read keypoints.parquet, also one that another program wrote with these columns in types that hold the same values.

    Raises:
        PoseGANError: no such file, or not a table of this schema.
    """
    head = pa.schema(list(KEYPOINTS_SCHEMA)[: -len(KEYPOINT_COLUMNS)])
    with open_parquet(path, "pose") as file:
        _refuse([field.name for field in KEYPOINTS_SCHEMA if field.name not in file.schema_arrow.names], path, "pose")
        joints = np.empty((file.metadata.num_rows, len(KEYPOINT_COLUMNS)), np.float32)
        others, start = [], 0
        for batch in file.iter_batches(columns=KEYPOINTS_SCHEMA.names):  # the wide columns never stand in memory beside the joints
            for number, name in enumerate(KEYPOINT_COLUMNS):
                column = _cast(batch, KEYPOINTS_SCHEMA.field(name), path)
                joints[start : start + batch.num_rows, number] = column.to_numpy(zero_copy_only=False)
            others.append(pa.RecordBatch.from_arrays([_cast(batch, field, path) for field in head], schema=head))
            start += batch.num_rows
        schema = head.with_metadata(file.schema_arrow.metadata)
    np.nan_to_num(joints, copy=False, nan=0.0)  # null = missing
    return Keypoints(pa.Table.from_batches(others, head).cast(schema), joints.reshape(-1, JOINT_COUNT, 3))


def _cast(batch: pa.RecordBatch, field: pa.Field, path: Path) -> pa.Array:
    column = batch[field.name]
    try:
        return column if column.type == field.type else column.cast(field.type)
    except pa.ArrowInvalid:
        _refuse([field.name], path, "pose")
        raise


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


def open_table(path: Path, schema: pa.Schema, stage: str) -> pq.ParquetFile:
    """A Parquet file, open, of just this schema.

    Raises:
        PoseGANError: no such file, not Parquet, or other columns; tells to run `stage`, which writes it.
    """
    file = open_parquet(path, stage)
    if not file.schema_arrow.equals(schema, check_metadata=False):
        file.close()
        _refuse([field.name for field in schema if field not in list(file.schema_arrow)] or ["their order"], path, stage)
    return file


def open_parquet(path: Path, stage: str) -> pq.ParquetFile:
    """A Parquet file, open; errors as `open_table`."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the {stage} stage first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise PoseGANError(
            f"{path}: not a table of {_HOLDS[stage]} ({str(error).splitlines()[0]}); the {stage} stage writes one"
        ) from error


def _refuse(columns: Sequence[str], path: Path, stage: str) -> None:
    if columns:
        raise PoseGANError(f"{path}: columns missing or of another type: {', '.join(columns[:5])}; the {stage} stage writes them all")
