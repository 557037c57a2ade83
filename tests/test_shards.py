import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from posegan.data.index import CorruptSampleError, ShardIndex, read_checksums
from posegan.data.packed_tar import Sample
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.formats.table import read_keypoints
from tests.support.small_market import Prepared, prepare


@pytest.fixture
def folder(prepared: Prepared, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared.shards, tmp_path / "shards"))


def test_a_sample_holds_the_archives_bytes_and_the_tables_joints(prepared: Prepared) -> None:
    index = ShardIndex.load(prepared.shards)
    keypoints = read_keypoints(prepared.keypoints)
    joints = dict(zip(keypoints.table["image"].to_pylist(), keypoints.joints, strict=True))
    with zipfile.ZipFile(prepared.raw) as archive:
        for sample in index.samples:
            stored = index.read(sample)
            assert stored.files == [archive.read(name) for name in stored.names]
            assert np.array_equal(stored.keypoints, [joints[name] for name in stored.names])


def test_the_hash_stands_for_the_content(prepared: Prepared, tmp_path: Path) -> None:
    other = prepare(tmp_path, images=3)
    assert ShardIndex.load(prepared.shards).sha256 == ShardIndex.load(prepared.shards).sha256
    assert ShardIndex.load(prepared.shards).sha256 != ShardIndex.load(other.shards).sha256


def test_samples_are_the_rows_of_the_index(prepared: Prepared) -> None:
    rows = [Sample(**row) for row in pq.read_table(prepared.shards / "index.parquet").to_pylist()]
    index = ShardIndex.load(prepared.shards)
    assert list(index.samples) == rows
    assert index.samples[-2:] == rows[-2:]
    assert index.samples[-1] == rows[-1]
    assert index.splits == {split: sum(row.split == split for row in rows) for split in ("test", "train", "val")}
    samples = index.split("test")
    assert list(samples) == [row for row in rows if row.split == "test"]
    assert samples.pairs.tolist() == [row.pairs for row in samples]
    assert list(samples.shards()) == list(dict.fromkeys((row.shard, row.shard_sha256, row.shard_bytes) for row in samples))
    with pytest.raises(IndexError):
        samples[len(samples)]


@pytest.mark.parametrize("damage", ["cut", "remove"])
def test_a_cut_or_missing_shard_is_named_before_anything_is_read(folder: Path, damage: str) -> None:
    index = ShardIndex.load(folder)
    path = folder / index.samples[0].shard
    path.write_bytes(path.read_bytes()[:-512])
    if damage == "cut":
        index.split(index.samples[0].split, check_sizes=False)
    else:
        path.unlink()
    with pytest.raises(PoseGANError, match=f"{path.name}: .*run the shard stage again"):
        index.split(index.samples[0].split, check_sizes=damage == "cut")


def test_any_flipped_byte_of_a_sample_is_caught_with_the_shard_and_the_identity(folder: Path) -> None:
    index = ShardIndex.load(folder)
    first, second = index.split("test")[:2]
    path = folder / first.shard
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(first.offset, first.offset + first.size, 30):
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(CorruptSampleError, match=rf"{path.name}: identity {first.identity} .* is damaged"):
            index.read(first)
        index.read(second)
    path.write_bytes(content[: first.offset + first.size - 1])
    with pytest.raises(CorruptSampleError, match=f"identity {first.identity} "):
        index.read(first)
    path.unlink()
    with pytest.raises(PoseGANError, match="no such file"):
        index.read(first)


def test_an_index_of_other_samples_is_caught(prepared: Prepared) -> None:
    index = ShardIndex.load(prepared.shards)
    first, second = index.samples[:2]
    for wrong in (
        first._replace(key=second.key),
        first._replace(identity=second.identity),
        first._replace(offset=first.offset + 1),
        first._replace(images=3),
        first._replace(size=600),
        first._replace(unpacked=first.unpacked - 1),
    ):
        with pytest.raises(CorruptSampleError, match="run the shard stage again"):
            index.read(wrong)


def test_no_more_is_inflated_than_the_index_says(prepared: Prepared) -> None:
    index = ShardIndex.load(prepared.shards)
    with pytest.raises(CorruptSampleError, match="inflates to 101 bytes, expected 100"):
        index.read(index.samples[0]._replace(unpacked=100))


def test_an_empty_split_and_a_missing_or_changed_index_are_named(prepared: Prepared, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="no sample of split 'dev'"):
        ShardIndex.load(prepared.shards).split("dev")
    with pytest.raises(PoseGANError, match=r"SHA256SUMS: no such file.*run the shard stage first"):
        ShardIndex.load(tmp_path)
    path = folder / "index.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(PoseGANError, match=r"index\.parquet: its SHA-256 is .*run the shard stage again"):
        ShardIndex.load(folder)
    path.write_bytes(b"x")
    (folder / "SHA256SUMS").write_text(f"{sha256_of(path)}  index.parquet\n")
    with pytest.raises(PoseGANError, match="not an index"):
        ShardIndex.load(folder)
    (folder / "SHA256SUMS").write_text(f"{sha256_of(path)}  another.parquet\n")
    with pytest.raises(PoseGANError, match=r"does not name index\.parquet"):
        ShardIndex.load(folder)


@pytest.mark.parametrize("listing", [b"", b"x", b"<html>", b"ab  index.parquet\n", b"\xff  a\n", b"0" * 64 + b"  a\n" + b"0" * 64 + b"  b"])
def test_what_is_no_list_of_checksums_is_refused(listing: bytes) -> None:
    with pytest.raises(PoseGANError, match="here: not a list of SHA-256 sums"):
        read_checksums(listing, "here")


def test_a_list_of_checksums_is_read() -> None:
    assert read_checksums(b"0" * 64 + b"  a b\n" + b"1" * 64 + b"  c/d\n", "here") == {"a b": "0" * 64, "c/d": "1" * 64}
