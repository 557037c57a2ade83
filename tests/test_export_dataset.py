"""The Parquet file of pairs: every pair of the split with the bytes and joints of the shards, and what `datasets` is told of it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from pipeline import export_dataset as module
from pipeline.__main__ import cli
from pipeline.tables import read_pairs
from posegan.formats.table import read_keypoints
from tests.support.small_market import Prepared


def export(out: Path, prepared: Prepared, split: str = "test") -> Result:
    return CliRunner().invoke(cli, ["export-dataset", str(out), "--shards", str(prepared.shards), "--split", split])


def test_a_row_is_a_pair_with_the_images_and_joints_of_the_archive(prepared: Prepared, tmp_path: Path) -> None:
    said = export(tmp_path / "p.parquet", prepared).output
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    wanted = [row for row in read_pairs(prepared.pairs).to_pylist() if row["split"] == "test"]
    assert said == f"export-dataset: {len(wanted)} test pairs of 4 people written to {tmp_path / 'p.parquet'}\n"
    assert [(row["source"], row["target"], row["identity"]) for row in rows] == [
        (row["source"], row["target"], row["identity"]) for row in wanted
    ]
    keypoints = read_keypoints(prepared.keypoints)
    joints = dict(zip(keypoints.table["image"].to_pylist(), keypoints.joints, strict=True))
    with zipfile.ZipFile(prepared.raw) as archive:
        for row in rows:
            for end in ("source", "target"):
                assert row[f"{end}_image"] == {"bytes": archive.read(row[end]), "path": row[end]}
                assert np.array_equal(np.array(row[f"{end}_keypoints"], np.float32), joints[row[end]])


def test_an_image_of_many_pairs_stands_in_the_file_twice(prepared: Prepared, tmp_path: Path) -> None:
    export(tmp_path / "p.parquet", prepared)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    once = sum(len(data) for data in {row["source_image"]["bytes"] for row in rows})
    of_images = 2 * once
    group = pq.ParquetFile(tmp_path / "p.parquet").metadata.row_group(0)
    stored = sum(group.column(number).total_compressed_size for number in range(4))  # bytes and path of either image
    assert stored < 1.2 * of_images < sum(len(row["source_image"]["bytes"]) for row in rows)


def test_datasets_is_told_of_every_column(prepared: Prepared, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "_GROUP", 20)  # 12 pairs a person: groups of two
    export(tmp_path / "p.parquet", prepared)
    file = pq.ParquetFile(tmp_path / "p.parquet")
    features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == file.schema_arrow.names
    assert [name for name, kind in features.items() if kind["_type"] == "Image"] == ["source_image", "target_image"]
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [24, 24]


def test_missing_shards_are_named(prepared: Prepared, tmp_path: Path) -> None:
    shards = tmp_path / "none"
    result = CliRunner().invoke(cli, ["export-dataset", str(tmp_path / "p.parquet"), "--shards", str(shards)])
    assert result.exit_code == 1
    assert "no such file" in result.output
    assert not (tmp_path / "p.parquet").exists()
