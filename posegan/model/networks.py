"""Generator and discriminator of the Deformable GAN (Siarohin et al., CVPR 2018), in the paper's order.

Legend: B batch, K = 18 joints, H x W pixels of the image, h x w of a level; level l is half the size of level
l - 1, rounded down (256 x 176 has the levels 16 x 11, 8 x 5, 4 x 2). Sizes below are those of 128 x 64 images at the
paper's width of 64 channels.

Two encoders see the two poses apart: appearance (source image and pose) and pose (target pose). At each level
the decoder takes both, the appearance moved to the target pose by the deformable skip.
"""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posegan.config import ImageConfig, ModelConfig, Upsampling
from posegan.errors import PoseGANError
from posegan.model.copying import COPIES, Copies, blend, compose, move_parts, repaired
from posegan.model.geometry import (
    body_affine,
    body_masks,
    copy_affines,
    heatmaps,
    part_affines,
    part_masks,
    part_shapes,
    person_masks,
    poses_between,
)
from posegan.model.layers import DownBlock, UpBlock, initialise
from posegan.model.warp import warp_features
from posegan.skeleton import JOINT_COUNT

IMAGE_CHANNELS = 3
COARSEST_SIDE = 4  # pixels; levels are added until the longer side is this small, or the shorter one a single pixel
MAXIMUM_GROWTH = 8  # no level is wider than 8 x the first
BY_PARTS = ("parts", "parts+learned")  # deformations that move the ten parts
DROPOUT_BLOCKS = 3  # decoder blocks with dropout, counted from the coarsest
FAINT_START = 0.01  # of the drawing's first weights, where it begins with copies: not zero, so that every weight learns from the first step


class GeneratorOutput(NamedTuple):
    """`image` `(B, 3, H, W)` in [-1, 1]; `offsets` `(B, 2, h, w)` a warped level, x and y in pixels of the image.

    `offsets` start at the finest level, of the first step where steps are stacked; there are none unless the
    deformation is learned.
    """

    image: Tensor
    offsets: tuple[Tensor, ...]


