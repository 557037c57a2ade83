"""Pairs as a batch of tensors, and images between bytes and numbers.

Legend: B batch, K = 18 joints, H and W height and width in pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from posegan.images import Picture


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


def on_device(batch: PairBatch, device: torch.device) -> PairBatch:
    """The same batch with its tensors on `device`."""
    images = batch.source_images.to(device), batch.target_images.to(device)
    keypoints = batch.source_keypoints.to(device), batch.target_keypoints.to(device)
    return PairBatch(*images, *keypoints, batch.sources, batch.targets)


def to_pictures(images: Tensor) -> list[Picture]:
    """uint8 `(B, 3, H, W)` as a list of `(H, W, 3)` arrays on the CPU."""
    return list(images.permute(0, 2, 3, 1).contiguous().cpu().numpy())
