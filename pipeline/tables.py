"""The tables between the stages: their Arrow schemas, and how they are written and read.

Files are the same bytes for the same content: no timestamps, fixed order, zstd. Units and frames stand in
the schema's metadata; `pandas.read_parquet` reads each into plain columns.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from posegan.errors import PoseGANError
from posegan.files import atomic_path
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
PAIRS_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("identity", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ],
    metadata={"source, target": "member names in raw.zip", "split": "train, val, test"},
)
INDEX_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("identity", pa.int32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("offset", "size", "images", "pairs")),
        pa.field("shard_sha256", pa.string(), nullable=False),
        pa.field("shard_bytes", pa.int64(), nullable=False),
    ],
    metadata={"offset, size": "bytes of the whole sample (all its members) in the tar", "shard": "path beside index.parquet"},
)


class Keypoints(NamedTuple):
    """keypoints.parquet in memory: the table, and its joints as (rows, 18, 3) float32 with confidence 0 = missing."""

    table: pa.Table
    joints: npt.NDArray[np.float32]


def write_table(path: Path, table: pa.Table, counts: Mapping[str, int] | None = None) -> None:
    """Write a table as zstd Parquet, whole or not at all; `counts` go into the metadata as JSON under `counts`."""
    if counts is not None:
        metadata = {**(table.schema.metadata or {}), b"counts": json.dumps(dict(counts)).encode()}
        table = table.replace_schema_metadata(metadata)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_keypoints(path: Path) -> Keypoints:
    """Read keypoints.parquet.

    Raises:
        PoseGANError: no such file, or not a table of this schema.
    """
    table = _read(path, KEYPOINTS_SCHEMA, "pose")
    columns = np.stack([table[name].to_numpy() for name in KEYPOINT_COLUMNS], axis=1)
    joints = np.nan_to_num(columns.astype(np.float32), nan=0.0).reshape(-1, JOINT_COUNT, 3)
    return Keypoints(table, joints)


def read_pairs(path: Path) -> pa.Table:
    """Read pairs.parquet; errors as `read_keypoints`."""
    return _read(path, PAIRS_SCHEMA, "pair")


def read_counts(table: pa.Table) -> dict[str, int]:
    """The counts that `write_table` put into a table's metadata; empty when there are none."""
    counts: dict[str, int] = json.loads((table.schema.metadata or {}).get(b"counts", b"{}"))
    return counts


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


def _read(path: Path, schema: pa.Schema, stage: str) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the {stage} stage first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise PoseGANError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); run the {stage} stage again") from error
    if not table.schema.equals(schema, check_metadata=False):
        wrong = [field.name for field in schema if field not in list(table.schema)] or ["their order"]
        raise PoseGANError(f"{path}: columns missing or of another type: {', '.join(wrong[:5])}; run the {stage} stage again")
    return table
