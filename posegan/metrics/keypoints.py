"""How well the pose found on an image agrees with the pose that was asked for.

Legend: B images, K = 18 joints. Keypoints are `(B, K, 3)` `x, y, confidence` in pixels, confidence 0 = missing.
"""

import torch
from torch import Tensor

from posegan.skeleton import HEAD, NECK

PCKH_SHARE = 0.5  # of the head's size
_HEAD_BOX = [NECK, *HEAD]  # what PATN's evaluation takes the head's size from


def pck(detected: Tensor, target: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Which target joints the detector found again (percentage of correct keypoints).

    Args:
        detected: `(B, K, 3)` joints found on the image; confidence 0 is not found.
        target: `(B, K, 3)` joints that should be there.
        threshold: `(B,)` pixels a joint may be off, per image.

    Returns:
        `hits` `(B, K)`, bool: visible in both and at most `threshold` apart; and `counted`
        `(B, K)`, bool: visible in the target. PCK is `hits.sum() / counted.sum()`.
    """
    counted = target[..., 2] > 0
    distance = (detected[..., :2] - target[..., :2]).norm(dim=-1)
    hits = counted & (detected[..., 2] > 0) & (distance <= threshold[:, None])
    return hits, counted


def pckh(detected: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """`pck` with half the head's size as the threshold; the head's size is the diagonal of its box (`head_boxes`).

    A pose whose head has no size (one visible joint, or none) is not counted.
    """
    hits, counted = pck(detected, target, PCKH_SHARE * head_boxes(target).norm(dim=-1))
    sized = _has_head(target)
    return hits & sized, counted & sized


def pckh_paper(detected: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """PCKh as PATN's evaluation counts it: off by less than half the head box's width in x and half its height in y."""
    size = head_boxes(target)[:, None]  # (B, 1, 2)
    near = ((detected[..., :2] - target[..., :2]).abs() < PCKH_SHARE * size).all(dim=-1)
    counted = (target[..., 2] > 0) & _has_head(target)
    return counted & near & (detected[..., 2] > 0), counted


def head_boxes(keypoints: Tensor) -> Tensor:
    """Width and height `(B, 2)` in pixels of the box around the visible ones of nose, neck, eyes and ears."""
    return _extent(keypoints[:, _HEAD_BOX])


def _has_head(keypoints: Tensor) -> Tensor:
    return ((keypoints[:, _HEAD_BOX, 2] > 0).sum(dim=1) >= 2)[:, None]


def _extent(keypoints: Tensor) -> Tensor:
    missing = keypoints[..., 2:] <= 0
    low = keypoints[..., :2].masked_fill(missing, torch.inf).amin(dim=1)
    high = keypoints[..., :2].masked_fill(missing, -torch.inf).amax(dim=1)
    return (high - low).clamp_min(0)
