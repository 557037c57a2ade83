"""What one iteration does to the networks: an update of each player, and the generator's running average.

What makes that faster stands here too: a fused optimiser, and compiled networks. The deformable skip stays out of what is compiled.
How many pixels its parts cover differs from batch to batch, so it would be compiled again and again; it is a few gathers, and the
convolutions about it are what there is to gain.

Legend: B images of a batch, H, W height and width in pixels.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, Optimizer

from posegan.model.geometry import mirrored_keypoints
from posegan.model.networks import Discriminator, Generator, GeneratorOutput, Judgement
from posegan.training.losses import PENALTY_NOISE, GeneratorLoss, discriminator_loss, gradient_penalty


class Pair(NamedTuple):
    """A batch as the networks take it: images `(B, 3, H, W)` in [-1, 1], keypoints `(B, 18, 3)`."""

    source: Tensor
    source_keypoints: Tensor
    target: Tensor
    target_keypoints: Tensor

    def parts(self, count: int) -> "list[Pair]":
        """The batch as `count` equal parts, in order."""
        return [Pair(*tensors) for tensors in zip(*(tensor.chunk(count) for tensor in self), strict=True)]

    def mirrored(self, chosen: Tensor) -> "Pair":
        """The batch, of which the `chosen` `(B,)` pairs are mirrored, left for right: a person's left side is then their right one."""
        images = [torch.where(chosen[:, None, None, None], image.flip(3), image) for image in (self.source, self.target)]
        width = self.source.shape[3]
        poses = [
            torch.where(chosen[:, None, None], mirrored_keypoints(pose, width), pose)
            for pose in (self.source_keypoints, self.target_keypoints)
        ]
        return Pair(images[0], poses[0], images[1], poses[1])


def update_discriminator(
    discriminator: nn.Module, optimiser: Optimizer, pairs: Sequence[Pair], generated: Iterable[Tensor], penalty: float = 0.0
) -> dict[str, Tensor]:
    """One step towards telling real from generated; nothing of it reaches the network that generated.

    The batch comes in equal parts, whose gradients add up to that of the whole; `generated` has the images of each. A `penalty`
    above 0 is the weight of `gradient_penalty`, for which the real images are judged a second time.
    """
    terms = []
    for pair, images in zip(pairs, generated, strict=True):
        moved = [pair.target + PENALTY_NOISE * torch.randn_like(pair.target)] if penalty > 0 else []
        real, fake, *near = discriminator(_condition(discriminator, pair), pair.target, images.detach(), *moved)
        terms.append({"discriminator": discriminator_loss(real, fake)})
        if near:
            terms[-1]["gradient_penalty"] = penalty * gradient_penalty(real, near[0])
        (torch.stack(list(terms[-1].values())).sum() / len(pairs)).backward()  # type: ignore[no-untyped-call]
    _step(optimiser)
    return _means(terms)


def update_generator(
    discriminator: nn.Module, optimiser: Optimizer, losses: GeneratorLoss, pairs: Sequence[Pair], outputs: Iterable[GeneratorOutput]
) -> dict[str, Tensor]:
    """One step of the generator that made `outputs`, one for each part of the batch, against a discriminator that stands still."""
    discriminator.requires_grad_(False)  # its weights' gradients are a third of this backward pass, and nobody's
    terms = []
    for pair, output in zip(pairs, outputs, strict=True):  # an output may be made when it is asked for
        judged = _judged(discriminator, losses, pair, output.image) if losses.weights.adversarial > 0 else (Judgement((), ()), None)
        terms.append(losses(output, pair.target, pair.target_keypoints, *judged))
        (torch.stack(list(terms[-1].values())).sum() / len(pairs)).backward()  # type: ignore[no-untyped-call]
    _step(optimiser)
    discriminator.requires_grad_(True)
    return _means(terms)


def _judged(discriminator: nn.Module, losses: GeneratorLoss, pair: Pair, image: Tensor) -> tuple[Judgement, Judgement | None]:
    """What the discriminator makes of the generated image, and of the real one where a term compares them."""
    condition = _condition(discriminator, pair)
    real = None
    if losses.weights.feature_matching > 0:
        with torch.no_grad():
            [real] = discriminator(condition, pair.target)
    [fake] = discriminator(condition, image)
    return fake, real


def _step(optimiser: Optimizer) -> None:
    """Use the gradients, and free them at once: the next forward pass needs their memory, as much as the weights', for what it keeps."""
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _condition(discriminator: nn.Module, pair: Pair) -> Tensor:
    network = discriminator.module if isinstance(discriminator, DistributedDataParallel) else discriminator
    return cast(Discriminator, network).condition(pair.source, pair.source_keypoints, pair.target_keypoints)


def _means(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each named term's mean over equal parts of a batch."""
    return {name: torch.stack([part[name].detach() for part in parts]).mean(dim=0) for name in parts[0]}


def learning_rate(step: int, iterations: int, peak: float, constant: float) -> float:
    """Rate of the update that makes `step` (1 .. iterations): `peak`, then on a straight line towards 0.

    Args:
        constant: share of the iterations before the line begins; 1 keeps the rate throughout, as the paper does.
    """
    falling = (1 - constant) * iterations
    return peak * min(1.0, (iterations - step + 1) / falling) if falling > 0 else peak


def set_rate(optimisers: Iterable[Optimizer], rate: float) -> None:
    """Give all weights of the optimisers one learning rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate


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


_FUSED_ON = ("cpu", "cuda")


_Network = TypeVar("_Network", bound=nn.Module)


def placed(network: _Network, device: torch.device, channels_last: bool) -> _Network:
    """The network itself, on `device`; with `channels_last`, the values of a pixel lie beside each other, in what it makes as well."""
    network.to(device)
    if channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def fused_adam(network: nn.Module, rate: float, betas: tuple[float, float]) -> Adam:
    """Adam that reads and writes each weight once a step, where PyTorch has such a kernel.

    On a CPU it takes about a fifth of the plain one's time, which at the paper's width is a tenth of a step of 4 pairs.
    """
    weights = list(network.parameters())
    fused = all(weight.device.type in _FUSED_ON for weight in weights)
    return Adam(weights, lr=rate, betas=betas, fused=fused)


def compile_networks(
    generator: Generator, discriminator: Discriminator, losses: GeneratorLoss, mode: str, backend: str = "inductor"
) -> list[str]:
    """Compile, in place, the parts that are all convolutions; names of their weights stay, so that states and exports do too.

    They are compiled at their first call, which takes a minute or so. Returns what will be.

    Args:
        mode: of `torch.compile`: `default`, or `reduce-overhead`, which replays CUDA graphs; with these, call
            `begin_step` before each iteration.
        backend: of `torch.compile`.
    """
    parts = {name: part for name, part in generator.named_children() if name != "offset_heads"}  # those get a level each
    # The discriminator itself and not its list of blocks: it judges two images where it learns and one where it stands still, so there
    # is a graph for each. The blocks have one for both, whose backward pass always computes gradients of weights.
    parts |= {"discriminator": discriminator} | ({"features": losses.features} if losses.features is not None else {})
    for part in parts.values():
        if backend == "inductor":
            part.compile(mode=mode)
        else:
            part.compile(backend=backend)
    return list(parts)


def begin_step() -> None:
    """What the CUDA graphs of the iteration before gave may be overwritten from here on."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
