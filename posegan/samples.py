"""What a generator makes of a batch of pairs: images, and rows of a comparison grid."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from posegan.batches import PairBatch, to_float, to_uint8
from posegan.images import draw_skeleton

GRID_HEADER = ("source", "target pose", "generated", "real")
Picture = npt.NDArray[np.uint8]  # (H, W, 3)


def on_device(batch: PairBatch, device: torch.device) -> PairBatch:
    """The same batch with its tensors on `device`."""
    images = batch.source_images.to(device), batch.target_images.to(device)
    keypoints = batch.source_keypoints.to(device), batch.target_keypoints.to(device)
    return PairBatch(*images, *keypoints, batch.sources, batch.targets)


@torch.no_grad()
def generate(generator: nn.Module, batch: PairBatch) -> Tensor:
    """The generator's images for a batch on its device: uint8 `(B, 3, H, W)`."""
    return to_uint8(generator(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints).image)


def comparison_rows(batch: PairBatch, generated: Tensor) -> list[tuple[Picture, Picture, Picture, Picture]]:
    """One row a pair for a grid under `GRID_HEADER`: source, target pose, generated, real."""
    height, width = generated.shape[-2:]
    skeletons = [draw_skeleton(joints.cpu().numpy(), height, width) for joints in batch.target_keypoints]
    return list(zip(pictures(batch.source_images), skeletons, pictures(generated), pictures(batch.target_images), strict=True))


def pictures(images: Tensor) -> list[Picture]:
    """uint8 `(B, 3, H, W)` as a list of `(H, W, 3)` arrays on the CPU."""
    return list(images.permute(0, 2, 3, 1).contiguous().cpu().numpy())
