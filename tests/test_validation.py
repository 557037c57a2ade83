"""What decides which weights are the best: a blurred target does not win, a sharp person drawn a little beside it does."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as transforms
from torch import Tensor

from posegan.training.loop import validation_scores
from tests.support.use_fixtures import drawn_person
from tests.test_geometry import poses

PEOPLE = 16


@pytest.fixture(scope="module")
def people() -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(drawn_person(seed)) for seed in range(PEOPLE)])).permute(0, 3, 1, 2)


def quality(images: Tensor, people: Tensor, name: str = "val_quality") -> float:
    return validation_scores(images, people, poses(1, noise=0).expand(PEOPLE, -1, -1))[name].mean().item()


def blurred(images: Tensor, sigma: float) -> Tensor:
    return transforms.gaussian_blur(images, [13, 13], [sigma, sigma])


def noised(images: Tensor, deviation: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + deviation * noise).round().clamp(0, 255).to(torch.uint8)


def hardened(images: Tensor, by: float) -> Tensor:
    """An unsharp mask: fine detail `by` times over on top."""
    return (images + by * (images.float() - blurred(images, 1.0))).round().clamp(0, 255).to(torch.uint8)


def test_the_target_is_the_best_and_blur_and_noise_cost(people: Tensor) -> None:
    assert quality(people, people) == 1
    blurs = [quality(blurred(people, sigma), people) for sigma in (0.5, 1.0, 2.0)]
    assert blurs == sorted(blurs, reverse=True) and blurs[0] < 1
    noises = [quality(noised(people, deviation), people) for deviation in (5, 15, 30)]
    assert noises == sorted(noises, reverse=True) and noises[0] < 1


def test_a_sharp_person_a_little_beside_wins_over_a_blurred_target(people: Tensor) -> None:
    beside, blur = people.roll((2, 2), (2, 3)), blurred(people, 1.0)
    assert quality(beside, people) > quality(blur, people) + 0.1
    assert quality(beside, people, "val_ssim") < quality(blur, people, "val_ssim")  # by which blur would win
    assert quality(beside, people, "val_l1") > quality(blur, people, "val_l1")
    for pattern in (noised(blur, 10), noised(blurred(people, 2.0), 20)):
        assert quality(beside, people) > quality(pattern, people) + 0.1


def test_harder_edges_than_the_targets_do_not_win(people: Tensor) -> None:
    beside = people.roll((2, 2), (2, 3))
    for image in (people, beside):
        worse = [quality(each, people) for each in (image, *(hardened(image, by) for by in (0.5, 1.0, 2.0, 4.0)))]
        assert worse == sorted(worse, reverse=True)
        assert worse[2] < 0.6 * worse[0]
    assert quality(hardened(people, 1.0), people, "val_sharpness") > 1.5
    assert quality(hardened(people, 1.0), people) < quality(beside, people)


def test_a_sharp_picture_of_somebody_else_does_not_win(people: Tensor) -> None:
    assert quality(people.roll(1, 0), people) < quality(people.roll((2, 2), (2, 3)), people)
