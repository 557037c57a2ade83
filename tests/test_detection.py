"""Who is in a picture, and what is said when nobody whole is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from posegan.config import PoseConfig, load_params
from posegan.errors import PoseGANError
from posegan.people.detection import SHIPPED, read_posed
from posegan.people.estimator import PersonPose
from posegan.skeleton import LEFT_HIP, RIGHT_SHOULDER
from tests.support.tiny_run import ROOT, random_batch


class TellingDetector:
    """Finds what it was told to find."""

    def __init__(self, person: PersonPose | None) -> None:
        self.person = person

    def estimate(self, images: Sequence[object]) -> list[PersonPose | None]:
        return [self.person for _ in images]


def person() -> PersonPose:
    return PersonPose(random_batch(0).target_keypoints[0].numpy(), 0.9, np.array([0, 0, 64, 128], np.float32))


def test_the_detector_without_a_params_file_is_that_of_the_params_file() -> None:
    assert PoseConfig.model_validate(SHIPPED) == load_params(ROOT / "params.yaml").pose


def test_read_posed_finds_the_person(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (80, 100), "teal").save(tmp_path / "person.png")
    posed = read_posed(tmp_path / "person.png", TellingDetector(person()))
    assert posed.image.size == (80, 100)
    assert np.array_equal(posed.keypoints, person().keypoints)


def test_read_posed_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "street.png"
    with pytest.raises(PoseGANError, match=r"street\.png: no such file"):
        read_posed(path, TellingDetector(None))
    with pytest.raises(PoseGANError, match="a folder, where an image file was expected"):
        read_posed(tmp_path, TellingDetector(None))
    path.write_bytes(b"not an image")
    with pytest.raises(PoseGANError, match=r"street\.png: not a usable image"):
        read_posed(path, TellingDetector(None))
    PIL.Image.new("RGB", (64, 128)).save(path)
    with pytest.raises(PoseGANError, match=r"street\.png: no person found"):
        read_posed(path, TellingDetector(None))
    hidden = person()
    hidden.keypoints[[RIGHT_SHOULDER, LEFT_HIP], 2] = 0
    with pytest.raises(PoseGANError, match=r"torso is not visible \(missing: right shoulder, left hip\)"):
        read_posed(path, TellingDetector(hidden))
