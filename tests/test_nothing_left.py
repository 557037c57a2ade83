"""A stage that is left with nothing says so itself, with the reason and an example, and writes nothing."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.__main__ import cli
from pipeline.pair.stage import write_pairs
from pipeline.pose.rows import BAD_NAME, NO_JOINT, UNANNOTATED, Row, keypoints_table
from pipeline.pose.stage import refuse_nobody
from pipeline.raw_archive import parse_name
from pipeline.shard.stage import make_shards
from pipeline.tables import PAIRS_SCHEMA, write_table
from posegan.config import ShardConfig
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation
from posegan.formats.keypoint_csv import HEADER
from tests.support.small_market import Prepared, pair_config

SIZE = (64, 128)
PERSON = Annotation("", np.tile(np.array([[20, 30, 0.9]], np.float32), (18, 1)) + np.arange(18)[:, None] * [1, 4, 0], 0.9)


def row(name: str, status: str, detail: str | None) -> Row:
    split = "train" if "train" in name else "test"
    return Row(name, split, parse_name(name), SIZE, status, detail, PERSON if status == "ok" else None)


def names(folder: str, identities: int, images: int) -> list[str]:
    return [f"bounding_box_{folder}/{person + 1:04d}_c1s1_{image:06d}_01.jpg" for person in range(identities) for image in range(images)]


@pytest.mark.parametrize(
    ("status", "detail", "told"),
    [
        ("bad_name", BAD_NAME, "3 bad_name"),
        ("no_person", NO_JOINT, "every joint is missing, -1 or of confidence 0"),
        ("no_person", UNANNOTATED, "name the annotations of these images"),
        ("no_person", "the detector found no person", "name another detector in pose.weights"),
        ("unreadable", "damaged image", "get whole copies"),
    ],
)
def test_pose_ends_when_nobody_is_left(status: str, detail: str, told: str) -> None:
    some = names("train", 3, 1)
    table = keypoints_table([row(name, status, detail) for name in some])
    with pytest.raises(PoseGANError, match=f"raw.zip: no image has a person with joints .*, such as {some[0]}: ") as error:
        refuse_nobody(Path("raw.zip"), table)
    assert detail in str(error.value)
    assert told in str(error.value)
    refuse_nobody(Path("raw.zip"), keypoints_table([row(some[0], "ok", None), row(some[1], status, detail)]))


def paired(rows: list[Row], tmp_path: Path) -> dict[str, int]:
    write_table(tmp_path / "k.parquet", keypoints_table(rows), {})
    return write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", pair_config(), Path("params.yaml"))


def test_pair_advises_to_loosen_its_filters_only_where_these_left_something_out(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"no image has a person \(4 no_person\), such as .*_01\.jpg: the annotation") as nobody:
        paired([row(name, "no_person", NO_JOINT) for name in names("train", 2, 2)], tmp_path)
    with pytest.raises(PoseGANError, match=r"no image has a person \(it is empty\)"):
        paired([], tmp_path)
    with pytest.raises(PoseGANError, match="two images of one person in bounding_box_train, add images") as alone:
        paired([row(name, "ok", None) for name in names("train", 4, 1)], tmp_path)
    assert "loosen pair" not in str(nobody.value) + str(alone.value)
    weak = [row(name, "ok", None)._replace(person=PERSON._replace(confidence=0.01)) for name in names("train", 2, 2)]
    with pytest.raises(PoseGANError, match="loosen pair"):
        paired(weak, tmp_path)
    assert not (tmp_path / "p.parquet").exists()


def test_test_images_alone_are_enough_to_pair(tmp_path: Path) -> None:
    counts = paired([row(name, "ok", None) for name in names("test", 2, 2)], tmp_path)
    assert (counts["train_pairs"], counts["test_pairs"]) == (0, 4)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_import_and_export_of_nothing(prepared: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty.csv").write_text(HEADER + "\n")
    result = run("import-keypoints", tmp_path / "empty.csv", "--size", "64x128", "--out", out)
    assert result.exit_code == 1
    assert "empty.csv: annotate no image" in result.output
    missing = [-1] * 18
    (tmp_path / "none.csv").write_text(f"{HEADER}\n0002_c1s1_000451_03.jpg: {missing}: {missing}\n")
    result = run("import-keypoints", tmp_path / "none.csv", "--size", "64x128", "--out", out)
    assert (result.exit_code, f"nobody is left, mostly because {NO_JOINT}" in result.output) == (0, True), result.output
    write_table(tmp_path / "p.parquet", pa.table([["a"], ["b"], [1], ["train"]], schema=PAIRS_SCHEMA), {})
    result = run("export-pairs", tmp_path / "list.csv", "--pairs", tmp_path / "p.parquet")
    assert result.exit_code == 1
    assert "holds no pair of split test" in result.output
    assert not (tmp_path / "list.csv").exists()


def test_shards_are_not_made_of_images_of_another_size(prepared: Prepared, tmp_path: Path) -> None:
    small = io.BytesIO()
    Image.new("RGB", (16, 32)).save(small, "JPEG")
    with zipfile.ZipFile(prepared.raw) as old, zipfile.ZipFile(tmp_path / "raw.zip", "w") as other:
        for name in old.namelist():
            other.writestr(name, small.getvalue())
    config = ShardConfig(target_megabytes=4.0, maximum_images_per_sample=64)
    with pytest.raises(PoseGANError, match=r"_\d\d\.jpg has 16x32 pixels, and the table of keypoints says 32x64; take"):
        make_shards(tmp_path, tmp_path / "raw.zip", prepared.keypoints, prepared.pairs, config, None)
