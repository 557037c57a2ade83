"""The tables between the stages: their Arrow schemas, and how they are written and read.

Files are the same bytes for the same content: no timestamps, fixed order, zstd. Units and frames stand in
the schema's metadata; `pandas.read_parquet` reads each into plain columns.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from posegan.files import atomic_path
from posegan.formats.parquet import conformed, open_parquet

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


def read_pairs(path: Path, row_groups: int = 0) -> pa.Table:
    """Read pairs.parquet, or only so many of its row groups, evenly spaced (0: all); errors as `pair_batches`."""
    with open_parquet(path, "pair", PAIRS_SCHEMA) as file:
        metadata = file.schema_arrow.metadata
        groups = np.arange(file.num_row_groups)
        if row_groups:
            groups = np.linspace(0, file.num_row_groups - 1, min(row_groups, file.num_row_groups)).round().astype(int)
        batches = [batch for _, batch in conformed(file, path, PAIRS_SCHEMA, groups.tolist())]
    return pa.Table.from_batches(batches, PAIRS_SCHEMA).replace_schema_metadata(metadata)


def pair_batches(path: Path) -> tuple[int, Iterator[pa.RecordBatch]]:
    """How many pairs pairs.parquet has, and the pairs, some ten thousand at a time.

    Raises:
        PoseGANError: no such file, not a table of these columns, or a value that cannot be, named by row and column.
    """
    file = open_parquet(path, "pair", PAIRS_SCHEMA)

    def batches() -> Iterator[pa.RecordBatch]:
        with file:
            for _, batch in conformed(file, path, PAIRS_SCHEMA):
                yield batch

    return file.metadata.num_rows, batches()


def read_counts(table: pa.Table) -> dict[str, int]:
    """The counts that `write_table` put into a table's metadata; empty when there are none."""
    counts: dict[str, int] = json.loads((table.schema.metadata or {}).get(b"counts", b"{}"))
    return counts
