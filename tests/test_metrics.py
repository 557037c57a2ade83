"""Laws of the metrics, and agreement with scikit-image."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.morphology import closing
from tiny_run import random_batch
from torch import Tensor

from posegan import metrics
from posegan.skeleton import MASK_PAIRS


def images(seed: int, count: int = 3) -> Tensor:
    """Random images with structure: noise upon large blocks."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(count, 3, 6, 4, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    noise = torch.rand(count, 3, 48, 32, generator=generator)
    return ((0.7 * blocks + 0.3 * noise) * 255).round().to(torch.uint8)


def as_arrays(batch: Tensor) -> list[np.ndarray]:
    return list(batch.permute(0, 2, 3, 1).numpy())


def test_identical_images_score_perfectly() -> None:
    same = images(0)
    keypoints = random_batch(0, 3).target_keypoints
    assert metrics.l1(same, same).tolist() == [0, 0, 0]
    assert metrics.psnr(same, same).tolist() == [math.inf] * 3
    torch.testing.assert_close(metrics.ssim(same, same), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(metrics.mask_ssim(same, same, keypoints), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("metric", [metrics.l1, metrics.psnr, metrics.ssim])
def test_symmetric_and_each_image_on_its_own(metric: Callable[[Tensor, Tensor], Tensor]) -> None:
    first, second = images(0), images(1)
    scores = metric(first, second)
    torch.testing.assert_close(metric(second, first), scores)
    alone = torch.cat([metric(first[i : i + 1], second[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, scores)


def test_ssim_and_psnr_agree_with_scikit_image() -> None:
    first, second = images(0), images(1)
    pairs = list(zip(as_arrays(first), as_arrays(second), strict=True))
    ssim = [
        structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2)
        for a, b in pairs
    ]
    np.testing.assert_allclose(metrics.ssim(first, second), ssim, atol=1e-5)
    np.testing.assert_allclose(metrics.psnr(first, second), [peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs], rtol=1e-6)


def test_closed_forms() -> None:
    black, white = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    assert metrics.l1(black, white).item() == 1
    assert metrics.psnr(black, white).item() == pytest.approx(0, abs=1e-6)
    assert metrics.l1(black, black + 51).item() == pytest.approx(0.2)
    assert metrics.psnr(black, black + 51).item() == pytest.approx(20 * math.log10(5), rel=1e-6)
    # Two flat images have no structure: what remains is the luminance term with C1 = (0.01 * 255)^2.
    c1 = (0.01 * 255) ** 2
    assert metrics.ssim(black, white).item() == pytest.approx(c1 / (255**2 + c1), rel=1e-6)


def slow_mask(keypoints: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask pixel by pixel, from its definition, closed by scikit-image."""
    mask = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            pixel = np.array([x, y], float)
            mask[y, x] = any(np.hypot(*(pixel - joint[:2])) <= 4 for joint in keypoints if joint[2] > 0)
            for start, end in ((keypoints[a], keypoints[b]) for a, b in MASK_PAIRS):
                length = np.hypot(*(end - start)[:2])
                if start[2] > 0 and end[2] > 0 and length > 0:
                    along = (end - start)[:2] / length
                    offset = pixel - start[:2]
                    progress, side = offset @ along, offset[0] * along[1] - offset[1] * along[0]
                    mask[y, x] |= 0 <= progress <= length and abs(side) <= 4
    return closing(mask, np.ones((5, 5), np.uint8)).astype(bool)


def test_mask_agrees_with_its_definition() -> None:
    generator = torch.Generator().manual_seed(3)
    keypoints = torch.rand(2, 18, 3, generator=generator) * torch.tensor([31.0, 63.0, 1.0])
    keypoints[:, ::5, 2] = 0
    masks = metrics.pose_masks(keypoints, 64, 32)
    assert masks.shape == (2, 1, 64, 32)
    for mask, joints in zip(masks, keypoints.numpy(), strict=True):
        differing = (mask[0].numpy() != slow_mask(joints.astype(float), 64, 32)).mean()
        assert differing < 0.002  # a pixel whose distance is 4 up to rounding may fall on either side


def test_mask_of_one_joint_is_a_disc_and_of_none_is_empty() -> None:
    keypoints = torch.zeros(2, 18, 3)
    keypoints[0, 4] = torch.tensor([16.0, 20.0, 0.3])
    masks = metrics.pose_masks(keypoints, 48, 32)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(32), indexing="ij")
    disc = (x - 16) ** 2 + (y - 20) ** 2 <= 16
    assert (masks[0, 0] & disc).sum() == disc.sum()
    assert masks[0].sum() <= disc.sum() + 8  # the closing may fill corners between the disc's steps
    assert not masks[1].any()


def test_mask_ssim_does_not_see_the_background() -> None:
    batch = random_batch(0)
    keypoints = batch.target_keypoints.clone()
    keypoints[:, 1:, 2] = 0
    keypoints[:, 0] = torch.tensor([30.0, 60.0, 1.0])
    changed = batch.target_images.clone()
    changed[..., :40, :] = 0
    torch.testing.assert_close(metrics.mask_ssim(changed, batch.target_images, keypoints), torch.ones(2, dtype=torch.float64))
    assert (metrics.ssim(changed, batch.target_images) < 0.8).all()


def test_pck_counts_visible_target_joints_within_the_threshold() -> None:
    target = torch.zeros(1, 18, 3)
    target[0, :4] = torch.tensor([[0.0, 0.0, 1.0], [10.0, 0.0, 1.0], [20.0, 0.0, 1.0], [30.0, 40.0, 1.0]])
    detected = target.clone()
    detected[0, 1, 0] += 3  # exactly at the threshold
    detected[0, 2, 0] += 3.01  # just beyond it
    detected[0, 3, 2] = 0  # in its place, but not found
    detected[0, 5] = torch.tensor([1.0, 1.0, 1.0])  # found, but not in the target
    hits, counted = metrics.pck(detected, target, torch.tensor([3.0]))
    assert hits[0].nonzero().flatten().tolist() == [0, 1]
    assert counted[0].nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert metrics.person_heights(target).tolist() == [40]
    assert metrics.person_heights(torch.zeros(1, 18, 3)).tolist() == [0]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        metrics.l1(images(0).float(), images(0).float())
    with pytest.raises(ValueError, match="one shape"):
        metrics.ssim(images(0), images(0, count=2))
    small = torch.zeros(1, 3, 10, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="11 x 11"):
        metrics.ssim(small, small)
