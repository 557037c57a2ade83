"""The mask of mask-SSIM, mask-IS and mask-LPIPS: the surroundings of a pose.

Legend: B images, K = 18 joints, H, W height and width in pixels; S shapes of a pose (23 rectangles, 18 discs). Every shape is
convex, so each row of pixels meets it in one interval: B * S * H intervals stand for B * S * H * W pixels.
"""

import torch
from torch import Tensor

from posegan.skeleton import MASK_PAIRS

MASK_RADIUS = 4.0  # pixels: half width of the mask's rectangles and radius of its discs
MASK_CLOSING = 5  # pixels: side of the square that closes the gaps between them
_TINY = 1e-6  # pixels: of a direction, below which a line counts as parallel to the rows


def pose_masks(keypoints: Tensor, height: int, width: int) -> Tensor:
    """Masks `(B, 1, H, W)`, bool, around the poses `(B, K, 3)` (Ma et al., 2017, as the Deformable GAN's code has it).

    A rectangle of half width 4 px along each of the 23 joint pairs of `MASK_PAIRS` and a disc of
    radius 4 px at each visible joint, closed (dilated, then eroded) with a 5 x 5 square. A joint of
    confidence 0 contributes nothing.
    """
    joints = keypoints.double()  # a pixel on a shape's edge belongs to it, whatever float32 makes of the edge
    starts, ends = (joints[:, list(ends)] for ends in zip(*MASK_PAIRS, strict=True))  # (B, 23, 3) each
    rows = torch.arange(height, dtype=torch.float64, device=keypoints.device)  # (H,)
    intervals = [_rectangle_rows(rows, starts, ends), _disc_rows(rows, joints)]
    left, right = (torch.cat(bounds, dim=1) for bounds in zip(*intervals, strict=True))  # (B, S, H): empty where left > right
    return _closed(_union(left, right, width))[:, None]


def masked(images: Tensor, masks: Tensor) -> Tensor:
    """Images `(B, 3, H, W)` that are black outside of their masks `(B, 1, H, W)`."""
    return images * masks


def _rectangle_rows(rows: Tensor, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Where the rows meet the rectangles along lines (B, S, 3) to (B, S, 3): first and last x, (B, S, H) each."""
    line = (ends - starts)[..., :2]
    length = line.norm(dim=-1, keepdim=True)  # (B, S, 1)
    along_x, along_y = torch.split(line / length.clamp_min(_TINY), 1, dim=-1)  # (B, S, 1) each
    start_x, start_y = starts[..., 0:1], starts[..., 1:2]
    below = rows - start_y  # (B, S, H)
    # Both conditions are lines in x: 0 <= (x - start_x) along_x + below along_y <= length, and sideways likewise.
    first, last = _between(along_x, below * along_y, torch.zeros_like(length), length)
    near, far = _between(along_y, -below * along_x, torch.full_like(length, -MASK_RADIUS), torch.full_like(length, MASK_RADIUS))
    left, right = torch.maximum(first, near) + start_x, torch.minimum(last, far) + start_x
    drawn = (starts[..., 2:] > 0) & (ends[..., 2:] > 0) & (length > 0)
    return torch.where(drawn, left, torch.inf), torch.where(drawn, right, -torch.inf)


def _between(slope: Tensor, constant: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of x for which low <= slope * x + constant <= high; all or nothing where the slope is 0."""
    steep = slope.abs() > _TINY
    divisor = torch.where(steep, slope, 1.0)
    ends = (low - constant) / divisor, (high - constant) / divisor
    inside = (constant >= low) & (constant <= high)
    everything = torch.where(inside, torch.inf, -torch.inf)
    return torch.where(steep, torch.minimum(*ends), -everything), torch.where(steep, torch.maximum(*ends), everything)


def _disc_rows(rows: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Where the rows meet the discs around joints (B, K, 3): first and last x, (B, K, H) each."""
    x, y, confidence = torch.split(joints, 1, dim=-1)
    squared = MASK_RADIUS**2 - (rows - y).square()
    met = (squared >= 0) & (confidence > 0)
    half = squared.clamp_min(0).sqrt()
    return torch.where(met, x - half, torch.inf), torch.where(met, x + half, -torch.inf)


def _union(left: Tensor, right: Tensor, width: int) -> Tensor:
    """Pixels (B, H, W), bool, in any of the intervals (B, S, H): +1 where one begins, -1 behind its end, summed along the row."""
    begin = left.ceil().clamp(0, width)
    end = (right.floor() + 1).clamp(0, width)
    full = end > begin
    steps = torch.zeros(left.shape[0], left.shape[2], width + 1, dtype=torch.int16, device=left.device)
    for places, sign in ((begin, 1), (end, -1)):
        index = torch.where(full, places, width).long().transpose(1, 2)  # (B, H, S); an empty interval writes behind the row
        steps.scatter_add_(2, index, torch.full_like(index, sign, dtype=torch.int16))
    return steps[..., :width].cumsum(2, dtype=torch.int16) > 0


def _closed(masks: Tensor) -> Tensor:
    """Morphological closing of (B, H, W) masks; outside the image nothing dilates and nothing erodes."""
    dilated = _spread(_spread(masks, 1), 2)
    return ~_spread(_spread(~dilated, 1), 2)  # eroding a set is dilating what is not in it


def _spread(masks: Tensor, axis: int) -> Tensor:
    """Dilate along one axis by half the square's side to either side."""
    size, spread = masks.shape[axis], masks.clone()
    for shift in range(1, MASK_CLOSING // 2 + 1):
        if shift < size:
            spread.narrow(axis, shift, size - shift).logical_or_(masks.narrow(axis, 0, size - shift))
            spread.narrow(axis, 0, size - shift).logical_or_(masks.narrow(axis, shift, size - shift))
    return spread
