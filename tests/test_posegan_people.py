"""People read from files: each once, in any order, with the reason where there is none."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from posegan.errors import PoseGANError
from posegan.inference.jobs import People, Person
from posegan.inference.transfer import PoseTransfer
from posegan.people.estimator import PersonPose
from posegan.people.pose_library import library_pose
from posegan.skeleton import JOINTS
from tests.support.use_fixtures import write_model


class Counting:
    """Finds a standing person in every picture that is not black, and counts what it was shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def estimate(self, images: Sequence[Any]) -> list[PersonPose | None]:
        self.shown.append(len(images))
        return [
            PersonPose(library_pose("standing/front", image.height, image.width), 0.9, np.zeros(4, np.float32))
            if np.asarray(image).any()
            else None
            for image in images
        ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "g.safetensors")


@pytest.fixture
def detector() -> Counting:
    return Counting()


@pytest.fixture
def people(model: Path, detector: Counting) -> Iterator[People]:
    with People(PoseTransfer(model, "cpu", detector), keep_photos=True, remembered=3) as people:
        yield people


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(4):
        PIL.Image.new("RGB", (64 + number, 128), (50 * number + 1, 0, 0)).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(4)]


def test_each_file_is_its_own_person_and_is_looked_at_once(people: People, detector: Counting, files: list[Path]) -> None:
    people.expect(files[1:])
    found = people.read([files[1], files[0], files[1]])
    for path, person in found.items():
        assert isinstance(person, Person)
        assert person.path == path
        assert person.size == (64 + int(path.stem), 128)
        assert person.photo is not None
        assert person.photo.getpixel((0, 0)) == (50 * int(path.stem) + 1, 0, 0)
        assert person.fitted.pixels.shape == (128, 64, 3)
    assert detector.shown == [2]
    assert people.one(files[0]) is found[files[0]]
    assert detector.shown == [2]


def test_only_so_many_are_remembered(people: People, detector: Counting, files: list[Path]) -> None:
    people.read(files)
    people.read(files[1:])
    assert detector.shown == [4]
    people.one(files[0])
    assert detector.shown == [4, 1]


def test_more_than_are_remembered_are_still_all_read(people: People, files: list[Path]) -> None:
    assert list(people.read(files)) == files


def test_a_bad_file_spoils_no_other(people: People, files: list[Path], tmp_path: Path) -> None:
    PIL.Image.new("RGB", (64, 128)).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("hello")
    bad = [tmp_path / "black.png", tmp_path / "text.png", tmp_path / "absent.png"]
    found = people.read([*bad, files[0]])
    assert isinstance(found[files[0]], Person)
    for path, words in zip(bad, ("no person found", "not a usable image", "no such file"), strict=True):
        assert isinstance(found[path], PoseGANError)
        assert f"{path}: {words}" in str(found[path])
        with pytest.raises(PoseGANError, match=words):
            people.one(path)


def test_what_was_detected_is_described(people: People, files: list[Path]) -> None:
    described = people.one(files[2]).described()
    assert (described["width"], described["height"], described["confidence"]) == (66, 128, 0.9)
    assert list(described["keypoints"]) == list(JOINTS)
