"""Pose transfer on images of any size, with a detector that is told what to find."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from posegan.data import to_float, to_uint8
from posegan.errors import PoseGANError
from posegan.inference.transfer import PoseTransfer
from posegan.model.generator_file import save_generator
from posegan.model.networks import Generator
from posegan.people.detection import Posed
from posegan.people.estimator import PersonPose
from tests.support.tiny_run import HEIGHT, ROOT, WIDTH, random_batch, tiny_params


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
    image = transfer(source, target, keypoints)
    tensor = to_float(torch.from_numpy(np.asarray(source).copy()).permute(2, 0, 1)[None])
    with torch.no_grad():
        output = transfer.generator(tensor, torch.from_numpy(keypoints)[None], torch.from_numpy(target)[None])
    assert np.array_equal(np.asarray(image), to_uint8(output.image)[0].permute(1, 2, 0).numpy())
    assert np.array_equal(np.asarray(transfer(np.asarray(source), target, keypoints)), np.asarray(image))
    assert (image.height, image.width) == transfer.size == (HEIGHT, WIDTH)


def test_a_source_of_twice_the_size_gives_nearly_the_same(transfer: PoseTransfer) -> None:
    small = picture(0)
    large = small.resize((2 * WIDTH, 2 * HEIGHT), PIL.Image.Resampling.BICUBIC)
    keypoints, target = person(0).keypoints, person(1).keypoints
    doubled = keypoints.copy()
    doubled[:, :2] = 2 * keypoints[:, :2] + 0.5  # pixel centres
    first, second = (np.asarray(transfer(image, target, joints), float) for image, joints in ((small, keypoints), (large, doubled)))
    assert np.abs(first - second).mean() < 2


def test_poses_of_other_sizes_are_fitted(transfer: PoseTransfer) -> None:
    source = Posed(picture(0), person(0).keypoints)
    keypoints = person(1).keypoints.copy()
    tripled = keypoints.copy()
    tripled[:, :2] = 3 * keypoints[:, :2] + 1
    target = Posed(picture(1, 3 * HEIGHT, 3 * WIDTH), tripled)
    np.testing.assert_allclose(transfer.fit(target).keypoints, keypoints, atol=1e-3)
    image = transfer.transfer(source, target)
    difference = np.asarray(image, int) - np.asarray(transfer(source.image, keypoints, source.keypoints), int)
    assert np.abs(difference).max() <= 1
    grid = transfer.grid(source, target, image)
    assert grid.width > 4 * WIDTH
    assert grid.height >= HEIGHT


def test_wrong_arrays_are_refused(transfer: PoseTransfer) -> None:
    keypoints = person(0).keypoints
    with pytest.raises(PoseGANError, match=r"source_keypoints: expected finite numbers of shape \(18, 3\)"):
        transfer(picture(0), keypoints, keypoints[:17])
    with pytest.raises(PoseGANError, match="target: expected finite"):
        transfer(picture(0), keypoints * np.float32("nan"), keypoints)
    with pytest.raises(PoseGANError, match="expected a uint8 array"):
        transfer(np.zeros((8, 8), np.uint8), keypoints, keypoints)
    with pytest.raises(PoseGANError, match="target: expected one pose, or one for each of the 2 images, got 3"):
        transfer([picture(0), picture(1)], np.stack([keypoints] * 3), np.stack([keypoints] * 2))
    with pytest.raises(PoseGANError, match="flying: no such pose; poses are standing"):
        transfer(picture(0), "flying", keypoints)


def test_every_kind_of_picture_gives_the_same_drawing_in_its_own_kind(transfer: PoseTransfer) -> None:
    source, keypoints, target = picture(0), person(0).keypoints, person(1).keypoints
    pixels = np.asarray(source)
    expected = np.asarray(transfer(source, target, keypoints))
    as_array = transfer(pixels, target, keypoints)
    as_bytes = transfer(torch.from_numpy(pixels.copy()).permute(2, 0, 1), torch.from_numpy(target), torch.from_numpy(keypoints))
    as_shares = transfer(torch.from_numpy(pixels.copy()).permute(2, 0, 1).double() / 255, target, keypoints)
    assert as_array.dtype == np.uint8
    assert np.array_equal(as_array, expected)
    assert np.array_equal(as_bytes.permute(1, 2, 0).numpy(), expected)
    assert as_shares.dtype == torch.float64
    assert np.array_equal((as_shares * 255).round().permute(1, 2, 0).numpy(), expected)


def test_a_batch_is_its_pictures_one_by_one(transfer: PoseTransfer) -> None:
    pictures, keypoints = [picture(0), picture(1, 200, 90)], np.stack([person(0).keypoints, person(1).keypoints])
    targets = np.stack([person(2).keypoints, person(3).keypoints])
    together = transfer(pictures, targets, keypoints)
    assert isinstance(together, list)
    for image, source, target, joints in zip(together, pictures, targets, keypoints, strict=True):
        alone = transfer(source, target, joints)
        assert np.abs(np.asarray(image, int) - np.asarray(alone, int)).max() <= 1
    arrays = transfer(np.stack([np.asarray(pictures[0])] * 2), targets, np.stack([keypoints[0]] * 2))
    assert arrays.shape == (2, HEIGHT, WIDTH, 3)
    many = transfer(pictures[0], ["standing/back", "sitting"], keypoints[0])
    assert [image.size for image in many] == [(WIDTH, HEIGHT)] * 2
    assert transfer(np.asarray(pictures[0])[None], "standing", keypoints[:1]).shape == (1, HEIGHT, WIDTH, 3)


def test_poses_are_found_where_none_are_given(model: Path) -> None:
    found = person(0)
    transfer = PoseTransfer.from_pretrained(str(model), "cpu", TellingDetector(found))
    image = transfer(picture(0), picture(1))
    assert np.array_equal(np.asarray(image), np.asarray(transfer(picture(0), found.keypoints, found.keypoints)))
    nobody = PoseTransfer.from_pretrained(model, "cpu", TellingDetector(None))
    with pytest.raises(PoseGANError, match="image 0: no person found"):
        nobody([picture(0), picture(1)], "standing")


def test_the_library_alone_imports_no_detector_and_no_pipeline() -> None:
    program = "import sys, posegan; posegan.PoseTransfer; print(*sys.modules)"
    line = [sys.executable, "-c", program]
    modules = set(subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert "posegan.inference" in modules
    assert not modules & {"ultralytics", "pandas", "dvc", "dvclive", "pipeline", "cv2", "torchvision", "webdataset", "posegan.training"}


def test_a_missing_model_or_device_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="run make repro first"):
        PoseTransfer(tmp_path / "absent.safetensors")
    with pytest.raises(PoseGANError, match=r"device cuda:99.*set device to auto or cpu"):
        PoseTransfer(model, "cuda:99")
