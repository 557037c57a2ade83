"""Plain formulations of the method, as its paper writes it and earlier code computes it: what ours is measured against."""

import torch
import torch.nn.functional as F
from torch import Tensor

from posegan.model.networks import Discriminator, Judgement
from posegan.training.updates import Pair

# A person who faces the camera, x and y as shares of the image, in the order of posegan.skeleton.
STANDING = (
    (0.50, 0.11), (0.50, 0.20), (0.34, 0.22), (0.28, 0.33), (0.25, 0.44), (0.66, 0.22), (0.72, 0.33), (0.75, 0.44), (0.41, 0.48),
    (0.39, 0.69), (0.38, 0.89), (0.59, 0.48), (0.61, 0.69), (0.62, 0.89), (0.47, 0.09), (0.53, 0.09), (0.42, 0.10), (0.58, 0.10),
)  # fmt: skip


def standing_people(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Keypoints `(B, 18, 3)` of sources and of targets: seeded variations of a standing pose, all joints visible."""
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor(STANDING) + 0.03 * torch.randn(2, batch, len(STANDING), 2, generator=generator)
    source, target = torch.cat((points * torch.tensor([width, height]), torch.ones(2, batch, len(STANDING), 1)), dim=3)
    return source, target


def plain_warp(
    features: Tensor, affines: Tensor, valid: Tensor, masks: Tensor, offsets: Tensor | None = None, combine: str = "max"
) -> Tensor:
    """The deformable skip, arguments as of `warp_features`: each part warps the whole map, then the masked maximum."""
    height, width = features.shape[2:]
    image_height, image_width = masks.shape[2:]
    # affine_grid works on [-1, 1], image pixels on 0 .. W - 1: p = (n + 1) * W / 2 - 1 / 2.
    size = torch.tensor([image_width, image_height], dtype=affines.dtype, device=affines.device)
    linear, shift = affines[..., :2], affines[..., 2]
    shift = ((linear @ (size - 1)[:, None])[..., 0] + 2 * shift + 1) / size - 1
    normalised = torch.cat((linear * size / size[:, None], shift[..., None]), dim=-1).to(features.dtype)
    moved = torch.zeros_like(features)
    for part in range(valid.shape[1]):
        grid = F.affine_grid(normalised[:, part], list(features.shape), align_corners=False)
        if offsets is not None:
            grid = grid + torch.einsum("bij,bjhw->bhwi", linear[:, part], offsets) * 2 / size
        warped = F.grid_sample(features, grid, align_corners=False)
        mask = F.interpolate((masks[:, part] & valid[:, part, None, None]).float()[:, None], (height, width))
        moved = torch.maximum(moved, torch.where(mask > 0, warped, 0))  # an invalid part's affine may hold NaN
    return moved


def plain_nearest_neighbour(generated: Tensor, target: Tensor, window: int) -> Tensor:
    """The nearest-neighbour loss over n x n shifted copies of the target's map."""
    reach = window // 2
    padded = F.pad(target, (reach, reach, reach, reach), value=torch.inf)
    height, width = target.shape[2:]
    shifts = [padded[:, :, y : y + height, x : x + width] for y in range(window) for x in range(window)]
    return (torch.stack(shifts) - generated).abs().sum(dim=2).amin(dim=0).mean()


def plain_discriminator(discriminator: Discriminator, pair: Pair, image: Tensor) -> Judgement:
    """All 42 channels through the first convolution for every image that is judged."""
    condition = discriminator.condition(pair.source, pair.source_keypoints, pair.target_keypoints)
    return discriminator.judge(discriminator.first(torch.cat((condition, image), dim=1)))
