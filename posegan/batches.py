"""Pairs as a batch of tensors, and images between bytes and numbers.

Legend: B batch, K = 18 joints, H and W height and width in pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PairBatch(NamedTuple):
    """Pairs of images of one person in two poses, in small integers until they are on the device."""

    source_images: Tensor  # (B, 3, H, W) uint8, RGB
    target_images: Tensor  # (B, 3, H, W) uint8, RGB
    source_keypoints: Tensor  # (B, K, 3) float32: x, y in pixels of the H x W image, confidence
    target_keypoints: Tensor  # (B, K, 3) float32
    sources: tuple[str, ...]  # names of the images in the archive
    targets: tuple[str, ...]


def to_float(images: Tensor) -> Tensor:
    """Images of uint8 0 .. 255, any shape, as float32 in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Inverse of `to_float`: images in [-1, 1], rounded and clamped to uint8."""
    return ((images.detach().to(torch.float32) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
