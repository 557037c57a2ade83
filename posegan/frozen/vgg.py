"""A frozen VGG-19 that turns images into feature maps for the losses.

Legend: B batch, C channels, H x W pixels.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights, vgg19

from posegan.config import FeaturesConfig
from posegan.errors import PoseGANError
from posegan.files import check_sha256, sha256_of
from posegan.frozen.weights import fill_network, read_state_dict

RANDOM_SEED = 0
BLOCK_DEPTHS = (2, 2, 4, 4, 4)  # convolutions before each pooling
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
# Grey levels in one unit of torchvision's normalised input, 57.6. The original takes its features from Keras' VGG-19,
# whose input is pixels of 0 .. 255 less their mean, and the paper's loss weights belong to features of that size.
# Convolutions and ReLUs multiply with their input (but for the biases), so this factor gives torchvision's
# features about that size; the two sets of weights were trained apart, so it is no exact conversion.
GREY_LEVELS = 255 * sum(IMAGENET_STD) / 3


class VGG19Features(nn.Module):
    """Feature maps of the named layers, from filters that never train.

    Layers are named `relu<block>_<convolution>`, as in Simonyan and Zisserman, 2015: `relu1_2` has 64 channels
    at full resolution, `relu2_1` 128 at half. Only the layers up to the deepest named one are built.
    `description` says which weights these are.

    Raises:
        PoseGANError: an unknown layer, or weights that are missing, damaged, of another SHA-256 or another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[str], config: FeaturesConfig) -> None:
        super().__init__()
        self._names = {_position(layer): layer for layer in layers}
        with torch.device("meta"):  # neither memory nor random numbers for the layers that are not asked for
            self.layers = vgg19().features[: max(self._names) + 1]
        self.layers.to_empty(device="cpu")
        self.description = _fill(self.layers, config)
        # Images come in [-1, 1]: (x + 1) / 2 has ImageNet's mean and std where x has these.
        self.register_buffer("mean", (torch.tensor(IMAGENET_MEAN) * 2 - 1).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", (torch.tensor(IMAGENET_STD) * 2).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """RGB `(B, 3, H, W)` in [-1, 1] to `{layer: (B, C, h, w)}`."""
        features = (image - self.mean) / self.std
        named: dict[str, Tensor] = {}
        for position, layer in enumerate(self.layers):
            features = layer(features)
            if position in self._names:
                named[self._names[position]] = features
        return named


def _position(layer: str) -> int:
    """Index of a ReLU, by its name, in torchvision's list of convolutions, ReLUs and poolings."""
    names: dict[str, int] = {}
    position = 0
    for block, depth in enumerate(BLOCK_DEPTHS, start=1):
        for convolution in range(1, depth + 1):
            names[f"relu{block}_{convolution}"] = position + 1
            position += 2
        position += 1  # the pooling
    if layer not in names:
        raise PoseGANError(f"VGG-19 has no layer {layer!r}; choose one of {', '.join(names)}")
    return names[layer]


def _fill(layers: nn.Module, config: FeaturesConfig) -> str:
    """Give the layers the weights that the configuration names, and return their description."""
    if config.weights == "random":
        draw_filters(layers)
        return f"VGG-19, random filters (seed {RANDOM_SEED})"
    if config.weights == "official":
        fill_network(layers, "torchvision's VGG-19", _official_weights(config.sha256), "features.")
        return "VGG-19, torchvision IMAGENET1K_V1"
    path = Path(config.weights)
    remedy = "set features.weights and features.sha256 to a file that you trust, or features.weights to random or official"
    check_sha256(path, config.sha256, remedy)
    fill_network(layers, str(path), read_state_dict(path, "features.weights", remedy), "features.")
    return f"VGG-19, {path.name} (SHA-256 {config.sha256[:12]})"


def draw_filters(layers: nn.Module) -> None:
    """Fill every convolution with the filters of seed `RANDOM_SEED`: He-normal, without biases.

    The mean square of what they give stays the same from layer to layer (He et al., 2015). PyTorch's own random numbers are
    left alone, so that building a loss does not shift those of the training run.
    """
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _official_weights(sha256: str) -> Mapping[str, Tensor]:
    """torchvision's own, fetched by it once, from then on found below TORCH_HOME."""
    weights = VGG19_Weights.IMAGENET1K_V1
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    remedy = f"put {weights.url} at {place} yourself, or set features.weights to a path or to random"
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:  # no network, no disk, a damaged copy
        raise PoseGANError(f"VGG-19: torchvision could not fetch its weights ({error}); {remedy}") from error
    # torchvision hashes what it downloads, and never a copy that is there already; the file's name holds 8 digits.
    found, digits = sha256_of(place), place.stem.rpartition("-")[2]
    if not found.startswith(digits) or (sha256 and found != sha256):
        raise PoseGANError(f"{place}: expected SHA-256 {sha256 or digits + '...'}, got {found}; remove it, then {remedy}")
    return state
