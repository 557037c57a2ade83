"""Augmentation: names in the grammar, labels kept, the same files again, and a killed run that ends as one that was not."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import pipeline.augment as stage
from pipeline.__main__ import cli
from pipeline.augment import MANIFEST, TRAIN, chosen_poses, train_sources
from pipeline.raw_archive import parse_name
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.formats.table import read_keypoints
from tests.support.small_market import HEIGHT, WIDTH, Prepared, market
from tests.support.use_fixtures import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "g.safetensors")


def run(prepared: Prepared, model: Path, out: Path, *more: object) -> Result:
    line = ["augment", "--raw", prepared.raw, "--keypoints", prepared.keypoints, "--model", model, "--out", out, "--device", "cpu", *more]
    return CliRunner().invoke(cli, list(map(str, line)))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_labels_names_and_manifest(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "augmented"
    result = run(prepared, model, out, "--per-image", 3)
    assert result.exit_code == 0, result.output
    table = pq.read_table(out / MANIFEST)
    rows = table.to_pylist()
    sources = train_sources(read_keypoints(prepared.keypoints))
    assert len(rows) == 3 * len(sources) > 0
    assert sorted(row["image"] for row in rows) == sorted(f"{TRAIN}/{path.name}" for path in (out / TRAIN).iterdir())
    for row in rows:
        name, source = parse_name(row["image"]), parse_name(row["source"])
        assert name is not None
        assert source is not None
        assert (name.identity, name.camera, name.sequence) == (source.identity, source.camera, 9)
        assert (row["identity"], row["camera"], row["generated"]) == (source.identity, source.camera, True)
        assert row["pose"] != row["source"]
        assert row["pose"].startswith(TRAIN)
        assert sha256_of(out / row["image"]) == row["sha256"]
    with PIL.Image.open(out / rows[0]["image"]) as image:
        assert image.size == (64, 128)
    again = run(prepared, model, out, "--per-image", 3)
    assert "is complete" in again.output
    other = run(prepared, model, out, "--per-image", 2)
    assert other.exit_code == 1
    assert "drawings of other settings; remove it or choose another --out" in other.output


def test_with_the_real_images_beside_them(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "augmented"
    assert run(prepared, model, out, "--per-image", 1, "--with-real").exit_code == 0
    assert {path.name for path in out.iterdir()} == {MANIFEST, TRAIN, "bounding_box_test", "query"}
    real = [path for path in (out / TRAIN).iterdir() if "s9_" not in path.name]
    assert len(real) > 10


def test_a_killed_run_ends_as_one_that_was_not(prepared: Prepared, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_SOURCES_A_PART", 4)
    assert run(prepared, model, tmp_path / "whole", "--per-image", 2).exit_code == 0
    drawn, calls = stage._draw_part, []

    def kill_at_third(*arguments: object) -> object:
        calls.append(arguments[2])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return drawn(*arguments)

    monkeypatch.setattr(stage, "_draw_part", kill_at_third)
    assert run(prepared, model, tmp_path / "killed", "--per-image", 2).exit_code == 130
    assert not (tmp_path / "killed").exists()
    assert run(prepared, model, tmp_path / "killed", "--per-image", 2).exit_code == 0
    assert calls[3] == calls[2]  # finished parts were not drawn again
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not list(tmp_path.glob(".*.part"))


def test_poses_depend_on_seed_and_source_alone_and_spread() -> None:
    assert chosen_poses(3, 50, 4, 0, 17) == chosen_poses(3, 50, 4, 0, 17)
    assert chosen_poses(3, 50, 4, 0, 17) != chosen_poses(3, 50, 4, 1, 17)
    for source in range(6):
        chosen = chosen_poses(source, 6, 5, 0, source)
        assert sorted(chosen) == [other for other in range(6) if other != source]
    assert len(chosen_poses(0, 2, 9, 0, 0)) == 9
    counts = np.bincount([pose for source in range(2000) for pose in chosen_poses(source, 2000, 2, 0, source)], minlength=2000)
    assert counts.max() < 12


def test_too_few_people_are_named(prepared: Prepared) -> None:
    table = read_keypoints(prepared.keypoints)
    table.joints[:, 2] = 0
    with pytest.raises(PoseGANError, match="only 0 train images show a whole torso"):
        train_sources(table)


def test_what_is_hard_to_believe_of_the_joints_is_told(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(prepared.keypoints)
    table["nose_x"] *= 3
    table.to_parquet(tmp_path / "k.parquet")
    result = run(prepared._replace(keypoints=tmp_path / "k.parquet"), model, tmp_path / "out", "--per-image", 1)
    assert result.exit_code == 0 and "; joints outside of the image: " in result.output, result.output


def test_another_archive_than_the_joints_is_refused(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    larger = market(tmp_path / "raw.zip", size=(2 * HEIGHT, 2 * WIDTH))
    result = run(prepared._replace(raw=larger), model, tmp_path / "out")
    assert result.exit_code == 1
    assert f"has {2 * WIDTH}x{2 * HEIGHT} pixels, and the table of keypoints says {WIDTH}x{HEIGHT}; take the archive" in result.output
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("bounding_box_train/0002_c1s1_000451_03.jpg", b"")
    result = run(prepared._replace(raw=tmp_path / "other.zip"), model, tmp_path / "out")
    assert "other.zip: has no member bounding_box_train/" in result.output
    with zipfile.ZipFile(prepared.raw) as whole, zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, b"")
    result = run(prepared._replace(raw=tmp_path / "empty.zip"), model, tmp_path / "out")
    assert result.exit_code == 1
    assert "train images can be read, such as bounding_box_train/" in result.output
    assert not (tmp_path / "out").exists()
