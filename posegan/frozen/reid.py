"""Does the generated image still show the same person? By the features of a re-identification network.

Legend: N images, G images of the gallery, F = 2048 features.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import resnet50

from posegan.frozen.vgg import IMAGENET_MEAN, IMAGENET_STD
from posegan.frozen.weights import OfficialFile, Weights, fill_network

REID = OfficialFile("a re-ID network (ResNet-50)", ("resnet50_market_xent.pth.tar",), "", "")
SIZE = (256, 128)  # pixels: height and width at which these networks are trained
FEATURES = 2048
_PREFIXES = ("module.",)  # what training on several GPUs puts before each name
_BLOCK = 1024  # rows compared with the gallery at once

Floats = npt.NDArray[np.float32]


class ReIdNetwork:
    """ResNet-50 up to its average pooling, in torchvision's names, which Torchreid's models share; the classifier is not looked at.

    Raises:
        PoseGANError: weights of another network.
    """

    def __init__(self, weights: Weights, device: torch.device) -> None:
        with torch.device("meta"):
            network = resnet50()
        network.fc = nn.Identity()
        network.to_empty(device="cpu")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        fill_network(network, str(weights.path), {_bare(name): value for name, value in weights.state.items()})
        self._network, self._device = network.to(device), device

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Floats:
        """Features `(N, F)` of length 1 of uint8 `(N, 3, H, W)`."""
        resized = interpolate(images.to(self._device).float() / 255, SIZE, mode="bilinear", antialias=True, align_corners=False)
        mean, std = (resized.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        features = nn.functional.normalize(self._network((resized - mean) / std), dim=1)
        result: Floats = features.cpu().numpy()
        return result


def identity_consistency(results: Floats, sources: Floats, people: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How surely each result is taken for its own person: (N,) in 0 .. 1, 0.5 is chance, NaN where there is nobody else.

    The share of other people's source images that are less similar (cosine) to the result than its own source; equal ones
    count half.

    Args:
        results: `(N, F)` features of length 1 of the images to judge.
        sources: `(N, F)` of their source images.
        people: `(N,)` whose they are.
    """
    own = np.einsum("nf,nf->n", results, sources)
    gallery, rows = np.unique(sources, axis=0, return_index=True)  # a source of many pairs counts once
    shares = np.empty(len(results))
    for start in range(0, len(results), _BLOCK):
        block = slice(start, start + _BLOCK)
        similar = results[block] @ gallery.T  # (n, G)
        other = people[block, None] != people[rows][None, :]
        lower = (similar < own[block, None]).astype(np.float64) + 0.5 * (similar == own[block, None])
        with np.errstate(invalid="ignore"):
            shares[block] = (lower * other).sum(axis=1) / other.sum(axis=1)
    return shares


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
