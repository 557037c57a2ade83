"""Who is in a picture, and what is said when nobody whole is."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from posegan.config import PoseConfig, load_params
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.people.detection import DEFAULTS, Named, load_detector, read_image, torso_of
from posegan.people.detectors import FOR_PHOTOGRAPHS, settled, shipped, verified_weights
from posegan.people.estimator import PersonPose
from posegan.skeleton import LEFT_HIP, RIGHT_SHOULDER
from tests.support.tiny_run import ROOT, random_batch


def person() -> PersonPose:
    return PersonPose(random_batch(0).target_keypoints[0].numpy(), 0.9, np.array([0, 0, 64, 128], np.float32))


def test_the_detector_without_a_params_file_is_that_of_the_params_file() -> None:
    assert PoseConfig.model_validate(DEFAULTS) == load_params(ROOT / "params.yaml").pose


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


def test_crops_are_for_the_shipped_detector_and_photographs_for_an_official_one() -> None:
    auto = PoseConfig.model_validate(DEFAULTS)
    crops = settled(auto, [(64, 128)] * 3 + [(1080, 1920)])
    assert (crops.weights, crops.sha256) == (str(shipped().path), shipped().sha256)
    assert settled(auto, [(64, 128), (1080, 1920), (3000, 2000)]).weights == FOR_PHOTOGRAPHS
    named = auto.model_copy(update={"weights": "yolo11x-pose.pt"})
    assert settled(named, [(64, 128)]) is named


def test_the_card_is_that_of_the_shipped_weights() -> None:
    assert sha256_of(shipped().path) == shipped().sha256
    assert shipped().path.stat().st_size < 7_000_000


def test_no_advice_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SHA-256 of another file is not mended by deleting the right one; what is needed beside the name is said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "posegan" / "weights" / "yolo11n-pose.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"official")
    assert verified_weights("yolo11n-pose.pt", "") == cached
    with pytest.raises(PoseGANError, match="pose.sha256 belongs to another file: for an official name set it to ''"):
        verified_weights("yolo11n-pose.pt", shipped().sha256)
    cached.write_bytes(b"changed")
    with pytest.raises(PoseGANError, match="the copy changed after its first download: delete"):
        verified_weights("yolo11n-pose.pt", "")


def test_what_cannot_be_fetched_names_every_key_that_another_file_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(PoseGANError, match=r"tests ask no network.*pose\.weights.*pose\.sha256.*pose\.image_size"):
        verified_weights("yolo11n-pose.pt", "")


class Blank:
    """Stands in for an estimator of the weights that it was given."""

    def __init__(self, config: PoseConfig) -> None:
        if config.weights == FOR_PHOTOGRAPHS:
            raise PoseGANError("no network")

    def estimate(self, images: list[PIL.Image.Image]) -> list[None]:
        return [None] * len(images)


def test_which_weights_look_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    crop, photo = PIL.Image.new("RGB", (64, 128)), PIL.Image.new("RGB", (640, 480))
    monkeypatch.setattr("posegan.people.estimator.PoseEstimator", Blank)
    auto = load_detector()
    assert isinstance(auto, Named)
    assert auto.looks_with(crop) == f"{shipped().path.name}, which comes with PoseGAN, for small crops of people"
    assert auto.looks_with(photo) == f"{FOR_PHOTOGRAPHS}, an official one for photographs"
    assert auto.estimate([crop, photo]) == [None, None]
    assert auto.looks_with(photo).endswith(f"since {FOR_PHOTOGRAPHS} could not be had")  # once that was tried
    named = load_detector(PoseConfig.model_validate({**DEFAULTS, "weights": "mine/people.pt"}))
    assert isinstance(named, Named) and named.looks_with(photo) == "people.pt"
    assert named.estimate([crop]) == [None]
