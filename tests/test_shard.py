import gc
import io
import json
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from click.testing import CliRunner
from PIL import Image

from pipeline.pair.stage import Lists, make_pairs
from pipeline.shard.stage import make_shards, shard
from pipeline.tables import INDEX_SCHEMA, read_pairs, write_table
from posegan.config import ImageConfig, ShardConfig
from posegan.data.index import ShardIndex
from posegan.errors import PoseGANError
from posegan.formats.pair_csv import ListedPair
from posegan.formats.table import Keypoints, joint_columns, read_keypoints
from posegan.images import decode_image, encode_jpeg
from posegan.skeleton import TORSO
from tests.support.small_market import HEIGHT, WIDTH, Prepared, jpeg, pair_config, prepare

CONFIG = ShardConfig(target_megabytes=0.015, maximum_images_per_sample=64)


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
        unpacked = zlib.decompressobj(-15).decompress(content[row["offset"] : row["offset"] + row["size"]])
        assert len(unpacked) == row["unpacked"]
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
            members = tar.getmembers()
        assert {member.name.partition(".")[0] for member in members} == {row["key"]}
        assert len(members) == row["images"] + 3
        assert [member.name.partition(".")[2] for member in members[:3]] == ["json", "keypoints.npy", "pairs.npy"]


def test_sha256sum_checks_the_folder(prepared: Prepared) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=prepared.shards, capture_output=True, text=True)
    assert done.returncode == 0
    files = {path.relative_to(prepared.shards).as_posix() for path in prepared.shards.rglob("*") if path.is_file()}
    assert {line.removesuffix(": OK") for line in done.stdout.splitlines()} == files - {"SHA256SUMS"}


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


def test_shards_take_less_than_the_jpegs_in_them(tmp_path: Path) -> None:
    """At Market-1501's mean of 17 images an identity; whatever is not an image is less than what the JPEGs have in common."""
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for identity in range(1, 4):
            for number in range(17):
                name = f"bounding_box_train/{identity:04d}_c{number % 6 + 1}s1_{number:06d}_01.jpg"
                archive.writestr(name, jpeg(100 * identity + number, 128, 64))
        jpegs, names = sum(member.file_size for member in archive.infolist()), archive.namelist()
    generator = np.random.default_rng(0)
    joints = generator.uniform(0.1, 1, (len(names), 18, 3)).astype(np.float32) * np.array([63, 127, 1], np.float32)
    keypoints = keypoints_of(tmp_path / "keypoints.parquet", names, joints, (128, 64))
    write_table(tmp_path / "pairs.parquet", make_pairs(keypoints, pair_config()).table)
    make_shards(tmp_path / "shards", tmp_path / "raw.zip", tmp_path / "keypoints.parquet", tmp_path / "pairs.parquet", CONFIG, None)
    assert sum(path.stat().st_size for path in tmp_path.glob("shards/*/*.tar.gz")) < jpegs


def keypoints_of(path: Path, names: list[str], joints: np.ndarray, size: tuple[int, int]) -> Keypoints:
    count = len(names)
    columns = {name: [1] * count for name in ("camera", "sequence", "frame", "box")}
    columns |= {"image": names, "identity": [int(name.split("/")[1][:4]) for name in names], "height": [size[0]] * count}
    columns |= {"width": [size[1]] * count, "split": ["train"] * count, "status": ["ok"] * count, "detail": [None] * count}
    columns |= {"person_confidence": [1.0] * count, **joint_columns(joints, np.ones(count, dtype=bool))}
    from posegan.formats.table import KEYPOINTS_SCHEMA

    write_table(path, pa.table({name: columns[name] for name in KEYPOINTS_SCHEMA.names}, schema=KEYPOINTS_SCHEMA))
    return read_keypoints(path)


def test_a_list_of_test_pairs_keeps_its_order(prepared: Prepared, tmp_path: Path) -> None:
    keypoints = read_keypoints(prepared.keypoints)
    rows = [row for row in read_pairs(prepared.pairs).to_pylist() if row["split"] == "test"]
    chosen = [rows[number] for number in np.random.default_rng(0).permutation(len(rows))[:20]]
    listed = [ListedPair("here", row["source"].split("/")[1], row["target"].split("/")[1]) for row in [*chosen, chosen[3]]]
    table = make_pairs(keypoints, pair_config(), Lists(listed)).table
    write_table(tmp_path / "pairs.parquet", table)
    make_shards(tmp_path / "shards", prepared.raw, prepared.keypoints, tmp_path / "pairs.parquet", CONFIG, None)
    index = ShardIndex.load(tmp_path / "shards")
    samples = [index.read(sample) for sample in index.split("test")]
    order = index.order("test")
    assert order is not None
    assert index.order("val") is None
    found = [(samples[sample].names, samples[sample].pairs[pair]) for sample, pair in zip(*order, strict=True)]
    pairs = [(names[source].split("/")[1], names[target].split("/")[1]) for names, (source, target) in found]
    assert pairs == [(pair.source, pair.target) for pair in listed]


