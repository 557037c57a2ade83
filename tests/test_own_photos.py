"""From a folder of photos to a picture of a trained model, by the commands themselves, at the sizes of the field."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from drawn_photos import write_people
from PIL import Image
from tiny_run import ROOT, tiny_params

from pipeline.__main__ import cli as pipeline
from pipeline.tables import read_keypoints
from posegan.__main__ import cli as posegan
from posegan.config import ImageConfig
from posegan.images import decode_image
from posegan.networks import level_sizes
from posegan.shards import ShardIndex, read_sample

STAGES = ("download", "pose", "pair", "shard", "train", "evaluate")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    write_people(folder, people=4, photos=3)
    (folder / "person 00" / "notes.txt").write_text("the best of them")
    return folder


def params(album: Path, height: int, width: int) -> dict:
    few = {"iterations": 2, "log_every": 1, "validate_every": 2, "sample_every": 2, "checkpoint_every": 2}
    tiny = tiny_params(
        image={"height": height, "width": width},
        pose={"weights": str(ROOT / "posegan" / "weights" / "yolo11n-pose-drawn.pt")},
        pair={"validation_identities": 0.3},
        train=few,
        evaluate={"pairs": 2},
    ).model_dump()
    tiny["dataset"] |= {"source": "folder", "path": str(album)}
    tiny["dataset"]["people"]["maximum_side"] = 320
    return tiny


@pytest.mark.parametrize(("height", "width"), [(128, 64), (256, 176), (256, 256)])
def test_from_photos_to_a_picture(album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(params(album, height, width)))
    outputs = {}
    for stage in STAGES:
        result = CliRunner().invoke(pipeline, [stage], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        outputs[stage] = result.output
    assert "13 files in: 12 images (9 train of 3 people, 3 test of 1 people), 1 unreadable" in outputs["download"]

    size = ImageConfig(height=height, width=width)
    index = ShardIndex.load(Path("data/shards"))
    assert {sample.split for sample in index.samples} == {"train", "val", "test"}
    for sample in index.samples:  # joints in the fitted image are those of the photo: the torso keeps its proportions
        decoded = read_sample(index.folder, sample, size)
        assert decoded.images.shape[2:] == (height, width)
    assert set(read_keypoints(Path("data/keypoints.parquet")).table["status"].to_pylist()) == {"ok"}
    assert pq.read_table("data/pairs.parquet").num_rows > 12

    source, pose = album / "person 00" / "photo 02.webp", album / "person 01" / "photo 00.png"
    arguments = ["transfer", str(source), "--pose", str(pose), "--out", "out.png", "--device", "cpu"]
    result = CliRunner().invoke(posegan, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with Image.open("out.png") as picture:
        assert picture.size == (width, height)
    assert decode_image(Path("reports/evaluation/grid.png").read_bytes()).width > 4 * width
    assert len(level_sizes(height, width)) == (6 if height == 128 else 7)
