"""The pairs of the shards as one Parquet file with its images in it, as Hugging Face's `datasets` reads and shows it.

`datasets` reads WebDatasets whose samples all have the same files, and a sample of the shards has as many images as its person.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from posegan.data.index import CACHE, ShardIndex
from posegan.data.packed_tar import StoredSample
from posegan.files import atomic_path
from posegan.places import OUTPUT, WORKING_FOLDER, PlacedCommand

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_JOINTS = pa.list_(pa.list_(pa.float32()))
# What `datasets` makes of a column. "Sequence" is what every version of it knows a list by.
_SHOWN_IMAGE = {"_type": "Image"}
_SHOWN_JOINTS = {"_type": "Sequence", "feature": {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "float32"}}}
_COLUMNS = {
    "source_image": (_IMAGE, _SHOWN_IMAGE),
    "target_image": (_IMAGE, _SHOWN_IMAGE),
    "source_keypoints": (_JOINTS, _SHOWN_JOINTS),
    "target_keypoints": (_JOINTS, _SHOWN_JOINTS),
    "source": (pa.string(), {"_type": "Value", "dtype": "string"}),
    "target": (pa.string(), {"_type": "Value", "dtype": "string"}),
    "identity": (pa.int32(), {"_type": "Value", "dtype": "int32"}),
}
SCHEMA = pa.schema(
    [(name, kind) for name, (kind, _) in _COLUMNS.items()],
    metadata={
        "huggingface": json.dumps({"info": {"features": {name: shown for name, (_, shown) in _COLUMNS.items()}}}),
        "source, target": "member names in raw.zip",
        "keypoints": "18 joints of x, y (pixels of the image), confidence (0: missing)",
    },
)
_GROUP = 1000  # pairs, at least, that are read and held together
_DICTIONARY = 64 << 20  # bytes: within a group an image stands once as a source and once as a target, however many pairs it is in


@click.command("export-dataset", cls=PlacedCommand)
@click.argument("out", type=OUTPUT)
@click.option(
    "--shards", default="data/shards", show_default=True, help="Folder of the shard stage, or the address of a copy (https://, s3://)."
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", show_default=True, help="Which pairs.")
@click.option("--cache", type=WORKING_FOLDER, default=CACHE, show_default=True, help="Folder for shards fetched from an address.")
def export_dataset(out: Path, shards: str, split: str, cache: Path) -> None:
    """Write the pairs of a split with their images and keypoints to OUT, a Parquet file.

    Hugging Face's datasets reads it: load_dataset("parquet", data_files=OUT) gives a row a pair, its images as Pillow's.
    """
    index = ShardIndex.load(shards, cache)
    samples = index.split(split)
    stored = ((index.read(sample), sample.identity) for sample in tqdm(samples, "export", unit="sample", mininterval=0.5, disable=None))
    with atomic_path(out) as temporary, _writer(temporary) as writer:
        for group in _groups(_table(*each) for each in stored):
            writer.write_table(group)
    click.echo(f"export-dataset: {int(samples.pairs.sum()):,} {split} pairs of {len(set(samples.identities)):,} people written to {out}")


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", dictionary_pagesize_limit=_DICTIONARY)


def _table(sample: StoredSample, identity: int) -> pa.Table:
    """The pairs of one sample, a row each."""
    names, joints = np.array(sample.names), sample.keypoints
    images = pa.array([{"bytes": data, "path": name} for data, name in zip(sample.files, names, strict=True)], _IMAGE)
    rows = sample.pairs.T
    columns = [
        *(images.take(pa.array(part)) for part in rows),
        *(pa.array(joints[part].tolist(), _JOINTS) for part in rows),
        *(pa.array(names[part].tolist()) for part in rows),
        pa.array(np.full(len(sample.pairs), identity, np.int32)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined until they have enough rows for a group."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _GROUP:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
