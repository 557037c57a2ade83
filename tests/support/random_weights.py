"""Files of weights in the shape of the official ones, with random numbers: they open alike and mean nothing."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models import alexnet, resnet50, vgg16

from posegan.files import sha256_of
from posegan.frozen.weights import Weights


class _Blank(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's network as it is before its weights are loaded."""

    def load_state_dict(self, *_: Any, **__: Any) -> None:
        return None


def random_state(network: str, seed: int = 0) -> Mapping[str, Tensor]:
    """The state dict of `inception`, `alexnet`, `vgg16` (convolutions only) or `reid`."""
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.device("meta"):  # shapes only: building the real thing draws 138 million numbers for VGG-16
        if network == "inception":
            shapes = _Blank("inception", ["2048"], empty).state_dict()
        else:
            shapes = {"alexnet": alexnet, "vgg16": vgg16, "reid": resnet50}[network]().state_dict()
    generator = torch.Generator().manual_seed(seed)
    unused = ("classifier.",) if network in ("alexnet", "vgg16") else ("fc.",) if network == "reid" else ()
    return {name: _drawn(name, tensor, generator) for name, tensor in shapes.items() if not name.startswith(unused)}


def _drawn(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    if like.dim() > 1:
        return torch.randn(like.shape, generator=generator) * (2 / like[0].numel()) ** 0.5
    if name.endswith(("running_var", "weight")):
        return torch.ones(like.shape)
    return torch.zeros(like.shape, dtype=like.dtype)


def as_weights(state: Mapping[str, Tensor]) -> Weights:
    """The state dict as if read from a file."""
    return Weights(state, Path("random.pth"), "0" * 64, False)


def save_weights(path: Path, state: Mapping[str, Tensor]) -> str:
    """Write a file as torch does; gives its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), path)
    return sha256_of(path)
