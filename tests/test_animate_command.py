"""`posegan animate`: as many pictures as asked, from every source of poses."""

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from posegan.__main__ import cli
from posegan.formats.annotation import Annotation
from posegan.formats.keypoint_csv import write_keypoint_csv
from posegan.people.pose_library import library_pose
from tests.support.use_fixtures import drawn_person, photograph, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "g.safetensors")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("person") / "p.png"
    drawn_person(0).save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["animate", *map(str, arguments)], prog_name="posegan")


def test_a_walk_to_gif_and_strip(model: Path, person: Path, tmp_path: Path) -> None:
    result = run(person, "--poses", "walking/left", "--frames", 6, "--out", tmp_path / "w.gif", "--model", model)
    assert result.exit_code == 0, result.output
    with PIL.Image.open(tmp_path / "w.gif") as gif:
        assert gif.n_frames == 6
        assert gif.size == (128, 256)
        assert gif.info["loop"] == 0
    line = (person, "--poses", "standing,waving", "--frames", 4, "--out", tmp_path / "w.png", "--scale", 1, "--grid", "--model", model)
    assert run(*line).exit_code == 0
    with PIL.Image.open(tmp_path / "w.png") as strip:
        assert strip.width >= 4 * 3 * 64


def test_poses_from_a_folder_of_pictures(model: Path, person: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(3):
        photograph(3, (200 + 10 * number, 160)).save(tmp_path / "frames" / f"{number}.png")
    PIL.Image.new("RGB", (200, 160)).save(tmp_path / "frames" / "1b.png")  # nobody: put between its neighbours
    line = (person, "--poses", tmp_path / "frames", "--between", 2, "--out", tmp_path / "o.gif", "--model", model)
    result = run(*line)
    assert result.exit_code == 0, result.output
    assert "7 pictures written" in result.output
    for file in (tmp_path / "frames").iterdir():
        PIL.Image.new("RGB", (64, 128)).save(file)
    (tmp_path / "o.gif").unlink()
    result = run(*line)
    assert result.exit_code == 1
    assert "only 0 of 4 pictures show a whole torso" in result.output
    assert not (tmp_path / "o.gif").exists()


def test_wrong_words_are_refused(model: Path, person: Path, tmp_path: Path) -> None:
    assert "expected a name that ends in .gif, .mp4, .png" in run(person, "--poses", "walking", "--out", tmp_path / "o.avi").output
    for poses, expected in (
        ("flying", "no such pose"),
        (" ", "--poses: expected walking/SIDE, a list of poses"),
        ("walking/above", "no such side"),
        ("standing,flying/left", "no such pose"),
    ):
        result = run(person, "--poses", poses, "--out", tmp_path / "o.gif", "--model", model)
        assert result.exit_code == 1
        assert expected in result.output
    (tmp_path / "empty").mkdir()
    result = run(person, "--poses", tmp_path / "empty", "--out", tmp_path / "o.gif", "--model", model)
    assert "expected at least two pictures" in result.output


def test_a_folder_that_is_called_as_a_pose_is_not_taken_for_it(
    model: Path, person: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("standing", "walking"):
        (tmp_path / name).mkdir()
        result = run(person, "--poses", name, "--out", f"{name}.gif", "--frames", 2, "--model", model)
        assert result.exit_code == 0, result.output
    assert "expected at least two pictures" in run(person, "--poses", "./standing", "--out", "o.gif", "--model", model).output


def test_joints_that_lie_outside_of_the_source_are_told(model: Path, person: Path, tmp_path: Path) -> None:
    joints = library_pose("standing", 128, 64) * (1.5, 1.5, 1)
    write_keypoint_csv(tmp_path / "k.csv", [Annotation(person.name, joints.astype(np.float32), 1.0)])
    line = (person, "--poses", "walking/front", "--frames", 2, "--out", tmp_path / "o.gif", "--model", model)
    result = run(*line, "--keypoints", tmp_path / "k.csv")
    assert result.exit_code == 0 and re.search(r": \d+ of its 18 joints lie outside of the image, such as ", result.output), result.output


def test_what_a_folder_holds_and_is_not_shown_is_told(model: Path, person: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        photograph(3, (200 + 10 * number, 160)).save(folder / f"{number}.png")
    PIL.Image.new("RGB", (200, 160)).save(folder / "1b.png")
    (folder / "2b.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("x")
    result = run(person, "--poses", folder, "--frames", 6, "--out", tmp_path / "o.gif", "--model", model)
    assert result.exit_code == 0, result.output
    assert "1 of 7 pictures left out, from 4.png on; see --frames" in result.output
    assert f"{folder / '1b.png'}: no person found" in result.output
    assert "put between its neighbours" in result.output
    assert f"{folder / '2b.png'}: not a usable image" in result.output
    assert "1 left out that is no picture, such as notes.txt" in result.output
    assert "5 pictures written" in result.output
