"""What the generator and the discriminator are told: adversarial, L1, perceptual, nearest-neighbour, smoothness, feature matching.

Legend: B batch, C channels, H x W pixels, h x w pixels of a smaller map.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posegan.config import FeaturesConfig, LossConfig
from posegan.errors import PoseGANError
from posegan.frozen.vgg import GREY_LEVELS, VGG19Features
from posegan.model.geometry import body_masks
from posegan.model.networks import GeneratorOutput, Judgement

# Siarohin et al., 2018, section 3.3, and the settings of its PercLoss ablation.
NEAREST_NEIGHBOUR_LAYER = "relu1_2"
PERCEPTUAL_LAYER = "relu2_1"
PENALTY_NOISE = 0.05  # of images in [-1, 1]: large enough that bfloat16 tells the logits apart


def discriminator_loss(real: Judgement, fake: Judgement) -> Tensor:
    """`-log D(real) - log(1 - D(fake))`, each a mean over batch and patches, then over the sizes of patches."""
    return _over_sizes(lambda logits: F.softplus(-logits), real) + _over_sizes(F.softplus, fake)


def generator_adversarial_loss(fake: Judgement) -> Tensor:
    """`-log D(fake)`, the non-saturating form (Goodfellow et al., 2014), averaged as `discriminator_loss` is."""
    return _over_sizes(lambda logits: F.softplus(-logits), fake)


def _over_sizes(loss: Callable[[Tensor], Tensor], judged: Judgement) -> Tensor:
    return torch.stack([loss(logits).mean() for logits in judged.logits]).mean()


def gradient_penalty(logits: Judgement, moved: Judgement, noise: float = PENALTY_NOISE) -> Tensor:
    """How steeply the discriminator judges about real images: the mean of its patches' squared slopes, over sizes of patches too.

    The slope is what a move by Gaussian noise of deviation `noise` makes of a logit, divided by `noise`. The mean of its square over
    noise is the squared gradient, R1's (Mescheder et al., 2018), up to terms of the order of `noise` squared, and no derivative of a
    derivative is taken (Lin et al., "Diffusion Adversarial Post-Training for One-Step Video Generation", 2025).

    Args:
        logits: the judgement of real images.
        moved: that of the same with noise added.
    """
    steps = zip(logits.logits, moved.logits, strict=True)
    return torch.stack([(there - here).square().mean() for here, there in steps]).mean() / noise**2


def feature_matching_loss(real: Judgement, fake: Judgement) -> Tensor:
    """Sum over the discriminator's blocks of the mean absolute difference of their features (Wang et al., pix2pixHD, 2018, equation 4)."""
    pairs = zip(fake.features, real.features, strict=True)
    return torch.stack([F.l1_loss(drawn.float(), shown.detach().float()) for drawn, shown in pairs]).sum()


def body_weighted_l1(image: Tensor, target: Tensor, target_keypoints: Tensor, ground: float = 1.0, block: int = 1) -> Tensor:
    """Mean absolute difference `(B, 3, H, W)` in which a pixel off the target's body counts `ground` times one on it.

    What is behind a person the source cannot tell, and a generator that is punished for it draws grey. The weights of an image have a
    mean of 1. The body is that of `posegan.model.geometry.body_masks`.

    With `block` above 1 the means over blocks of so many pixels a side are compared: colours must be right, and in place as far as a
    block goes, but a stripe that is a pixel beside the target's costs no more than a smear does.
    """
    weight = None
    if ground != 1:
        weight = torch.where(body_masks(target_keypoints, *target.shape[2:]), 1.0, ground)
    if block > 1:
        image, target = F.avg_pool2d(image, block), F.avg_pool2d(target, block)
        weight = weight if weight is None else F.avg_pool2d(weight, block)
    difference = (image - target).abs()
    return difference.mean() if weight is None else (difference * (weight / weight.mean(dim=(1, 2, 3), keepdim=True))).mean()


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


class Seen(NamedTuple):
    """What the terms of the generator's loss look at."""

    output: GeneratorOutput
    target: Tensor  # the real image, (B, 3, H, W) in [-1, 1]
    target_keypoints: Tensor  # (B, 18, 3)
    fake: Judgement  # the discriminator's, of the generated image
    real: Judgement | None  # of the real one, where a term compares them
    drawn_features: dict[str, Tensor]  # VGG-19's layers of the generated image, (B, C, h, w) each; empty where no term looks at them
    target_features: dict[str, Tensor]


