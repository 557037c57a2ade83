"""Who is in a picture, and what is said when nobody whole is."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from posegan.config import PoseConfig, load_params
from posegan.errors import PoseGANError
from posegan.people.detection import SHIPPED, read_image, torso_of
from posegan.people.estimator import PersonPose
from posegan.skeleton import LEFT_HIP, RIGHT_SHOULDER
from tests.support.tiny_run import ROOT, random_batch


def person() -> PersonPose:
    return PersonPose(random_batch(0).target_keypoints[0].numpy(), 0.9, np.array([0, 0, 64, 128], np.float32))


def test_the_detector_without_a_params_file_is_that_of_the_params_file() -> None:
    assert PoseConfig.model_validate(SHIPPED) == load_params(ROOT / "params.yaml").pose


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "street.png"
    with pytest.raises(PoseGANError, match=r"street\.png: no such file"):
        read_image(path)
    with pytest.raises(PoseGANError, match="a folder, where an image file was expected"):
        read_image(tmp_path)
    path.write_bytes(b"not an image")
    with pytest.raises(PoseGANError, match=r"street\.png: not a usable image"):
        read_image(path)
    PIL.Image.new("RGB", (64, 128)).save(path)
    assert read_image(path).size == (64, 128)


def test_a_torso_is_needed() -> None:
    assert np.array_equal(torso_of(person(), "street.png"), person().keypoints)
    with pytest.raises(PoseGANError, match=r"street\.png: no person found"):
        torso_of(None, "street.png")
    hidden = person()
    hidden.keypoints[[RIGHT_SHOULDER, LEFT_HIP], 2] = 0
    with pytest.raises(PoseGANError, match=r"torso is not visible \(missing: right shoulder, left hip\)"):
        torso_of(hidden, "street.png")
