"""The mask of mask-SSIM, mask-IS and mask-LPIPS: the surroundings of a pose.

Legend: B images, K = 18 joints, H, W height and width in pixels; S shapes of a pose (23 rectangles, 18 discs). Every shape is
convex, so each row of pixels meets it in one interval: B * S * H intervals stand for B * S * H * W pixels. In NumPy on the CPU:
divided among threads, such small operations took longer.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from posegan.skeleton import MASK_PAIRS

MASK_RADIUS = 4.0  # pixels: half width of the mask's rectangles and radius of its discs
MASK_CLOSING = 5  # pixels: side of the square that closes the gaps between them
_TINY = 1e-6  # pixels: a line shorter than that has no direction
_MARGIN = 1e-9  # pixels: what rounding may add to a place
_EDGE = 1e-6  # pixels: what is exactly on an upper or left edge of a rectangle belongs to it, on another one not
_LEVEL = 1e-14  # of a direction: a line that is parallel to the rows, or as good as
_BELOW = np.array([(1 << count) - 1 for count in range(65)], "<u8")  # the lowest 0 .. 64 bits of a word
_CHUNK = 16  # poses whose intervals fit a core's cache

Floats = npt.NDArray[np.float64]  # on which side of a shape's edge a pixel is, float32 would not know
Bools = npt.NDArray[np.bool_]


def pose_masks(keypoints: Tensor, height: int, width: int) -> Tensor:
    """Masks `(B, 1, H, W)`, bool, around the poses `(B, K, 3)` (Ma et al., 2017, as the Deformable GAN's code has it).

    A rectangle of half width 4 px along each of the 23 joint pairs of `MASK_PAIRS` and a disc of
    radius 4 px at each visible joint, closed (dilated, then eroded) with a 5 x 5 square. A joint of
    confidence 0 contributes nothing.
    """
    joints = keypoints.detach().cpu().numpy().astype(np.float64)
    chunks = [joints[start : start + _CHUNK] for start in range(0, len(joints), _CHUNK)]
    parts = [_masks(chunk, height, width) for chunk in chunks]
    masks = np.concatenate(parts) if parts else np.zeros((0, height, width), bool)
    return torch.from_numpy(masks[:, None]).to(keypoints.device)


def masked(images: Tensor, masks: Tensor) -> Tensor:
    """Images `(B, 3, H, W)` that are black outside of their masks `(B, 1, H, W)`."""
    return images * masks


def _masks(joints: Floats, height: int, width: int) -> Bools:
    starts, ends = (joints[:, list(ends)] for ends in zip(*MASK_PAIRS, strict=True))  # (B, 23, 3) each
    rows = np.arange(height, dtype=np.float64)  # (H,)
    left, right = _rectangle_rows(rows + _EDGE, starts, ends)
    intervals = [(left - _EDGE, right - _EDGE), _disc_rows(rows, joints)]
    left, right = (np.concatenate(bounds, axis=1) for bounds in zip(*intervals, strict=True))  # (B, S, H): empty where left > right
    return _closed(_union(left, right, width))


def _rectangle_rows(rows: Floats, starts: Floats, ends: Floats) -> tuple[Floats, Floats]:
    """Where the rows meet the rectangles along lines (B, S, 3) to (B, S, 3): first and last x, (B, S, H) each."""
    line = (ends - starts)[..., :2]
    length = np.hypot(line[..., :1], line[..., 1:])  # (B, S, 1)
    along = line / np.maximum(length, _TINY)
    along_x, along_y, start_x, start_y = along[..., :1], along[..., 1:], starts[..., :1], starts[..., 1:2]
    below = rows - start_y  # (B, S, H)
    # Both conditions are lines in x: 0 <= (x - start_x) along_x + below along_y <= length, and sideways likewise.
    first, last = _between(along_x, below * along_y, np.zeros_like(length), length)
    near, far = _between(along_y, -below * along_x, np.full_like(length, -MASK_RADIUS), np.full_like(length, MASK_RADIUS))
    left, right = np.maximum(first, near) + start_x, np.minimum(last, far) + start_x
    drawn = (starts[..., 2:] > 0) & (ends[..., 2:] > 0) & (length > 0)
    return np.where(drawn, left, np.inf), np.where(drawn, right, -np.inf)


def _between(slope: Floats, constant: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The interval of x for which low <= slope * x + constant <= high, up to rounding; all or nothing where the slope is 0."""
    # A slope of 0 becomes one so small that the margin alone, divided by it, leaves every image.
    inverse = 1 / np.where(np.abs(slope) > _LEVEL, slope, _LEVEL)
    ends = (low - _MARGIN - constant) * inverse, (high + _MARGIN - constant) * inverse
    return np.minimum(*ends), np.maximum(*ends)


def _disc_rows(rows: Floats, joints: Floats) -> tuple[Floats, Floats]:
    """Where the rows meet the discs around joints (B, K, 3): first and last x, (B, K, H) each."""
    x, y, confidence = joints[..., :1], joints[..., 1:2], joints[..., 2:]
    squared = MASK_RADIUS**2 - (rows - y) ** 2
    met = (squared > 0) & (confidence > 0)
    half = np.sqrt(np.maximum(squared, 0)) - _MARGIN  # nearer than 4 px, not as near
    return np.where(met, x - half, np.inf), np.where(met, x + half, -np.inf)


def _union(left: Floats, right: Floats, width: int) -> Bools:
    """Pixels (B, H, W) in any of the intervals (B, S, H): an interval is a run of bits in words of 64, a union their OR."""
    begin = np.ceil(left).clip(0, width).astype(np.int64)
    end = (np.floor(right) + 1).clip(0, width).astype(np.int64)
    words = -(-width // 64)
    rows = np.empty((left.shape[0], left.shape[2], words), "<u8")
    for word in range(words):
        first, last = ((places - 64 * word).clip(0, 64) for places in (begin, end))
        rows[..., word] = np.bitwise_or.reduce(_BELOW[last] & ~_BELOW[first], axis=1)
    bits = np.unpackbits(rows.view(np.uint8), axis=-1, count=width, bitorder="little")
    covered: Bools = bits.view(np.bool_)
    return covered


def _closed(masks: Bools) -> Bools:
    """Morphological closing of (B, H, W) masks; outside the image nothing dilates and nothing erodes."""
    dilated = _spread(_spread(masks, 1), 2)
    closed: Bools = ~_spread(_spread(~dilated, 1), 2)  # eroding a set is dilating what is not in it
    return closed


def _spread(masks: Bools, axis: int) -> Bools:
    """Dilate along one axis by half the square's side to either side."""
    spread = masks.copy()
    moved, source = np.moveaxis(spread, axis, 0), np.moveaxis(masks, axis, 0)
    for shift in range(1, MASK_CLOSING // 2 + 1):
        moved[shift:] |= source[:-shift]
        moved[:-shift] |= source[shift:]
    return spread
