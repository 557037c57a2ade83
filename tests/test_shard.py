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
from conftest import HEIGHT, WIDTH, Prepared, prepare
from PIL import Image

from pipeline.shard import plan_pieces, write_shards
from pipeline.tables import INDEX_SCHEMA, PAIRS_SCHEMA, Keypoints, read_keypoints, read_pairs
from posegan.config import ImageConfig
from posegan.errors import PoseGANError
from posegan.images import decode_image, encode_jpeg
from posegan.shards import ShardIndex, read_sample
from posegan.skeleton import TORSO


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


def stored(folder: Path, raw: Path, prepared: Prepared, keypoints: Keypoints, image: ImageConfig) -> dict[str, tuple[bytes, np.ndarray]]:
    """What the shards hold of each image of `raw`, when they are made for a size: bytes and joints."""
    pieces = plan_pieces(read_pairs(prepared.pairs), 64)
    found = {}
    with zipfile.ZipFile(raw) as archive:
        index = write_shards(folder, pieces, keypoints, archive, 20_000, image)
    for row in index.to_pylist():
        with tarfile.open(folder / row["shard"]) as tar:
            content = {name.split(".", 1)[1]: tar.extractfile(name).read() for name in tar.getnames() if name.startswith(row["key"])}  # type: ignore[union-attr]
        joints = np.load(io.BytesIO(content["keypoints.npy"]))
        files = [content[name] for name in sorted(content) if name[0].isdigit()]
        found |= dict(zip(json.loads(content["json"])["images"], zip(files, joints, strict=True), strict=True))
    return found


def test_images_of_the_asked_size_are_stored_byte_for_byte(prepared: Prepared, tmp_path: Path) -> None:
    with zipfile.ZipFile(prepared.raw) as archive:
        found = stored(tmp_path, prepared.raw, prepared, read_keypoints(prepared.keypoints), ImageConfig(height=HEIGHT, width=WIDTH))
        assert all(data == archive.read(name) for name, (data, _) in found.items())
    for path in sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.tar")):
        assert (tmp_path / path).read_bytes() == (prepared.shards / path).read_bytes()


def test_photos_of_twice_the_size_come_back_to_the_size_of_the_original(prepared: Prepared, tmp_path: Path) -> None:
    keypoints = read_keypoints(prepared.keypoints)
    joints = keypoints.joints.copy()
    torso = np.array([(0.3, 0.25), (0.7, 0.25), (0.35, 0.6), (0.65, 0.6)]) * (WIDTH, HEIGHT)
    joints[:, TORSO, :2], joints[:, TORSO, 2] = torso, 0.9  # of somebody who fills the picture
    doubled = np.concatenate([2 * joints[..., :2] + 0.5, joints[..., 2:]], axis=2) * (joints[..., 2:] > 0)  # pixel centres
    table = keypoints.table
    for number, name in ((table.schema.get_field_index(name), name) for name in ("width", "height")):
        table = table.set_column(
            number, name, pa.array([None if side is None else 2 * side for side in table[name].to_pylist()], pa.int32())
        )
    with zipfile.ZipFile(prepared.raw) as archive, zipfile.ZipFile(tmp_path / "raw.zip", "w") as double:
        named = {name: archive.read(name) for name in archive.namelist() if name.endswith("_01.jpg") and "_0009" not in name}
        for name, data in named.items():
            image = decode_image(data).resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
            double.writestr(name, encode_jpeg(np.asarray(image)))
    size = ImageConfig(height=HEIGHT, width=WIDTH)
    found = stored(tmp_path, tmp_path / "raw.zip", prepared, Keypoints(table, doubled.astype(np.float32)), size)
    rows = {name: row for row, name in enumerate(table["image"].to_pylist())}
    assert len(found) > 20
    for name, (data, moved) in found.items():
        assert decode_image(data).size == (WIDTH, HEIGHT)
        assert np.abs(moved - joints[rows[name]]).max() < 1e-3
        assert np.abs(np.asarray(decode_image(data), float) - np.asarray(decode_image(named[name]), float)).mean() < 4


@pytest.mark.parametrize("size", [(64, 64), (96, 48), (48, 96)])
def test_the_loader_finds_fitted_images_as_they_were_stored(prepared: Prepared, tmp_path: Path, size: tuple[int, int]) -> None:
    image = ImageConfig(height=size[0], width=size[1])
    keypoints = read_keypoints(prepared.keypoints)
    found = stored(tmp_path, prepared.raw, prepared, keypoints, image)
    with zipfile.ZipFile(prepared.raw) as archive:
        index = write_shards(tmp_path, plan_pieces(read_pairs(prepared.pairs), 64), keypoints, archive, 20_000, image)
    pq.write_table(index, tmp_path / "index.parquet")
    for sample in ShardIndex.load(tmp_path).samples:
        decoded = read_sample(tmp_path, sample, image)
        for name, pixels, joints in zip(decoded.names, decoded.images, decoded.keypoints, strict=True):
            assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(decode_image(found[name][0])))
            assert np.array_equal(joints, found[name][1])
            visible = joints[joints[:, 2] > 0]
            assert ((visible[:, :2] > -0.5) & (visible[:, :2] < (size[1] - 0.5, size[0] - 0.5))).all()
