"""What makes a step faster and leaves what it computes alone, up to rounding: compiled networks, a fused optimiser.

The deformable skip stays out of the compiled parts. How many pixels its parts cover differs from batch to batch, so it would be
compiled again and again; it is a few gathers, and the convolutions about it are what there is to gain.
"""

from typing import TypeVar

import torch
from torch import nn
from torch.optim import Adam

from posegan.losses import GeneratorLoss
from posegan.networks import Discriminator, Generator

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
