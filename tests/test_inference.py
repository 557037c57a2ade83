"""Pose transfer on images of any size, with a detector that is told what to find."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from tiny_run import HEIGHT, WIDTH, random_batch, tiny_params

from posegan.checkpoint import save_generator
from posegan.data import to_float, to_uint8
from posegan.errors import PoseGANError
from posegan.estimator import PersonPose
from posegan.inference import Posed, PoseTransfer, read_posed
from posegan.networks import Generator
from posegan.skeleton import LEFT_HIP, RIGHT_SHOULDER


class TellingDetector:
    """Finds what it was told to find."""

    def __init__(self, person: PersonPose | None) -> None:
        self.person = person

    def estimate(self, images: Sequence[object]) -> list[PersonPose | None]:
        return [self.person for _ in images]


def person(seed: int) -> PersonPose:
    keypoints = random_batch(seed).target_keypoints[0].numpy()
    return PersonPose(keypoints, 0.9, np.array([0, 0, WIDTH, HEIGHT], np.float32))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    params = tiny_params()
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "generator.safetensors"
    save_generator(path, Generator(params.model, params.image), params.model, params.image, {})
    return path


@pytest.fixture(scope="module")
def transfer(model: Path) -> PoseTransfer:
    return PoseTransfer(model, "cpu")


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> PIL.Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize((width, height))


def test_draws_what_the_generator_draws(transfer: PoseTransfer) -> None:
    source, keypoints, target = picture(0), person(0).keypoints, person(1).keypoints
    image = transfer(source, keypoints, target)
    tensor = to_float(torch.from_numpy(np.asarray(source).copy()).permute(2, 0, 1)[None])
    with torch.no_grad():
        output = transfer.generator(tensor, torch.from_numpy(keypoints)[None], torch.from_numpy(target)[None])
    assert np.array_equal(np.asarray(image), to_uint8(output.image)[0].permute(1, 2, 0).numpy())
    assert np.array_equal(np.asarray(transfer(np.asarray(source), keypoints, target)), np.asarray(image))
    assert (image.height, image.width) == transfer.size == (HEIGHT, WIDTH)


def test_a_source_of_twice_the_size_gives_nearly_the_same(transfer: PoseTransfer) -> None:
    small = picture(0)
    large = small.resize((2 * WIDTH, 2 * HEIGHT), PIL.Image.Resampling.BICUBIC)
    keypoints, target = person(0).keypoints, person(1).keypoints
    doubled = keypoints.copy()
    doubled[:, :2] = 2 * keypoints[:, :2] + 0.5  # pixel centres
    first, second = (np.asarray(transfer(image, joints, target), float) for image, joints in ((small, keypoints), (large, doubled)))
    assert np.abs(first - second).mean() < 2


def test_poses_of_other_sizes_are_fitted(transfer: PoseTransfer) -> None:
    source = Posed(picture(0), person(0).keypoints)
    keypoints = person(1).keypoints.copy()
    tripled = keypoints.copy()
    tripled[:, :2] = 3 * keypoints[:, :2] + 1
    target = Posed(picture(1, 3 * HEIGHT, 3 * WIDTH), tripled)
    np.testing.assert_allclose(transfer.fitted(target).keypoints, keypoints, atol=1e-3)
    image = transfer.transfer(source, target)
    difference = np.asarray(image, int) - np.asarray(transfer(source.image, source.keypoints, keypoints), int)
    assert np.abs(difference).max() <= 1
    grid = transfer.grid(source, target, image)
    assert grid.width > 4 * WIDTH
    assert grid.height >= HEIGHT


def test_wrong_arrays_are_refused(transfer: PoseTransfer) -> None:
    keypoints = person(0).keypoints
    with pytest.raises(PoseGANError, match=r"target_keypoints: expected finite numbers of shape \(18, 3\)"):
        transfer(picture(0), keypoints, keypoints[:17])
    with pytest.raises(PoseGANError, match="source_keypoints"):
        transfer(picture(0), keypoints * np.float32("nan"), keypoints)
    with pytest.raises(PoseGANError, match="expected a uint8 array"):
        transfer(np.zeros((8, 8), np.uint8), keypoints, keypoints)


def test_a_missing_model_or_device_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="run make repro first"):
        PoseTransfer(tmp_path / "absent.safetensors")
    with pytest.raises(PoseGANError, match=r"device cuda:99.*set device to auto or cpu"):
        PoseTransfer(model, "cuda:99")


def test_read_posed_finds_the_person(tmp_path: Path) -> None:
    picture(0, 100, 80).save(tmp_path / "person.png")
    posed = read_posed(tmp_path / "person.png", TellingDetector(person(0)))
    assert posed.image.size == (80, 100)
    assert np.array_equal(posed.keypoints, person(0).keypoints)


def test_read_posed_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "street.png"
    with pytest.raises(PoseGANError, match=r"street\.png: no such file"):
        read_posed(path, TellingDetector(None))
    path.write_bytes(b"not an image")
    with pytest.raises(PoseGANError, match=r"street\.png: not a usable image"):
        read_posed(path, TellingDetector(None))
    picture(0).save(path)
    with pytest.raises(PoseGANError, match=r"street\.png: no person found"):
        read_posed(path, TellingDetector(None))
    hidden = person(0)
    hidden.keypoints[[RIGHT_SHOULDER, LEFT_HIP], 2] = 0
    with pytest.raises(PoseGANError, match=r"torso is not visible \(missing: right shoulder, left hip\)"):
        read_posed(path, TellingDetector(hidden))
