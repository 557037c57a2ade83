"""`posegan transfer` on drawn people with the shipped detector, and on everything that is not a picture of one person."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from posegan.__main__ import cli
from posegan.commands.transfer import _listed_jobs
from posegan.files import NOTE, contents
from posegan.formats.annotation import Annotation
from posegan.formats.coco import write_coco
from posegan.formats.keypoint_csv import write_keypoint_csv
from posegan.people.detectors import shipped
from posegan.people.pose_library import library_pose
from posegan.skeleton import JOINTS
from tests.support import forked
from tests.support.tiny_run import ROOT
from tests.support.use_fixtures import drawn_person, photograph, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "g.safetensors")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for number in range(3):
        drawn_person(number).save(folder / f"p{number}.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["transfer", *map(str, arguments)], prog_name="posegan")


def pixels(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"), int)


def test_one_picture(model: Path, people: Path, tmp_path: Path) -> None:
    result = run(people / "p0.png", "--pose", people / "p1.png", "--out", tmp_path / "o.png", "--model", model)
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "o.png").shape == (128, 64, 3)
    assert run(people / "p0.png", "--pose", people / "p1.png", "--out", tmp_path / "g.jpg", "--grid", "--model", model).exit_code == 0
    assert pixels(tmp_path / "g.jpg").shape[1] > 4 * 64


def test_the_shipped_detector_has_a_name(model: Path, people: Path, tmp_path: Path) -> None:
    for detector in ("shipped", shipped().path):
        result = run(
            people / "p0.png",
            "--pose",
            "standing",
            "--out",
            tmp_path / f"{Path(detector).stem}.png",
            "--model",
            model,
            "--detector",
            detector,
        )
        assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(pixels(tmp_path / "shipped.png"), pixels(tmp_path / f"{shipped().path.stem}.png"))


def test_a_folder_is_its_pictures_one_by_one(model: Path, people: Path, tmp_path: Path) -> None:
    result = run(people, "--pose", "walking-3/left", "--out", tmp_path / "all", "--model", model, "--batch-size", 2)
    assert result.exit_code == 0, result.output
    for number in range(3):
        run(people / f"p{number}.png", "--pose", "walking-3/left", "--out", tmp_path / "one.png", "--model", model)
        assert np.abs(pixels(tmp_path / "one.png") - pixels(tmp_path / "all" / f"p{number}.png")).max() <= 1


def test_width_and_height_exchanged_in_a_file_of_poses_are_doubted_aloud(model: Path, people: Path, tmp_path: Path) -> None:
    write_coco(tmp_path / "k.json", [Annotation("a.jpg", library_pose("standing", 128, 64), 1.0)], {"a.jpg": (128, 64)})
    result = run(people / "p0.png", "--pose", f"{tmp_path}/k.json#a.jpg", "--out", tmp_path / "o.png", "--model", model)
    assert result.exit_code == 0 and "are width and height exchanged? 64x128 would hold them" in result.output, result.output


def test_results_may_be_called_as_their_pose_again_and_again(
    model: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        result = run(people, "--pose", "standing", "--out", "standing", "--model", model)
        assert result.exit_code == 0, result.output
    assert "a file of standing, which is read" in run(people, "--pose", "./standing", "--out", "standing", "--model", model).output


def test_pairs_from_a_list(model: Path, people: Path, tmp_path: Path) -> None:
    write_keypoint_csv(tmp_path / "k.csv", [Annotation("a.jpg", library_pose("standing/back", 128, 64), 1.0)])
    for file in people.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pairs.csv").write_text(
        "from,to\np0.png,p1.png\np0.png,sitting/left\np1.png,k.csv#a.jpg\np0.png,p1.png\nabsent.png,standing\n"
    )
    result = run("--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "out", "--model", model, "--format", "jpg")
    assert result.exit_code == 1
    assert "absent.png: no such file" in result.output
    assert "1 of 5 were not drawn" in result.output
    written = ["p0_to_p1-2.jpg", "p0_to_p1.jpg", "p0_to_sitting-left.jpg", "p1_to_a.jpg"]
    assert sorted(contents(tmp_path / "out") - {NOTE}) == written


def test_a_photograph_gets_its_person_back(model: Path, tmp_path: Path) -> None:
    photo = photograph(9)
    photo.save(tmp_path / "photo.png")
    assert run(tmp_path / "photo.png", "--pose", "standing", "--out", tmp_path / "o.png", "--paste", "--model", model).exit_code == 0
    changed = np.abs(pixels(tmp_path / "o.png") - np.asarray(photo, int)).max(axis=2) > 0
    assert changed.shape == (200, 300)
    assert changed[100, 150]
    assert not changed[:, :70].any()
    assert not changed[:, 230:].any()


def test_what_was_detected_as_json(model: Path, people: Path, tmp_path: Path) -> None:
    assert run(people / "p0.png", "--pose", "standing/left", "--out", tmp_path / "o.json", "--model", model).exit_code == 0
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["target"] == {"pose": "standing/left"}
    assert found["source"]["width"] == 64
    assert list(found["source"]["keypoints"]) == list(JOINTS)
    assert 0 < found["source"]["confidence"] <= 1


def test_the_newest_model_is_taken_and_named(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for age, name in enumerate(("new", "old")):
        path = write_model(tmp_path / "models" / f"{name}.safetensors", iterations=f"{age}7")
        os.utime(path, (10**9 - age, 10**9 - age))
    result = run(people / "p0.png", "--pose", "standing", "--out", "o.png")
    assert result.exit_code == 0
    assert "model: models/new.safetensors (128 x 64 pixels; trained for 07 iterations on unknown images)" in result.output


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("black.png", "no person found; use a picture in which one person is seen whole"),
        ("dot.png", "no person found"),
        ("huge.png", "64,000,000 allowed"),
        ("text.png", "not a usable image: not a JPEG, PNG, WebP or BMP image"),
        ("empty.jpg", "not a usable image: the file is empty"),
        ("absent.jpg", "no such file"),
    ],
)
def test_bad_pictures_end_with_one_sentence_and_no_file(model: Path, people: Path, tmp_path: Path, name: str, expected: str) -> None:
    PIL.Image.new("RGB", (64, 128)).save(tmp_path / "black.png")
    PIL.Image.new("RGB", (1, 1), "white").save(tmp_path / "dot.png")
    (tmp_path / "huge.png").write_bytes(huge_png(20_000, 20_000))
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for line in ((tmp_path / name, "--pose", "standing"), (people / "p0.png", "--pose", tmp_path / name)):
        result = run(*line, "--out", tmp_path / "o.png", "--model", model)
        assert result.exit_code == 1, result.output
        assert result.output.startswith("error: ")
        assert result.output.count("\n") == 1
        assert f"{name}: " in result.output
        assert expected in result.output
    assert sorted(tmp_path.iterdir()) == before


def test_wrong_models_and_places_are_named(model: Path, people: Path, tmp_path: Path) -> None:
    line = (people / "p0.png", "--pose", "standing", "--out", tmp_path / "o.png", "--model")
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:1000])
    assert "not a whole safetensors file" in run(*line, tmp_path / "cut.safetensors").output
    assert "a folder without model.safetensors" in run(*line, people).output
    (tmp_path / "file").write_text("")
    result = run(people, "--pose", "standing", "--out", tmp_path / "file", "--model", model)
    assert "expected a folder's name for 3 results" in result.output
    (tmp_path / "empty").mkdir()
    assert "holds no picture" in run(tmp_path / "empty", "--pose", "standing", "--out", tmp_path / "x", "--model", model).output


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_folder_that_cannot_be_written_is_named(model: Path, people: Path) -> None:
    result = run(people / "p0.png", "--pose", "standing", "--out", "/dev/full/o.png", "--model", model)
    assert result.exit_code == 1
    assert "o.png: could not be written" in result.output


def test_results_are_called_by_names_that_any_system_takes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    (tmp_path / "pairs.csv").write_text("from,to\na.jpg,t.csv#night/12:30?.jpg\na.jpg,standing/left\n")
    names = [job.out.name for job in _listed_jobs(tmp_path / "pairs.csv", tmp_path / "out", "png")]
    assert names == ["a_to_night-12-30-.png", "a_to_standing-left.png"]


def test_help_needs_no_torch() -> None:
    program = "import sys; from posegan.__main__ import cli; cli(['transfer', '--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--pairs" in shown
    assert not {"torch", "ultralytics"} & set(shown.split())


def test_ctrl_c_leaves_whole_files_only(model: Path, people: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(400):
        (tmp_path / "in" / f"{number:03}.png").symlink_to(people / "p0.png")
    line = ["-m", "posegan", "transfer", str(tmp_path / "in"), "--pose", "standing", "--out", str(tmp_path / "out")]
    with forked.started(*line, "--model", str(model), "--batch-size", "2") as process:
        while process.returncode is None and len(list(tmp_path.glob("out/*.png"))) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted; nothing half-written was left" in errors
    assert "Traceback" not in errors
    left = [path for path in (tmp_path / "out").iterdir() if path.name != NOTE]
    assert 3 <= len(left) < 400
    for path in left:
        assert pixels(path).shape == (128, 64, 3)


def test_of_a_folder_a_line_says_which_file_became_which(model: Path, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with PIL.Image.open(people / "p0.png") as image:
        exif = PIL.Image.Exif()
        exif[0x010E] = "a description that is longer than four bytes"
        image.save(folder / "a.tif")
        image.save(folder / "a.gif")
        image.save(folder / "b.jpg", exif=exif.tobytes()[:-30])  # Pillow warns of its EXIF, which tests take for an error
    (folder / "notes.txt").write_text("x")
    result = run(folder, "--pose", "standing", "--out", tmp_path / "out", "--model", model)
    assert result.exit_code == 0, result.output
    assert f"{folder / 'a.gif'}, standing: {tmp_path / 'out' / 'a.png'}" in result.output
    assert f"{folder / 'a.tif'}, standing: {tmp_path / 'out' / 'a-2.png'}" in result.output
    assert "1 left out that is no picture, such as notes.txt" in result.output
    assert "Warning" not in result.output


def test_names_that_are_no_text_are_drawn_and_told(model: Path, people: Path, tmp_path: Path) -> None:
    """A name of other bytes than UTF-8, or of two lines: in a process of its own, as its output is one of strict text."""
    folder, out = tmp_path / "odd", tmp_path / "out"
    folder.mkdir()
    data = next(people.iterdir()).read_bytes()
    for name in (b"\xe5sa.png", b"two\nlines.png"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(data)
    line = ["-m", "posegan", "transfer", folder, "--pose", "standing/front", "--model", model, "--out", out]
    for _ in range(2):  # the note beside them says whose they are
        ended = forked.run(*map(str, line))
        assert ended.returncode == 0, ended.stderr
        assert "\\udce5sa.png" in ended.stdout
        assert sorted(path.name for path in out.glob("*.png")) == ["_sa.png", "two_lines.png"]
