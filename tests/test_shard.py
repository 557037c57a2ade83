import gc
import hashlib
import io
import json
import tarfile
import zipfile
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from conftest import Prepared, prepare

from pipeline.shard import plan_pieces, write_shards
from pipeline.tables import INDEX_SCHEMA, PAIRS_SCHEMA, read_keypoints, read_pairs
from posegan.errors import PoseGANError


def pairs_of(sizes: list[int], split: str = "train") -> pa.Table:
    rows = [(f"{i:04d}/{a:03d}", f"{i:04d}/{b:03d}", i, split) for i, size in enumerate(sizes) for a, b in permutations(range(size), 2)]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=PAIRS_SCHEMA)


def named_pairs(pieces: list) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    return [(piece.images[source], piece.images[target]) for piece in pieces for source, target in piece.pairs]


@pytest.mark.parametrize("cap", [2, 3, 4, 7, 64])
def test_every_pair_stands_in_exactly_one_piece_under_the_cap(cap: int) -> None:
    table = pairs_of([2, 5, 9, 13])
    pieces = plan_pieces(table, cap)
    expected = list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))
    assert sorted(named_pairs(pieces)) == expected
    assert max(len(piece.images) for piece in pieces) <= cap
    assert len({piece.key for piece in pieces}) == len(pieces)
    assert not any(set(one.images) <= set(other.images) for one, other in permutations(pieces, 2))  # none is superfluous


def test_an_identity_under_the_cap_is_one_piece_with_each_image_once() -> None:
    pieces = plan_pieces(pairs_of([2, 5, 9]), 9)
    assert [len(piece.images) for piece in pieces] == [2, 5, 9]
    assert [len(set(piece.images)) for piece in pieces] == [2, 5, 9]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves the tars open
def test_plain_webdataset_reads_the_shards(prepared: Prepared) -> None:
    index = pq.read_table(prepared.shards / "index.parquet")
    keypoints = read_keypoints(prepared.keypoints)
    joints = dict(zip(keypoints.table["image"].to_pylist(), keypoints.joints, strict=True))
    urls = [str(prepared.shards / shard) for shard in dict.fromkeys(index["shard"].to_pylist())]
    seen: list[tuple[str, str]] = []
    with zipfile.ZipFile(prepared.raw) as archive:
        for sample in wds.WebDataset(urls, shardshuffle=False, empty_check=False):
            names = json.loads(sample["json"])["images"]
            stored = [sample[name] for name in sorted(sample) if name.endswith("jpg")]
            assert stored == [archive.read(name) for name in names]
            assert np.array_equal(np.load(io.BytesIO(sample["keypoints.npy"])), [joints[name] for name in names])
            seen += [(names[source], names[target]) for source, target in np.load(io.BytesIO(sample["pairs.npy"]))]
    gc.collect()
    table = read_pairs(prepared.pairs)
    assert sorted(seen) == list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


def test_the_index_gives_each_sample_by_its_place(prepared: Prepared) -> None:
    index = pq.read_table(prepared.shards / "index.parquet")
    assert index.schema.equals(INDEX_SCHEMA)
    for row in index.to_pylist():
        content = (prepared.shards / row["shard"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["shard_sha256"]
        assert len(content) == row["shard_bytes"]
        with tarfile.open(fileobj=io.BytesIO(content[row["offset"] : row["offset"] + row["size"]]), mode="r:") as tar:
            members = tar.getmembers()
        assert {member.name.partition(".")[0] for member in members} == {row["key"]}
        assert len(members) == row["images"] + 3
        assert [member.name.partition(".")[2] for member in members[:3]] == ["json", "keypoints.npy", "pairs.npy"]
        assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {(0, 0, 0, "posegan", 0o644)}


def test_the_same_inputs_give_the_same_bytes(prepared: Prepared, tmp_path: Path) -> None:
    again = prepare(tmp_path)
    files = sorted(path.relative_to(again.shards) for path in again.shards.rglob("*") if path.is_file())
    assert len(files) > 3
    assert all((again.shards / file).read_bytes() == (prepared.shards / file).read_bytes() for file in files)


@pytest.mark.parametrize(("target", "per_shard"), [(1.0, 1), (1e9, 100)])
def test_shards_end_at_the_target(tmp_path: Path, target: float, per_shard: int) -> None:
    index = pq.read_table(prepare(tmp_path, target).shards / "index.parquet").to_pylist()
    for split in ("train", "val", "test"):
        samples = [row["shard"] for row in index if row["split"] == split]
        assert len(set(samples)) == -(-len(samples) // per_shard)


def test_tables_of_another_archive_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    keypoints = read_keypoints(prepared.keypoints)
    strangers = plan_pieces(pairs_of([3]), 64)
    with zipfile.ZipFile(prepared.raw) as archive, pytest.raises(PoseGANError, match=r"0000/000: .*run pair again"):
        write_shards(tmp_path, strangers, keypoints, archive, 1e6)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("x", b"")
    pieces = plan_pieces(read_pairs(prepared.pairs), 64)
    with zipfile.ZipFile(tmp_path / "empty.zip") as archive, pytest.raises(PoseGANError, match=r"empty\.zip: has no member"):
        write_shards(tmp_path, pieces, keypoints, archive, 1e6)
