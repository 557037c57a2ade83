import pickle
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.tables import read_pairs
from posegan.data.dataset import MarketPoseDataset
from posegan.errors import PoseGANError
from posegan.model.geometry import heatmaps
from tests.support.small_market import HEIGHT, WIDTH, Prepared, market


def dataset_of(prepared: Prepared, split: str = "train") -> MarketPoseDataset:
    return MarketPoseDataset(prepared.keypoints, prepared.pairs, prepared.raw, prepared.image, split=split)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_items_are_the_pairs_of_the_split_in_the_tables_order(prepared: Prepared, split: str) -> None:
    rows = [row for row in read_pairs(prepared.pairs).to_pylist() if row["split"] == split]
    dataset = dataset_of(prepared, split)
    assert len(dataset) == len(rows) > 0
    assert dataset.sources == [row["source"] for row in rows]
    assert dataset.targets == [row["target"] for row in rows]


def test_an_item_has_the_shapes_and_ranges_of_a_network(prepared: Prepared) -> None:
    item = dataset_of(prepared)[5]
    assert item.source_image.shape == item.target_image.shape == (3, HEIGHT, WIDTH)
    assert item.source_heatmap.shape == item.target_heatmap.shape == (18, HEIGHT, WIDTH)
    assert all(tensor.dtype == torch.float32 for tensor in item)
    assert item.source_image.abs().max() <= 1
    assert not item.source_heatmap[17].any()  # the joint that is missing everywhere


def test_the_heatmaps_are_those_of_the_images_joints(prepared: Prepared) -> None:
    dataset = dataset_of(prepared)
    item = dataset[5]
    for name, heatmap in ((dataset.sources[5], item.source_heatmap), (dataset.targets[5], item.target_heatmap)):
        keypoints = dataset.fitted(name)[1]
        assert torch.equal(heatmap, heatmaps(keypoints[None], HEIGHT, WIDTH, 6.0)[0])
    assert not torch.equal(item.source_heatmap, item.target_heatmap)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # from Python 3.12 on, beside threads
@pytest.mark.parametrize("begun", ["fork", "forkserver"])
def test_worker_processes_give_what_one_process_gives(prepared: Prepared, begun: str) -> None:
    dataset = dataset_of(prepared)
    dataset[0]  # the archive is open before the workers begin
    alone = list(DataLoader(dataset, batch_size=8))
    shared = list(DataLoader(dataset, batch_size=8, num_workers=2, multiprocessing_context=begun))
    assert len(alone) == len(shared) == 5
    assert all(torch.equal(a, b) for one, other in zip(alone, shared, strict=True) for a, b in zip(one, other, strict=True))


def test_a_pickled_dataset_works(prepared: Prepared) -> None:
    dataset = dataset_of(prepared)
    dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[3].target_image, dataset[3].target_image)


def test_wrong_input_is_named(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="no pair of split 'dev'"):
        dataset_of(prepared, "dev")
    with pytest.raises(PoseGANError, match=r"raw\.zip: no such file"):
        dataset_of(prepared._replace(raw=tmp_path / "raw.zip"))
    with pytest.raises(PoseGANError, match="not a table"):
        dataset_of(prepared._replace(pairs=prepared.raw))
    with pytest.raises(PoseGANError, match="not a zip"):
        dataset_of(prepared._replace(raw=prepared.pairs))


def test_another_archive_is_named(prepared: Prepared, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("x", b"")
    with pytest.raises(PoseGANError, match="has no member bounding_box_train"):
        dataset_of(prepared._replace(raw=tmp_path / "raw.zip"))[0]
    damaged = Path(shutil.copy(prepared.raw, tmp_path / "damaged.zip"))
    content = bytearray(damaged.read_bytes())
    with zipfile.ZipFile(damaged) as archive:
        header = archive.getinfo(dataset_of(prepared).sources[0]).header_offset
    content[header + 300] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(PoseGANError, match="CRC"):
        dataset_of(prepared._replace(raw=damaged))[0]


def test_joints_of_another_size_and_shares_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    """As in the shard stage: the archive's images are of another size than those that the joints were found in."""
    larger = market(tmp_path / "raw.zip", size=(2 * HEIGHT, 2 * WIDTH))
    with pytest.raises(
        PoseGANError, match=rf"raw\.zip: bounding_box_train/.* has {2 * WIDTH}x{2 * HEIGHT} pixels, .* says {WIDTH}x{HEIGHT};"
    ):
        dataset_of(prepared._replace(raw=larger))[0]
    table = pd.read_parquet(prepared.keypoints)
    places = [column for column in table if column.endswith(("_x", "_y"))]
    table[places] /= 200
    table.to_parquet(tmp_path / "k.parquet")
    with pytest.raises(PoseGANError, match=r"k\.parquet: all coordinates lie within 0\.\.1"):
        dataset_of(prepared._replace(keypoints=tmp_path / "k.parquet"))