class Generator(nn.Module):
    """Draws the person of the source image in the target pose.

    With `stacked_steps` above 1 it goes there in that many equal steps: it draws the first pose between, from that
    drawing the next one, and so on, always with the same weights. Only the last image is given, and so judged.

    Raises:
        PoseGANError: more warped skips than the image has levels whose pixels are whole blocks of it.
    """

    def __init__(self, model: ModelConfig, image: ImageConfig) -> None:
        super().__init__()
        self.model, self.image = model, image
        sizes = level_sizes(image.height, image.width)
        channels = level_channels(model.generator_channels, len(sizes))
        exact = sum((h << level, w << level) == sizes[0] for level, (h, w) in enumerate(sizes))
        if model.warped_skips > exact:
            raise PoseGANError(
                f"model.warped_skips: expected at most {exact}, the levels of {image.height} x {image.width} images that halve evenly, "
                f"got {model.warped_skips}; warp fewer skips or use larger images"
            )
        self.warps = model.warped_skips if model.deformation != "none" else 0
        if model.deformation == "none":
            self.encoder = Encoder(IMAGE_CHANNELS + 2 * JOINT_COUNT, channels)
        else:
            self.appearance_encoder = Encoder(IMAGE_CHANNELS + JOINT_COUNT, channels)
            self.pose_encoder = Encoder(JOINT_COUNT, channels)
        self.decoder = Decoder(channels, 1 if model.deformation == "none" else 2, model.dropout, model.upsampling, model.image_skip)
        self.apply(initialise)
        self.decoder.start_undecided()
        learned = channels[: self.warps] if model.deformation in ("learned", "parts+learned") else ()
        # The coarsest head sees its own level's moved appearance, the others that of the next coarser level.
        placed = (*learned[1:], *learned[-1:])
        self.offset_heads = nn.ModuleList(OffsetHead(*widths) for widths in zip(placed, learned, strict=True))

    def forward(self, source_image: Tensor, source_keypoints: Tensor, target_keypoints: Tensor) -> GeneratorOutput:
        """Source image `(B, 3, H, W)` in [-1, 1], keypoints `(B, K, 3)` in pixels of the images."""
        image, offsets = source_image, tuple[Tensor, ...]()
        for start, end in itertools.pairwise(poses_between(source_keypoints, target_keypoints, self.model.stacked_steps)):
            image, added = self._draw(image, start, end)
            offsets += added
        return GeneratorOutput(image, offsets)

    def _draw(self, source_image: Tensor, source_keypoints: Tensor, target_keypoints: Tensor) -> GeneratorOutput:
        source_heatmaps, target_heatmaps = self._heatmaps(source_keypoints), self._heatmaps(target_keypoints)
        if self.model.deformation == "none":
            skips = [[feature] for feature in self.encoder(torch.cat((source_image, source_heatmaps, target_heatmaps), dim=1))]
            return GeneratorOutput(self.decoder(skips), ())
        appearance = self.appearance_encoder(torch.cat((source_image, source_heatmaps), dim=1))
        pose = self.pose_encoder(target_heatmaps)
        parts = self._parts(source_keypoints, target_keypoints)
        moved, offsets = self._deform(appearance, pose, *parts)
        skips = [list(pair) for pair in zip(moved, pose, strict=True)]
        if not self.model.image_skip:
            return GeneratorOutput(self.decoder(skips), offsets)
        shapes, hidden = self._shapes(source_keypoints, target_keypoints)
        affines, valid = parts[:2]
        if self.model.deformation in BY_PARTS:
            affines, valid = copy_affines(source_keypoints, target_keypoints, affines, valid)
        copies = move_parts(source_image, affines, valid, shapes, hidden, offsets[0] if offsets else None)
        return GeneratorOutput(self.decoder(skips, copies), offsets)

    def _heatmaps(self, keypoints: Tensor) -> Tensor:
        return heatmaps(keypoints, self.image.height, self.image.width, self.model.heatmap_sigma)

    @torch.no_grad()
    def _shapes(self, source_keypoints: Tensor, target_keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """The target's parts, soft, `(B, P, H, W)`, and the source's limbs and all of its person, `(B, 2, H, W)` bool."""
        size = self.image.height, self.image.width
        person = person_masks(source_keypoints, *size)
        if self.model.deformation not in BY_PARTS:
            return body_masks(target_keypoints, *size).float(), torch.cat((torch.zeros_like(person), person), dim=1)
        limbs = (part_shapes(source_keypoints, *size)[:, 1:] > 0.5).any(dim=1, keepdim=True)
        return part_shapes(target_keypoints, *size), torch.cat((limbs, person), dim=1)

    def _deform(
        self, appearance: list[Tensor], pose: list[Tensor], affines: Tensor, valid: Tensor, masks: Tensor
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """The appearance features, those of the warped levels moved to the target pose, and the learned offsets."""
        combine, limit = self.model.combine, self.model.maximum_offset
        if not self.offset_heads:
            moved = [warp_features(features, affines, valid, masks, None, combine) for features in appearance[: self.warps]]
            return moved + appearance[self.warps :], ()
        moved, offsets = appearance[self.warps :], list[Tensor]()
        placed = warp_features(appearance[self.warps - 1], affines, valid, masks, None, combine)
        logits: Tensor | None = None
        for level in reversed(range(self.warps)):
            logits = self.offset_heads[level](placed, pose[level], logits)
            offsets.insert(0, limit * torch.tanh(logits))
            placed = warp_features(appearance[level], affines, valid, masks, offsets[0], combine)
            moved = [placed, *moved]
        return moved, tuple(offsets)

    @torch.no_grad()
    def _parts(self, source_keypoints: Tensor, target_keypoints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Affines, validity and masks of the ten parts, or else of one that covers all: moved by one affine, or in place."""
        size, batch, device = (self.image.height, self.image.width), len(target_keypoints), target_keypoints.device
        if self.model.deformation in BY_PARTS:
            return *part_affines(source_keypoints, target_keypoints), part_masks(target_keypoints, *size)
        valid = torch.ones(batch, 1, dtype=torch.bool, device=device)
        everywhere = valid[..., None, None].expand(batch, 1, *size)
        if self.model.deformation == "global":
            return *body_affine(source_keypoints, target_keypoints), everywhere
        return torch.eye(2, 3, device=device).expand(batch, 1, 2, 3), valid, everywhere


class Encoder(nn.Module):
    """`(B, inputs, H, W)` to one feature map a level: `(B, 64, 128, 64)`, `(B, 128, 64, 32)` ... `(B, 512, 4, 2)`."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        levels: list[nn.Module] = [nn.Conv2d(inputs, channels[0], 3, padding=1)]
        for finer, coarser in itertools.pairwise(channels):
            last = len(levels) == len(channels) - 1
            levels.append(DownBlock(finer, coarser, normalise=not last))
        self.levels = nn.ModuleList(levels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps, finest first."""
        features = [self.levels[0](image)]
        for level in self.levels[1:]:
            features.append(level(features[-1]))
        return features


class Decoder(nn.Module):
    """The skips of each level, finest first and `branches` maps a level, to an image `(B, 3, H, W)` in [-1, 1].

    With `copying` it sees the copies of the source image laid over one another as well, and mixes them with what it draws.
    """

    def __init__(self, channels: tuple[int, ...], branches: int, dropout: float, upsampling: Upsampling, copying: bool) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        below = 0  # channels that come up from the coarser level
        for width in reversed(channels[1:]):
            blocks.append(UpBlock(below + branches * width, width, dropout if len(blocks) < DROPOUT_BLOCKS else 0.0, upsampling))
            below = width
        self.blocks = nn.ModuleList(blocks)
        finest = below + branches * channels[0]
        self.repair = nn.Conv2d(finest + IMAGE_CHANNELS + 1, channels[0], 3, padding=1) if copying else None
        self.last = nn.Conv2d(channels[0] if copying else finest, IMAGE_CHANNELS + (COPIES if copying else 0), 3, padding=1)

    @torch.no_grad()
    def start_undecided(self) -> None:
        """Draw nearly what was laid together, and mix in what is usual of each copy, until training knows better."""
        if self.repair is not None:
            self.last.weight[:IMAGE_CHANNELS].mul_(FAINT_START)
            self.last.weight[IMAGE_CHANNELS:].zero_()

    def forward(self, skips: list[list[Tensor]], copies: Copies | None = None) -> Tensor:
        """The image `(B, 3, H, W)`."""
        features: list[Tensor] = []
        for level, block in zip(reversed(range(1, len(skips))), self.blocks, strict=True):
            size = skips[level - 1][0].shape[2:]
            features = [block(torch.cat(features + skips[level], dim=1), size)]  # (B, 512, 8, 4) ... (B, 128, 128, 64)
        finest = torch.cat(features + skips[0], dim=1).relu_()
        if self.repair is None or copies is None:
            return torch.tanh(self.last(finest))
        composed = compose(copies)
        seen = torch.cat((finest, composed.to(finest.dtype)), dim=1)  # signed colours pass no ReLU
        mixed = self.last(F.leaky_relu(self.repair(seen), 0.2)).float()
        return blend(copies, mixed[:, IMAGE_CHANNELS:], repaired(composed[:, :IMAGE_CHANNELS], mixed[:, :IMAGE_CHANNELS]))


class OffsetHead(nn.Module):
    """Logits of one level's offsets, `(B, 2, h, w)` float32: those of the coarser level and a correction.

    The correction sees the pose feature and the appearance as far as it is in place already: that of the
    coarser level, moved. So offsets go from coarse to fine, since at full resolution a filter sees too
    little of the image to know where anything should go. The correction starts at zero, and training at the
    pure warp by parts.
    """

    def __init__(self, placed: int, pose: int) -> None:
        super().__init__()
        self.correction = nn.Conv2d(placed + pose, 2, 3, padding=1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]

    def forward(self, placed: Tensor, pose: Tensor, coarser: Tensor | None) -> Tensor:
        """Moved appearance (own size or half), pose feature, and the coarser level's logits, if there is one."""
        size = pose.shape[2:]
        placed = F.interpolate(placed, size, mode="nearest") if placed.shape[2:] != size else placed
        correction: Tensor = self.correction(F.leaky_relu(torch.cat((placed, pose), dim=1), 0.2)).float()
        if coarser is None:
            return correction
        return correction + F.interpolate(coarser, size, mode="bilinear", align_corners=False)


class Judgement(NamedTuple):
    """What the discriminator makes of a batch of images.

    Attributes:
        logits: of patches, one map for each size of patch: `(B, 1, 3, 1)` for those of 94 x 94 pixels and, with `local_patches`,
            `(B, 1, 31, 15)` for those of 22 x 22.
        features: of its first three blocks, `(B, 128, 31, 15)`, `(B, 256, 15, 7)`, `(B, 512, 7, 3)`.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]


class Discriminator(nn.Module):
    """Is this image of the target pose a photograph of the source's person?

    The source image and both poses are the same for every image that is judged, and are 39 of the 42 channels
    of the first convolution: they pass it once, however many images are judged.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.sigma = model.heatmap_sigma
        self.judged_source = model.judged_source
        width = model.discriminator_channels
        self.first = nn.Conv2d(2 * (IMAGE_CHANNELS + JOINT_COUNT), width, 4, stride=2)  # the judged image comes last
        self.blocks = nn.Sequential(
            DownBlock(width, 2 * width),
            DownBlock(2 * width, 4 * width),
            DownBlock(4 * width, 8 * width),
            DownBlock(8 * width, 1, normalise=False),
        )
        self.local = nn.Conv2d(4 * width, 1, 1) if model.local_patches else None
        self.apply(initialise)

    @torch.no_grad()
    def condition(self, source_image: Tensor, source_keypoints: Tensor, target_keypoints: Tensor) -> Tensor:
        """What images are judged by, `(B, 39, H, W)`: source image in [-1, 1] and heatmaps of keypoints `(B, K, 3)`.

        With `judged_source: body` it is told nothing of the source's ground. Else it would know a picture whose ground is copied from
        one of the same person elsewhere, and the generator would have to invent another.
        """
        height, width = source_image.shape[2:]
        if self.judged_source == "body":
            source_image = source_image * body_masks(source_keypoints, height, width)
        poses = (heatmaps(keypoints, height, width, self.sigma) for keypoints in (source_keypoints, target_keypoints))
        return torch.cat((source_image, *poses), dim=1)

    def forward(self, condition: Tensor, *images: Tensor) -> list[Judgement]:
        """Of each of `images` `(B, 3, H, W)`, real target images or generated, at least 64 x 64 or 128 x 64 pixels."""
        # (B, 42, 128, 64) -> (B, 64, 63, 31) -> (B, 128, 31, 15) -> (B, 256, 15, 7) -> (B, 512, 7, 3) -> (B, 1, 3, 1)
        weight = self.first.weight
        shared = F.conv2d(condition, weight[:, :-IMAGE_CHANNELS], self.first.bias, stride=2)
        return [self.judge(shared + F.conv2d(image, weight[:, -IMAGE_CHANNELS:], stride=2)) for image in images]

    def judge(self, features: Tensor) -> Judgement:
        """Of an image by what `first` makes of it with its condition, `(B, 64, 63, 31)`."""
        seen = [features := block(features) for block in self.blocks]
        logits = [seen.pop().float()]
        if self.local is not None:
            logits.append(self.local(F.leaky_relu(seen[1], 0.2)).float())
        return Judgement(tuple(logits), tuple(seen))


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of an encoder's levels: 6 for 128 x 64 (down to 4 x 2), 7 for 256 x 176 (4 x 2) and 256 x 256 (4 x 4)."""
    sizes = [(height, width)]
    while max(sizes[-1]) > COARSEST_SIDE and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def level_channels(first: int, levels: int) -> tuple[int, ...]:
    """Channels a level: 64, 128, 256, 512, 512, 512."""
    return tuple(first * min(2**level, MAXIMUM_GROWTH) for level in range(levels))
