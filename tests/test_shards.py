import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Prepared, prepare

from pipeline.tables import read_keypoints
from posegan.config import ImageConfig
from posegan.errors import PoseGANError
from posegan.images import decode_image, fit_image, fit_keypoints
from posegan.shards import ShardIndex, read_npy, read_sample


@pytest.mark.parametrize("size", [(64, 32), (32, 32), (96, 64)])
def test_a_sample_holds_the_archives_pixels_and_the_tables_joints(prepared: Prepared, size: tuple[int, int]) -> None:
    index = ShardIndex.load(prepared.shards)
    keypoints = read_keypoints(prepared.keypoints)
    joints = dict(zip(keypoints.table["image"].to_pylist(), keypoints.joints, strict=True))
    image = ImageConfig(height=size[0], width=size[1])
    with zipfile.ZipFile(prepared.raw) as archive:
        for sample in index.samples:
            decoded = read_sample(prepared.shards, sample, image)
            for row, name in enumerate(decoded.names):
                pixels, fit = fit_image(decode_image(archive.read(name)), *size)
                assert np.array_equal(decoded.images[row].transpose(1, 2, 0), pixels)
                assert np.array_equal(decoded.keypoints[row], fit_keypoints(joints[name], fit))


def test_the_hash_stands_for_the_content(prepared: Prepared, tmp_path: Path) -> None:
    other = prepare(tmp_path, images=3)
    assert ShardIndex.load(prepared.shards).sha256 == ShardIndex.load(prepared.shards).sha256
    assert ShardIndex.load(prepared.shards).sha256 != ShardIndex.load(other.shards).sha256


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_shard_is_named_before_it_is_read(prepared: Prepared, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(prepared.shards, tmp_path / "shards"))
    index = ShardIndex.load(folder)
    path = folder / index.samples[0].shard
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-512])
    if damage == "remove":
        path.unlink()
    with pytest.raises(PoseGANError, match=path.name):
        index.split(index.samples[0].split)


def test_a_corrupt_member_names_the_shard_and_the_identity(prepared: Prepared, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared.shards, tmp_path / "shards"))
    sample = ShardIndex.load(folder).samples[0]
    path = folder / sample.shard
    content = bytearray(path.read_bytes())
    for spoilt in (b"\xff\xd8\xff", b"\x93NUMPY", b'{"split"'):
        where = content.index(spoilt, sample.offset)
        broken = io.BytesIO(content)
        broken.seek(where)
        broken.write(bytes(len(spoilt)))
        path.write_bytes(broken.getvalue())
        with pytest.raises(PoseGANError, match=rf"{path.name}: identity {sample.identity} "):
            read_sample(folder, sample, prepared.image)


def test_an_index_of_other_shards_is_caught(prepared: Prepared) -> None:
    first, second = ShardIndex.load(prepared.shards).samples[:2]
    for wrong in (
        first._replace(key=second.key),
        first._replace(offset=first.offset + 1),
        first._replace(images=3),
        first._replace(size=600),
    ):
        with pytest.raises(PoseGANError, match="run the shard stage again"):
            read_sample(prepared.shards, wrong, prepared.image)


def test_an_empty_split_and_a_missing_index_are_named(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="no sample of split 'dev'"):
        ShardIndex.load(prepared.shards).split("dev")
    with pytest.raises(PoseGANError, match="run the shard stage first"):
        ShardIndex.load(tmp_path)
    (tmp_path / "index.parquet").write_bytes(b"x")
    with pytest.raises(PoseGANError, match="not an index"):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize(("dtype", "shape"), [("<f4", (5, 18, 3)), ("<i4", (0, 2)), ("<i4", (7, 2))])
def test_arrays_come_back_from_their_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    buffer = io.BytesIO()
    np.save(buffer, array)
    np.testing.assert_array_equal(read_npy(buffer.getvalue(), dtype, shape[1:]), array)
    other = "<f8" if dtype == "<f4" else "<i8"
    with pytest.raises(ValueError, match="expected an array"):
        read_npy(buffer.getvalue(), other, shape[1:])
    with pytest.raises(ValueError, match="expected an array"):
        read_npy(b"not an array", dtype, shape[1:])