def test_another_archive_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("x", b"")
    with pytest.raises(PoseGANError, match=r"empty\.zip: has no member"):
        make_shards(tmp_path / "shards", tmp_path / "empty.zip", prepared.keypoints, prepared.pairs, CONFIG, None)
    content = bytearray(prepared.raw.read_bytes())
    with zipfile.ZipFile(prepared.raw) as archive:
        content[archive.getinfo(read_pairs(prepared.pairs)["source"][0].as_py()).header_offset + 200] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(PoseGANError, match=r"damaged\.zip: bounding_box_\w+/0.*damaged in the archive.*run the download stage again"):
        make_shards(tmp_path / "shards", tmp_path / "damaged.zip", prepared.keypoints, prepared.pairs, CONFIG, None)


def test_the_command_verifies(prepared: Prepared, tmp_path: Path) -> None:
    whole = CliRunner().invoke(shard, ["--verify", "--out", str(prepared.shards)])
    assert whole.exit_code == 0
    assert "all as they were written" in whole.output
    missing = CliRunner().invoke(shard, ["--verify", "--out", str(tmp_path)])
    assert isinstance(missing.exception, PoseGANError)
    assert "run the shard stage first" in str(missing.exception)


def stored(folder: Path, raw: Path, pairs: Path, keypoints: Path, image: ImageConfig) -> dict[str, tuple[bytes, np.ndarray]]:
    """What the shards hold of each image of `raw`, when they are made for a size: bytes and joints."""
    make_shards(folder, raw, keypoints, pairs, CONFIG, image)
    index = ShardIndex.load(folder)
    samples = [index.read(sample) for sample in index.samples]
    return {name: (data, joints) for each in samples for name, data, joints in zip(each.names, each.files, each.keypoints, strict=True)}


def test_images_of_the_asked_size_are_stored_byte_for_byte(prepared: Prepared, tmp_path: Path) -> None:
    found = stored(tmp_path, prepared.raw, prepared.pairs, prepared.keypoints, prepared.image)
    with zipfile.ZipFile(prepared.raw) as archive:
        assert all(data == archive.read(name) for name, (data, _) in found.items())
    for path in sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.tar.gz")):
        assert (tmp_path / path).read_bytes() == (prepared.shards / path).read_bytes()


def test_photos_of_twice_the_size_come_back_to_the_size_of_the_original(prepared: Prepared, tmp_path: Path) -> None:
    with zipfile.ZipFile(prepared.raw) as archive, zipfile.ZipFile(tmp_path / "raw.zip", "w") as double:
        named = {name: archive.read(name) for name in archive.namelist() if name.endswith("_01.jpg") and "_0009" not in name}
        named = {name: data for name, data in named.items() if not name.split("/")[1].startswith(("0000", "-1"))}
        for name, data in named.items():
            image = decode_image(data).resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
            double.writestr(name, encode_jpeg(np.asarray(image)))
    names = sorted(named)
    joints = np.random.default_rng(0).uniform(0.1, 0.9, (len(names), 18, 3)).astype(np.float32) * np.array([WIDTH, HEIGHT, 1], np.float32)
    torso = np.array([(0.3, 0.25), (0.7, 0.25), (0.35, 0.6), (0.65, 0.6)]) * (WIDTH, HEIGHT)
    joints[:, TORSO, :2], joints[:, TORSO, 2] = torso, 0.9  # of somebody who fills the picture
    doubled = np.concatenate([2 * joints[..., :2] + 0.5, joints[..., 2:]], axis=2)  # pixel centres
    keypoints = keypoints_of(tmp_path / "keypoints.parquet", names, doubled, (2 * HEIGHT, 2 * WIDTH))
    write_table(tmp_path / "pairs.parquet", make_pairs(keypoints, pair_config()).table)
    found = stored(tmp_path / "shards", tmp_path / "raw.zip", tmp_path / "pairs.parquet", tmp_path / "keypoints.parquet", prepared.image)
    rows = {name: row for row, name in enumerate(names)}
    assert len(found) > 20
    for name, (data, moved) in found.items():
        assert decode_image(data).size == (WIDTH, HEIGHT)
        assert np.abs(moved - joints[rows[name]]).max() < 1e-3
        assert np.abs(np.asarray(decode_image(data), float) - np.asarray(decode_image(named[name]), float)).mean() < 4
