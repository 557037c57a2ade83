"""What `sharpness` is for: blur lowers it; noise and grids added to blur do not raise it; where things are does not count."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as transforms
from torch import Tensor

from posegan.metrics.pose_masks import pose_masks
from posegan.metrics.sharpness import sharpness
from tests.support.use_fixtures import drawn_person
from tests.test_geometry import poses

PEOPLE = 24
RAISED = 0.03  # what noise may add in the mean; to add nothing at all it would have to be in step with nothing anywhere


@pytest.fixture(scope="module")
def people() -> Tensor:
    pixels = np.stack([np.asarray(drawn_person(seed)) for seed in range(PEOPLE)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def masks() -> Tensor:
    return pose_masks(poses(1, noise=0).expand(PEOPLE, -1, -1), 128, 64)


def blurred(images: Tensor, sigma: float) -> Tensor:
    return transforms.gaussian_blur(images, [15, 15], [sigma, sigma])


def with_pattern(images: Tensor, pattern: Tensor, height: float) -> Tensor:
    return (images.float() + height * pattern).round().clamp(0, 255).to(torch.uint8)


def mean(images: Tensor, people: Tensor, masks: Tensor) -> float:
    return sharpness(images, people, masks).mean().item()


def pattern(name: str) -> Tensor:
    y, x = torch.meshgrid(torch.arange(128), torch.arange(64), indexing="ij")
    patterns = {
        "noise": torch.randn(PEOPLE, 3, 128, 64, generator=torch.Generator().manual_seed(0)),
        "checkerboard": ((x + y) % 2 * 2 - 1).float(),
        "columns": (x % 2 * 2 - 1).float(),
        "grid": ((x % 2 == 0) & (y % 2 == 0)).float() * 4 / 3 - 1 / 3,
        "shifted grid": ((x % 2 == 1) & (y % 2 == 0)).float() * 4 / 3 - 1 / 3,
    }
    return patterns[name]


def test_the_real_image_is_one_and_blur_is_below(people: Tensor, masks: Tensor) -> None:
    assert sharpness(people, people, masks).eq(1).all()
    scores = [mean(blurred(people, sigma), people, masks) for sigma in (0.5, 1.0, 2.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] < 0.6
    assert scores[2] < 0.25


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize(
    ("name", "height"), [("noise", 5), ("noise", 10), *((name, 20) for name in ("checkerboard", "columns", "grid", "shifted grid"))]
)
def test_what_blur_took_no_pattern_brings_back(name: str, height: float, sigma: float, people: Tensor, masks: Tensor) -> None:
    soft = blurred(people, sigma)
    assert mean(with_pattern(soft, pattern(name), height), people, masks) < mean(soft, people, masks) + RAISED


def test_nor_does_a_pattern_make_the_real_image_sharper(people: Tensor, masks: Tensor) -> None:
    for name in ("noise", "checkerboard", "grid"):
        assert mean(with_pattern(people, pattern(name), 10), people, masks) < 1 + RAISED


def test_a_sharp_picture_in_another_place_is_as_sharp(people: Tensor, masks: Tensor) -> None:
    assert mean(people.roll((2, 2), (2, 3)), people, masks) == pytest.approx(1, abs=0.1)
    others = sharpness(people.roll(1, 0), people, masks)
    assert 0.7 < others.median() < 1.4


def test_contrast_counts(people: Tensor, masks: Tensor) -> None:
    pale = (people.float() / 2 + 64).round().to(torch.uint8)
    assert mean(pale, people, masks) == pytest.approx(0.25, abs=0.02)


def test_without_detail_to_compare_with_it_is_not_defined() -> None:
    flat, empty = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    assert sharpness(flat, flat, ~empty).isnan().all()
    noisy = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert sharpness(noisy, noisy, empty).isnan().all()
    assert sharpness(flat, noisy, ~empty).eq(0).all()
