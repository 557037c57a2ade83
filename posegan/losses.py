"""What the generator and the discriminator are told: adversarial, L1, perceptual, nearest-neighbour, smoothness.

Legend: B batch, C channels, H x W pixels, h x w pixels of a smaller map.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posegan.config import FeaturesConfig, LossConfig
from posegan.features import GREY_LEVELS, VGG19Features
from posegan.networks import GeneratorOutput

# Siarohin et al., 2018, section 3.3, and the settings of its PercLoss ablation.
NEAREST_NEIGHBOUR_LAYER = "relu1_2"
PERCEPTUAL_LAYER = "relu2_1"


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """`-log D(real) - log(1 - D(fake))`, each a mean over batch and patches."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_adversarial_loss(fake_logits: Tensor) -> Tensor:
    """`-log D(fake)`, the non-saturating form (Goodfellow et al., 2014)."""
    return F.softplus(-fake_logits).mean()


def perceptual_loss(generated: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two feature maps `(B, C, H, W)`."""
    return F.l1_loss(generated, target)


def nearest_neighbour_loss(generated: Tensor, target: Tensor, window: int) -> Tensor:
    """How far each generated feature is from the most similar target feature near it (CVPR 2018, equation 6).

    For each pixel of `generated` `(B, C, H, W)` the minimum, over the `window` x `window` pixels of `target`
    about the same place, of the absolute difference summed over channels; the mean over pixels and batch.
    The window ends at the border of the map. The gradient goes through the nearest pixel only, and none to
    `target`.
    """
    if window % 2 == 0 or window < 1:
        raise ValueError(f"window: expected an odd number, got {window}")
    generated = generated if generated.dtype == torch.float64 else generated.float()  # bfloat16 sums are too coarse
    distance: Tensor = _NearestDistance.apply(generated, target, window)  # type: ignore[no-untyped-call]
    return distance.mean()


def offset_smoothness_loss(offsets: Sequence[Tensor]) -> Tensor:
    """Anisotropic total variation of learned offsets `(B, 2, h, w)`, in pixels, averaged over the levels.

    Per level: the mean absolute difference between neighbours across plus that between neighbours down. It is 0
    exactly for offsets that shift a whole level by the same.
    """
    return torch.stack([_variation(field, 3) + _variation(field, 2) for field in offsets]).mean()


def _variation(field: Tensor, axis: int) -> Tensor:
    if field.shape[axis] < 2:  # a map one pixel wide has no neighbours, and the mean of nothing is not a number
        return field.new_zeros(())
    return field.diff(dim=axis).abs().mean()


class GeneratorLoss(nn.Module):
    """All terms of the generator's loss, each times its weight; a term of weight 0 is not computed.

    The frozen VGG-19 is built only for the terms that need it, and follows the images to their device. Both of
    them count features in grey levels, as the paper's weights do. Where its filters are random, the terms say so:
    their numbers mean something else, and must not be taken for those of a trained network.
    """

    def __init__(self, loss: LossConfig, features: FeaturesConfig) -> None:
        super().__init__()
        self.weights = loss
        layers = ([NEAREST_NEIGHBOUR_LAYER] if loss.nearest_neighbour > 0 else []) + ([PERCEPTUAL_LAYER] if loss.perceptual > 0 else [])
        self.features = VGG19Features(layers, features) if layers else None
        self.suffix = "_random_filters" if features.weights == "random" else ""

    def forward(self, output: GeneratorOutput, target_image: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """Named weighted terms, whose sum is the generator's loss.

        Args:
            output: of the generator; a generator without learned offsets has no `offset_smoothness` term.
            target_image: the real image, `(B, 3, H, W)` in [-1, 1].
            fake_logits: the discriminator's, for the generated image.
        """
        weights, terms = self.weights, dict[str, Tensor]()
        if weights.adversarial > 0:
            terms["adversarial"] = weights.adversarial * generator_adversarial_loss(fake_logits)
        if weights.l1 > 0:
            terms["l1"] = weights.l1 * F.l1_loss(output.image, target_image)
        if weights.offset_smoothness > 0 and output.offsets:
            terms["offset_smoothness"] = weights.offset_smoothness * offset_smoothness_loss(output.offsets)
        if self.features is not None:
            terms |= self._feature_terms(self.features.to(target_image.device), output.image, target_image)
        return terms

    def _feature_terms(self, features: VGG19Features, image: Tensor, target_image: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            target = features(target_image)
        generated, weights = features(image), self.weights
        terms = {}
        if weights.perceptual > 0:
            distance = perceptual_loss(generated[PERCEPTUAL_LAYER], target[PERCEPTUAL_LAYER])
            terms["perceptual"] = weights.perceptual * GREY_LEVELS * distance
        if weights.nearest_neighbour > 0:
            layer = NEAREST_NEIGHBOUR_LAYER
            distance = nearest_neighbour_loss(generated[layer], target[layer], weights.nearest_neighbour_window)
            terms["nearest_neighbour"] = weights.nearest_neighbour * GREY_LEVELS * distance
        return {f"{name}{self.suffix}": term for name, term in terms.items()}


class _NearestDistance(torch.autograd.Function):
    """`(B, H, W)`: the distance to the nearest target pixel; keeps only which pixel that was."""

    @staticmethod
    def forward(ctx: Any, generated: Tensor, target: Tensor, window: int) -> Tensor:
        target = target.to(generated.dtype)
        batch, _, height, width = generated.shape
        distance = generated.new_full((batch, height, width), torch.inf)
        nearest = torch.zeros(batch, height, width, dtype=torch.long, device=generated.device)
        pixel = torch.arange(height * width, device=generated.device).view(height, width)
        # One sample at a time keeps the differences in the CPU's cache, which is several times faster; on a
        # GPU the launches would cost more than they save.
        step = 1 if generated.device.type == "cpu" else batch
        for start in range(0, batch, step):
            part = slice(start, start + step)
            for here, there in _shifts(window, height, width):
                difference = generated[part, :, *here] - target[part, :, *there]
                candidate = torch.linalg.vector_norm(difference, ord=1, dim=1)
                current = distance[part, *here]
                better = candidate < current
                nearest[part, *here] = torch.where(better, pixel[there], nearest[part, *here])
                distance[part, *here] = torch.where(better, candidate, current)
        ctx.save_for_backward(generated, target, nearest)
        return distance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        generated, target, nearest = ctx.saved_tensors
        index = nearest.flatten(1)[:, None].expand(-1, target.shape[1], -1)
        chosen = target.flatten(2).gather(2, index).view_as(generated)
        return (generated - chosen).sign_().mul_(gradient[:, None]), None, None


def _shifts(window: int, height: int, width: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """For each place in the window, the pixels that have a neighbour there, and those neighbours."""
    reach = range(-(window // 2), window // 2 + 1)
    for down in sorted(reach, key=abs):  # nearest first, so that of equals the nearer one is kept
        for across in sorted(reach, key=abs):
            if abs(down) < height and abs(across) < width:
                here_down, there_down = _overlap(down, height)
                here_across, there_across = _overlap(across, width)
                yield (here_down, here_across), (there_down, there_across)


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Positions i for which i + shift lies in [0, size), and the positions i + shift."""
    first, last = max(0, -shift), size - max(0, shift)
    return slice(first, last), slice(first + shift, last + shift)
