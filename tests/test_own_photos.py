"""From a folder of photos to a picture of a trained model, by the commands themselves, at the sizes of the field."""

import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from pipeline.__main__ import cli as pipeline
from posegan.__main__ import cli as posegan
from posegan.data.index import ShardIndex
from posegan.formats.table import read_keypoints
from posegan.images import decode_image
from posegan.people.detectors import shipped
from tests.support.drawn_photos import write_people
from tests.support.tiny_run import tiny_params


def write_params(album: Path, height: int, width: int) -> None:
    tiny = tiny_params(
        image={"height": height, "width": width},
        pose={"weights": str(shipped().path), "device": "cpu"},  # drawn people, in photographs' size
        pair={"validation_identities": 0.3},
        train={"iterations": 2, "log_every": 1, "validate_every": 2, "sample_every": 2, "checkpoint_every": 2},
        evaluate={"pairs": 2, "grid_rows": 1},
    ).model_dump()
    tiny["dataset"] |= {"source": "folder", "path": str(album)}
    tiny["dataset"]["people"]["maximum_side"] = 320
    Path("params.yaml").write_text(yaml.safe_dump(tiny))


def run(command: object, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    write_people(folder, people=4, photos=3)
    (folder / "person 00" / "notes.txt").write_text("the best of them")
    return folder


@pytest.fixture(scope="module")
def paired(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stages ran that do not depend on the size of the images."""
    folder = tmp_path_factory.mktemp("paired")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(album, 128, 64)
        assert "13 files in: 12 images (9 train of 3 people, 3 test of 1 people), 1 unreadable" in run(pipeline, "download")
        assert "12 ok" in run(pipeline, "pose")
        run(pipeline, "pair")
    return folder


@pytest.mark.parametrize(("height", "width"), [(128, 64), (256, 176), (256, 256)])
def test_from_photos_to_a_picture(
    album: Path, paired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(paired / "data", "data")
    write_params(album, height, width)
    for stage in ("shard", "train", "evaluate"):
        run(pipeline, stage)

    index = ShardIndex.load(Path("data/shards"))
    assert {sample.split for sample in index.samples} == {"train", "val", "test"}
    joints = read_keypoints(Path("data/keypoints.parquet"))
    shapes = dict(zip(joints.table["image"].to_pylist(), torso_shapes(joints.joints), strict=True))
    for sample in index.samples:
        stored = index.read(sample)
        for name, shape in zip(stored.names, torso_shapes(stored.keypoints), strict=True):
            assert shape == pytest.approx(shapes[name], rel=1e-2)  # width and height were scaled alike

    source, pose = album / "person 00" / "photo 02.webp", album / "person 01" / "photo 00.png"
    run(posegan, "transfer", str(source), "--pose", str(pose), "--out", "out.png", "--device", "cpu")
    with Image.open("out.png") as picture:
        assert picture.size == (width, height)
    assert "/photo 0" in Path("reports/evaluation/index.html").read_text(encoding="utf-8")  # under each strip: what the user calls it
    assert decode_image(Path("reports/evaluation/grid.png").read_bytes()).width > 4 * width


def torso_shapes(keypoints):  # type: ignore[no-untyped-def]
    """Width over height of the diagonal from the right shoulder to the left hip, (rows,)."""
    across, down = (keypoints[:, 11, :2] - keypoints[:, 2, :2]).T
    return across / down
