"""Laws of the pose masks, pixel by pixel and by hand."""

import numpy as np
import pytest
import torch
from skimage.morphology import closing

from posegan.metrics.pose_masks import masked, pose_masks
from posegan.metrics.similarity import ssim
from posegan.skeleton import MASK_PAIRS
from tests.support.tiny_run import random_batch
from tests.test_geometry import polygon


def slow_mask(keypoints: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask as the original has it: polygons and open discs, closed by scikit-image."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for joint in keypoints[keypoints[:, 2] > 0]:
        mask |= np.hypot(x - joint[0], y - joint[1]) < 4
    for start, end in ((keypoints[a], keypoints[b]) for a, b in MASK_PAIRS):
        line = (end - start)[:2]
        if start[2] > 0 and end[2] > 0 and line.any():
            across = 4 * np.array([-line[1], line[0]]) / np.hypot(*line)
            mask |= polygon(np.stack([start[:2] + across, start[:2] - across, end[:2] - across, end[:2] + across]), height, width)
    return closing(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)


@pytest.mark.parametrize("width", [32, 64, 70, 130])
def test_mask_agrees_with_its_definition(width: int) -> None:
    generator = torch.Generator().manual_seed(3)
    keypoints = torch.rand(2, 18, 3, generator=generator) * torch.tensor([width - 1.0, 63.0, 1.0])
    keypoints[:, ::5, 2] = 0
    masks = pose_masks(keypoints, 64, width)
    assert masks.shape == (2, 1, 64, width)
    for mask, joints in zip(masks, keypoints.numpy(), strict=True):
        assert np.array_equal(mask[0].numpy(), slow_mask(joints.astype(float), 64, width))


def test_whole_pixel_joints_have_the_original_s_edges() -> None:
    """Places on an edge are frequent there: upper and left edges belong to a rectangle, lower and right ones do not."""
    generator = torch.Generator().manual_seed(4)
    keypoints = torch.cat((torch.randint(8, 56, (12, 18, 2), generator=generator), torch.ones(12, 18, 1)), dim=2).float()
    keypoints[:, 3:14:3, 0] = keypoints[:, 2:13:3, 0]  # many upright lines
    masks = pose_masks(keypoints, 64, 64)[:, 0].numpy()
    expected = np.stack([slow_mask(joints.astype(float), 64, 64) for joints in keypoints.numpy()])
    assert (masks != expected).mean() < 2e-4  # slanting edges through pixel centres, by rounding


def test_mask_of_one_joint_is_a_disc_and_of_none_is_empty() -> None:
    keypoints = torch.zeros(2, 18, 3)
    keypoints[0, 4] = torch.tensor([16.0, 20.0, 0.3])
    masks = pose_masks(keypoints, 48, 32)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(32), indexing="ij")
    disc = (x - 16) ** 2 + (y - 20) ** 2 < 16
    assert (masks[0, 0] & disc).sum() == disc.sum()
    assert masks[0].sum() <= disc.sum() + 8  # the closing may fill corners between the disc's steps
    assert not masks[1].any()


def test_a_level_line_is_a_rectangle_with_round_ends() -> None:
    keypoints = torch.zeros(1, 18, 3)
    keypoints[0, 3], keypoints[0, 4] = torch.tensor([10.0, 20.0, 1.0]), torch.tensor([20.0, 20.0, 1.0])
    mask = pose_masks(keypoints, 40, 32)[0, 0]
    by_hand = torch.zeros(40, 32, dtype=torch.bool)
    for row, (first, last) in {0: (7, 23), 1: (7, 23), 2: (7, 23), 3: (8, 22)}.items():
        by_hand[20 - row, first : last + 1] = by_hand[20 + row, first : last + 1] = True
    by_hand[16, 10:20] = True  # the rectangle's upper edge; its lower and its right one are outside
    # The closing fills what a 5 x 5 square outside of the mask cannot reach: nothing of a convex shape but its steps.
    assert (mask & by_hand).sum() == by_hand.sum()
    assert mask.sum() - by_hand.sum() <= 8
    assert not mask[:, :7].any()
    assert not mask[:16].any()
    assert not mask[24:].any()


def test_shapes_that_leave_the_image_are_cut() -> None:
    keypoints = torch.zeros(2, 18, 3)
    keypoints[0, 3], keypoints[0, 4] = torch.tensor([-10.0, -5.0, 1.0]), torch.tensor([50.0, 60.0, 1.0])
    keypoints[1, 3], keypoints[1, 4] = torch.tensor([-50.0, 10.0, 1.0]), torch.tensor([-20.0, 10.0, 1.0])
    masks = pose_masks(keypoints, 40, 32)
    assert masks[0].any()
    assert not masks[1].any()


def test_mask_ssim_does_not_see_the_background() -> None:
    batch = random_batch(0)
    keypoints = batch.target_keypoints.clone()
    keypoints[:, 1:, 2] = 0
    keypoints[:, 0] = torch.tensor([30.0, 60.0, 1.0])
    changed = batch.target_images.clone()
    changed[..., :40, :] = 0
    masks = pose_masks(keypoints, *changed.shape[-2:])
    seen = ssim(masked(changed, masks), masked(batch.target_images, masks))
    torch.testing.assert_close(seen, torch.ones(2, dtype=torch.float64))
    assert (ssim(changed, batch.target_images) < 0.8).all()
