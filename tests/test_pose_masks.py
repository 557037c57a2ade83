"""Laws of the pose masks, pixel by pixel and by hand."""

import numpy as np
import pytest
import torch
from skimage.morphology import closing

from posegan.metrics.pose_masks import masked, pose_masks
from posegan.metrics.similarity import ssim
from posegan.skeleton import MASK_PAIRS
from tests.support.tiny_run import random_batch


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


@pytest.mark.parametrize("width", [32, 64, 70, 130])
def test_mask_agrees_with_its_definition(width: int) -> None:
    generator = torch.Generator().manual_seed(3)
    keypoints = torch.rand(2, 18, 3, generator=generator) * torch.tensor([width - 1.0, 63.0, 1.0])
    keypoints[:, ::5, 2] = 0
    masks = pose_masks(keypoints, 64, width)
    assert masks.shape == (2, 1, 64, width)
    for mask, joints in zip(masks, keypoints.numpy(), strict=True):
        differing = (mask[0].numpy() != slow_mask(joints.astype(float), 64, width)).mean()
        assert differing < 0.002  # a pixel whose distance is 4 up to rounding may fall on either side


def test_mask_of_one_joint_is_a_disc_and_of_none_is_empty() -> None:
    keypoints = torch.zeros(2, 18, 3)
    keypoints[0, 4] = torch.tensor([16.0, 20.0, 0.3])
    masks = pose_masks(keypoints, 48, 32)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(32), indexing="ij")
    disc = (x - 16) ** 2 + (y - 20) ** 2 <= 16
    assert (masks[0, 0] & disc).sum() == disc.sum()
    assert masks[0].sum() <= disc.sum() + 8  # the closing may fill corners between the disc's steps
    assert not masks[1].any()


def test_a_level_line_is_a_rectangle_with_round_ends() -> None:
    keypoints = torch.zeros(1, 18, 3)
    keypoints[0, 3], keypoints[0, 4] = torch.tensor([10.0, 20.0, 1.0]), torch.tensor([20.0, 20.0, 1.0])
    mask = pose_masks(keypoints, 40, 32)[0, 0]
    by_hand = torch.zeros(40, 32, dtype=torch.bool)
    for row, (first, last) in {0: (6, 24), 1: (7, 23), 2: (7, 23), 3: (8, 22), 4: (10, 20)}.items():
        by_hand[20 - row, first : last + 1] = by_hand[20 + row, first : last + 1] = True
    # The closing fills what a 5 x 5 square outside of the mask cannot reach: nothing of a convex shape but its steps.
    assert (mask & by_hand).sum() == by_hand.sum()
    assert mask.sum() - by_hand.sum() <= 8
    assert torch.equal(mask, mask.flip(0).roll(1, 0))  # about y = 20
    assert not mask[:, :6].any()
    assert not mask[:16].any()


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
