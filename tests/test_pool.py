import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from posegan.config import ImageConfig
from posegan.data.index import ShardIndex
from posegan.data.reader import Reader, Skipped, image_ends, merged
from posegan.errors import PoseGANError
from posegan.formats.table import read_keypoints
from posegan.images import decode_image, fit_image, fit_keypoints
from tests.support.small_market import Prepared


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [(64, 32), (32, 32), (96, 64)])
def test_a_pool_holds_the_archives_pixels_and_the_tables_joints_at_the_asked_size(
    prepared: Prepared, size: tuple[int, int], threads: int
) -> None:
    index = ShardIndex.load(prepared.shards)
    table = read_keypoints(prepared.keypoints)
    joints = dict(zip(table.table["image"].to_pylist(), table.joints, strict=True))
    rows = np.array([2, 0, 3])
    with ThreadPoolExecutor(threads) as executor, zipfile.ZipFile(prepared.raw) as archive:
        reader = Reader(index, index.split("test"), ImageConfig(height=size[0], width=size[1]), executor, None)
        stored = reader.read(rows)
        whole = reader.decode(rows, stored)
        assert whole.names == [name for sample in stored if sample for name in sample.names]
        for pixels, keypoints, name in zip(*whole, strict=True):
            expected, fit = fit_image(decode_image(archive.read(name)), *size)
            assert np.array_equal(pixels.transpose(1, 2, 0), expected)
            assert np.array_equal(keypoints, fit_keypoints(joints[name], fit))
        some = np.array([0, 3, 4, 11])
        part = reader.decode(rows, stored, some)
    assert part.names == [whole.names[row] for row in some]
    assert np.array_equal(part.images, whole.images[some])
    assert np.array_equal(part.keypoints, whole.keypoints[some])


def test_skipped_samples_are_named_in_one_line_and_counted_once(prepared: Prepared, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared.shards, tmp_path / "shards"))
    index = ShardIndex.load(folder)
    samples = index.split("test")
    for path in folder.glob("test/*.tar.gz"):
        path.write_bytes(bytes(path.stat().st_size))
    skipped = Skipped()
    with ThreadPoolExecutor(2) as executor:
        for _ in range(2):
            stored = Reader(index, samples, prepared.image, executor, skipped).read(np.arange(len(samples)))
        assert stored == [None] * len(samples)
        assert image_ends(stored).tolist() == [0] * len(samples)
        with pytest.raises(PoseGANError, match=f"identity {samples[0].identity} "):
            Reader(index, samples, prepared.image, executor, None).read(np.arange(1))
    assert len(skipped) == len(samples) == 4
    assert skipped.summary().startswith(f"4 damaged samples (16 images, 48 pairs): identity {samples[0].identity} in {samples[0].shard}, ")
    assert len(merged([skipped, skipped, Skipped()])) == 4
    assert not merged([])
