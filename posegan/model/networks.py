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

from posegan.config import ImageConfig, ModelConfig
from posegan.errors import PoseGANError
from posegan.model.geometry import body_affine, heatmaps, part_affines, part_masks, poses_between
from posegan.model.warp import warp_features
from posegan.skeleton import JOINT_COUNT

IMAGE_CHANNELS = 3
COARSEST_SIDE = 4  # pixels; levels are added until the longer side is this small, or the shorter one a single pixel
MAXIMUM_GROWTH = 8  # no level is wider than 8 x the first
DROPOUT_BLOCKS = 3  # decoder blocks with dropout, counted from the coarsest


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
        self.decoder = Decoder(channels, 1 if model.deformation == "none" else 2, model.dropout)
        self.apply(_initialise)
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
        moved, offsets = self._deform(appearance, pose, source_keypoints, target_keypoints)
        return GeneratorOutput(self.decoder([list(pair) for pair in zip(moved, pose, strict=True)]), offsets)

    def _heatmaps(self, keypoints: Tensor) -> Tensor:
        return heatmaps(keypoints, self.image.height, self.image.width, self.model.heatmap_sigma)

    def _deform(
        self, appearance: list[Tensor], pose: list[Tensor], source_keypoints: Tensor, target_keypoints: Tensor
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """The appearance features, those of the warped levels moved to the target pose, and the learned offsets."""
        affines, valid, masks = self._parts(source_keypoints, target_keypoints)
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
        if self.model.deformation in ("parts", "parts+learned"):
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
    """The skips of each level, finest first and `branches` maps a level, to an image `(B, 3, H, W)` in [-1, 1]."""

    def __init__(self, channels: tuple[int, ...], branches: int, dropout: float) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        below = 0  # channels that come up from the coarser level
        for width in reversed(channels[1:]):
            blocks.append(UpBlock(below + branches * width, width, dropout if len(blocks) < DROPOUT_BLOCKS else 0.0))
            below = width
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(below + branches * channels[0], IMAGE_CHANNELS, 3, padding=1)

    def forward(self, skips: list[list[Tensor]]) -> Tensor:
        """The image `(B, 3, H, W)`."""
        features: list[Tensor] = []
        for level, block in zip(reversed(range(1, len(skips))), self.blocks, strict=True):
            size = skips[level - 1][0].shape[2:]
            features = [block(torch.cat(features + skips[level], dim=1), size)]  # (B, 512, 8, 4) ... (B, 128, 128, 64)
        return torch.tanh(self.last(torch.cat(features + skips[0], dim=1).relu_()))


class DownBlock(nn.Module):
    """Half the size, rounded down: LeakyReLU, 4 x 4 convolution of stride 2, norm."""

    def __init__(self, inputs: int, outputs: int, normalise: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm = SampleNorm() if normalise else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """`(B, inputs, h, w)` to `(B, outputs, h / 2, w / 2)`."""
        return self.norm(self.convolution(F.leaky_relu(features, 0.2)))  # type: ignore[no-any-return]


class UpBlock(nn.Module):
    """Twice the size: ReLU (of its input in place), 4 x 4 transposed convolution of stride 2, norm, dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm = SampleNorm()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        """`(B, inputs, h, w)`, which it overwrites, to `(B, outputs, *size)`: a side of 2 h, or 2 h + 1 where halving rounded."""
        return self.dropout(self.norm(self.convolution(features.relu_(), list(size))))  # type: ignore[no-any-return]


class SampleNorm(nn.Module):
    """Each sample over channels, height and width together, then one scalar gain and one scalar bias."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C, h, w)` to the same."""
        channels = features.shape[1]  # one group of all channels is this norm, and PyTorch has it fused
        normalised = F.group_norm(features, 1, self.gain.expand(channels), self.bias.expand(channels), eps=1e-3)
        return normalised.to(features.dtype)  # under autocast it comes as float32 on CUDA, twice the memory for all that follows


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


class Discriminator(nn.Module):
    """Is this image of the target pose a photograph of the source's person? Logits of patches `(B, 1, 3, 1)`.

    The source image and both poses are the same for every image that is judged, and are 39 of the 42 channels
    of the first convolution: they pass it once, however many images are judged.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.sigma = model.heatmap_sigma
        width = model.discriminator_channels
        self.first = nn.Conv2d(2 * (IMAGE_CHANNELS + JOINT_COUNT), width, 4, stride=2)  # the judged image comes last
        self.blocks = nn.Sequential(
            DownBlock(width, 2 * width),
            DownBlock(2 * width, 4 * width),
            DownBlock(4 * width, 8 * width),
            DownBlock(8 * width, 1, normalise=False),
        )
        self.apply(_initialise)

    @torch.no_grad()
    def condition(self, source_image: Tensor, source_keypoints: Tensor, target_keypoints: Tensor) -> Tensor:
        """What images are judged by, `(B, 39, H, W)`: source image in [-1, 1] and heatmaps of keypoints `(B, K, 3)`."""
        height, width = source_image.shape[2:]
        poses = (heatmaps(keypoints, height, width, self.sigma) for keypoints in (source_keypoints, target_keypoints))
        return torch.cat((source_image, *poses), dim=1)

    def forward(self, condition: Tensor, *images: Tensor) -> list[Tensor]:
        """Logits of each of `images` `(B, 3, H, W)`, real target images or generated, at least 64 x 64 or 128 x 64 pixels."""
        # (B, 42, 128, 64) -> (B, 64, 63, 31) -> (B, 128, 31, 15) -> (B, 256, 15, 7) -> (B, 512, 7, 3) -> (B, 1, 3, 1)
        weight = self.first.weight
        shared = F.conv2d(condition, weight[:, :-IMAGE_CHANNELS], self.first.bias, stride=2)
        return [self.blocks(shared + F.conv2d(image, weight[:, -IMAGE_CHANNELS:], stride=2)) for image in images]


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of an encoder's levels: 6 for 128 x 64 (down to 4 x 2), 7 for 256 x 176 (4 x 2) and 256 x 256 (4 x 4)."""
    sizes = [(height, width)]
    while max(sizes[-1]) > COARSEST_SIDE and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def level_channels(first: int, levels: int) -> tuple[int, ...]:
    """Channels a level: 64, 128, 256, 512, 512, 512."""
    return tuple(first * min(2**level, MAXIMUM_GROWTH) for level in range(levels))


def _initialise(module: nn.Module) -> None:
    # Glorot and Bengio's uniform, the default of Keras, with which the original was trained; biases zero.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
