"""What a generator makes of a batch of pairs: images, and rows of a comparison grid."""

import torch
from torch import Tensor, nn

from posegan.data.batches import PairBatch, to_float, to_pictures, to_uint8
from posegan.images import Picture
from posegan.pictures import draw_skeleton

GRID_HEADER = ("source", "target pose", "generated", "real")


@torch.no_grad()
def generate(generator: nn.Module, batch: PairBatch) -> Tensor:
    """The generator's images for a batch on its device: uint8 `(B, 3, H, W)`."""
    return to_uint8(generator(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints).image)


def comparison_rows(batch: PairBatch, generated: Tensor) -> list[tuple[Picture, Picture, Picture, Picture]]:
    """One row a pair for a grid under `GRID_HEADER`: source, target pose, generated, real."""
    height, width = generated.shape[-2:]
    skeletons = [draw_skeleton(joints.cpu().numpy(), height, width) for joints in batch.target_keypoints]
    return list(zip(to_pictures(batch.source_images), skeletons, to_pictures(generated), to_pictures(batch.target_images), strict=True))
