"""The tables between the stages: their Arrow schemas, and how they are written and read.

Files are the same bytes for the same content: no timestamps, fixed order, zstd. Units and frames stand in
the schema's metadata; `pandas.read_parquet` reads each into plain columns.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
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
        *(pa.field(name, pa.int64(), nullable=False) for name in ("offset", "size", "unpacked", "images", "pairs")),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("shard_sha256", pa.string(), nullable=False),
        pa.field("shard_bytes", pa.int64(), nullable=False),
    ],
    metadata={
        "shard": "path beside index.parquet",
        "offset, size, sha256": "of the sample's bytes in the shard: raw deflate, flushed at its end, which inflates to ...",
        "unpacked": "... so many bytes of tar: json, keypoints.npy, pairs.npy, 000.jpg, 001.jpg, ...",
    },
)
ORDER_SCHEMA = pa.schema(
    [pa.field("sample", pa.int32(), nullable=False), pa.field("pair", pa.int32(), nullable=False)],
    metadata={"sample": "row among those of the split in index.parquet", "pair": "row of the sample's pairs.npy"},
)


class Keypoints(NamedTuple):
    """keypoints.parquet in memory: its joints as (rows, 18, 3) float32 with confidence 0 = missing, and its other columns."""

    table: pa.Table
    joints: npt.NDArray[np.float32]


def write_blocks(path: Path, schema: pa.Schema, blocks: Iterable[pa.Table], counts: Mapping[str, int]) -> None:
    """As `write_table`, from tables that come one after the other, each a row group; `counts` is read after the last."""
    # Without Arrow's own copy of the schema, readers take its metadata from the footer, which is written last.
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd", store_schema=False) as writer:
        for block in blocks:
            writer.write_table(block)
        writer.add_key_value_metadata({**(schema.metadata or {}), b"counts": json.dumps(dict(counts)).encode()})


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
    with _open(path, KEYPOINTS_SCHEMA, "pose") as file:
        joints = np.empty((file.metadata.num_rows, len(KEYPOINT_COLUMNS)), np.float32)
        others, start = [], 0
        for batch in file.iter_batches():  # the wide columns never stand in memory beside the joints
            for number, name in enumerate(KEYPOINT_COLUMNS):
                joints[start : start + batch.num_rows, number] = batch[name].to_numpy(zero_copy_only=False)
            others.append(batch.drop_columns(KEYPOINT_COLUMNS))
            start += batch.num_rows
    np.nan_to_num(joints, copy=False, nan=0.0)  # null = missing
    schema = pa.schema(list(KEYPOINTS_SCHEMA)[: -len(KEYPOINT_COLUMNS)], file.schema_arrow.metadata)
    return Keypoints(pa.Table.from_batches(others, schema), joints.reshape(-1, JOINT_COUNT, 3))


def read_pairs(path: Path, row_groups: int = 0) -> pa.Table:
    """Read pairs.parquet, or only so many of its row groups, evenly spaced (0: all); errors as `read_keypoints`."""
    with _open(path, PAIRS_SCHEMA, "pair") as file:
        if row_groups == 0:
            return file.read()
        spaced = np.linspace(0, file.num_row_groups - 1, min(row_groups, file.num_row_groups))
        return file.read_row_groups(spaced.round().astype(int).tolist())


def pair_batches(path: Path) -> tuple[int, Iterator[pa.RecordBatch]]:
    """How many pairs pairs.parquet has, and the pairs, some hundred thousand at a time; errors as `read_keypoints`."""
    file = _open(path, PAIRS_SCHEMA, "pair")

    def batches() -> Iterator[pa.RecordBatch]:
        with file:
            yield from file.iter_batches(131_072)

    return file.metadata.num_rows, batches()


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


def _open(path: Path, schema: pa.Schema, stage: str) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the {stage} stage first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise PoseGANError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); run the {stage} stage again") from error
    if not file.schema_arrow.equals(schema, check_metadata=False):
        file.close()
        wrong = [field.name for field in schema if field not in list(file.schema_arrow)] or ["their order"]
        raise PoseGANError(f"{path}: columns missing or of another type: {', '.join(wrong[:5])}; run the {stage} stage again")
    return file
