"""What one iteration does to the networks: an update of each player, and the generator's running average.

Legend: B images of a batch, H, W height and width in pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from posegan.losses import GeneratorLoss, discriminator_loss
from posegan.networks import Discriminator, GeneratorOutput


class Pair(NamedTuple):
    """A batch as the networks take it: images `(B, 3, H, W)` in [-1, 1], keypoints `(B, 18, 3)`."""

    source: Tensor
    source_keypoints: Tensor
    target: Tensor
    target_keypoints: Tensor


def update_discriminator(discriminator: Discriminator, optimiser: Optimizer, pair: Pair, generated: Tensor) -> dict[str, Tensor]:
    """One step towards telling real from generated; nothing of it reaches the network that generated."""
    condition = discriminator.condition(pair.source, pair.source_keypoints, pair.target_keypoints)
    real_logits, fake_logits = discriminator(condition, pair.target, generated.detach())
    loss = discriminator_loss(real_logits.float(), fake_logits.float())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return {"discriminator": loss.detach()}


def update_generator(
    discriminator: Discriminator, optimiser: Optimizer, losses: GeneratorLoss, pair: Pair, output: GeneratorOutput
) -> dict[str, Tensor]:
    """One step of the generator that made `output`, against a discriminator that stands still."""
    discriminator.requires_grad_(False)  # its weights' gradients are a third of this backward pass, and nobody's
    fake_logits = torch.zeros((), device=output.image.device)
    if losses.weights.adversarial > 0:
        condition = discriminator.condition(pair.source, pair.source_keypoints, pair.target_keypoints)
        fake_logits = discriminator(condition, output.image)[0].float()
    terms: dict[str, Tensor] = losses(output, pair.target, fake_logits)
    discriminator.requires_grad_(True)
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return {name: term.detach() for name, term in terms.items()}


def learning_rate(step: int, iterations: int, peak: float, constant: float) -> float:
    """Rate of the update that makes `step` (1 .. iterations): `peak`, then on a straight line towards 0.

    Args:
        constant: share of the iterations before the line begins; 1 keeps the rate throughout, as the paper does.
    """
    falling = (1 - constant) * iterations
    return peak * min(1.0, (iterations - step + 1) / falling) if falling > 0 else peak


def ema_decay(step: int, decay: float) -> float:
    """Decay of the running average at a step: min(decay, (1 + step) / (10 + step)).

    The warm-up lets the first steps count for little: without it a run of 1,200 iterations at decay
    0.999 would still hold 30 % of the random initial weights.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * network, for each weight; buffers are copied."""
    for average, weight in zip(ema.parameters(), network.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)
    for kept, buffer in zip(ema.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