class Term(NamedTuple):
    """A term of the generator's loss: a weight of the section `loss` in params.yaml has its name."""

    name: str
    measure: Callable[[Seen, LossConfig], Tensor | None]  # None where there is nothing to measure
    layer: str = ""  # of VGG-19 that it looks at
    scale: float = 1.0  # what a weight counts in
    teaches: bool = True  # whether the image would learn anything from it alone
    tells: bool = True  # whether a run in which it is far above an untrained generator's is lost


TERMS = (
    # High wherever the discriminator is good, so it tells nothing of the generator alone.
    Term("adversarial", lambda seen, _: generator_adversarial_loss(seen.fake), tells=False),
    Term("l1", lambda seen, weights: body_weighted_l1(
             seen.output.image, seen.target, seen.target_keypoints, weights.l1_ground, weights.l1_block)),
    # Begins at 0 and is bounded.
    Term("offset_smoothness", lambda seen, _: offset_smoothness_loss(seen.output.offsets) if seen.output.offsets else None,
         teaches=False, tells=False),
    Term("perceptual", lambda seen, _: perceptual_loss(seen.drawn_features[PERCEPTUAL_LAYER], seen.target_features[PERCEPTUAL_LAYER]),
         PERCEPTUAL_LAYER, GREY_LEVELS),
    Term("nearest_neighbour", lambda seen, weights: nearest_neighbour_loss(
             seen.drawn_features[NEAREST_NEIGHBOUR_LAYER], seen.target_features[NEAREST_NEIGHBOUR_LAYER], weights.nearest_neighbour_window),
         NEAREST_NEIGHBOUR_LAYER, GREY_LEVELS),
    # In the measure of a discriminator that changes, and of one that is not trained where this term is alone.
    Term("feature_matching", lambda seen, _: feature_matching_loss(seen.real, seen.fake) if seen.real else None,
         teaches=False, tells=False),
)  # fmt: skip


def check_teaches(weights: LossConfig) -> None:
    """Raise PoseGANError if no term has a weight from which the image would learn."""
    teaching = [term.name for term in TERMS if term.teaches]
    if not any(getattr(weights, name) > 0 for name in teaching):
        raise PoseGANError(
            f"loss: expected a weight above 0 for {', '.join(teaching[:-1])} or {teaching[-1]}; the image would learn nothing"
        )


class GeneratorLoss(nn.Module):
    """All terms of the generator's loss, each times its weight; a term of weight 0 is not computed.

    The frozen VGG-19 is built only for the terms that need it, and follows the images to their device. They
    count features in grey levels, as the paper's weights do. Where its filters are random, the terms say so:
    their numbers mean something else, and must not be taken for those of a trained network.

    Attributes:
        telling: names, as `forward` gives them, of the terms that say when a run is lost.
    """

    def __init__(self, loss: LossConfig, features: FeaturesConfig) -> None:
        super().__init__()
        self.weights = loss
        self._suffix = "_random_filters" if features.weights == "random" else ""
        self._terms = {self._named(term): term for term in TERMS if getattr(loss, term.name) > 0}
        self.telling = {name for name, term in self._terms.items() if term.tells}
        layers = [term.layer for term in self._terms.values() if term.layer]
        self.features = VGG19Features(layers, features) if layers else None

    def forward(
        self, output: GeneratorOutput, target_image: Tensor, target_keypoints: Tensor, fake: Judgement, real: Judgement | None = None
    ) -> dict[str, Tensor]:
        """Named weighted terms, whose sum is the generator's loss.

        Args:
            output: of the generator; a generator without learned offsets has no `offset_smoothness` term.
            target_image: the real image, `(B, 3, H, W)` in [-1, 1].
            target_keypoints: its pose, `(B, 18, 3)`.
            fake: the discriminator's judgement of the generated image.
            real: that of the real one, which feature matching needs; without it there is no such term.
        """
        seen = Seen(output, target_image, target_keypoints, fake, real, *self._features(output.image, target_image))
        measured = {name: term.measure(seen, self.weights) for name, term in self._terms.items()}
        return {
            name: getattr(self.weights, self._terms[name].name) * self._terms[name].scale * value
            for name, value in measured.items()
            if value is not None
        }

    def _features(self, image: Tensor, target_image: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """VGG-19's layers of both images; no gradient goes to the real one."""
        if self.features is None:
            return {}, {}
        network = self.features.to(target_image.device)
        with torch.no_grad():
            target = network(target_image)
        return network(image), target

    def _named(self, term: Term) -> str:
        return f"{term.name}{self._suffix}" if term.layer else term.name


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
