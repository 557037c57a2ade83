"""LPIPS: how different two images look to a network that learned to see (Zhang et al., 2018); and a stand-in without that network.

The computation is torchmetrics' copy of the authors' (version 0.1, whose linear weights it ships); this module gives it
backbones of known origin and uint8 images.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _NoTrainLpips
from torchvision.models import AlexNet_Weights, VGG16_Weights, alexnet, vgg16

from posegan.frozen.vgg import RANDOM_SEED, draw_filters
from posegan.frozen.weights import OfficialFile, Weights, fill_network

Backbone = Literal["alex", "vgg"]

ALEXNET = OfficialFile("AlexNet", ("alexnet-owt-7be5be79.pth",), AlexNet_Weights.IMAGENET1K_V1.url, "7be5be79")
VGG16 = OfficialFile("VGG-16", ("vgg16-397923af.pth",), VGG16_Weights.IMAGENET1K_V1.url, "397923af")
SMALLEST = {"alex": 32, "vgg": 16}  # pixels a side, below which a pooling has nothing left


class _FeatureDistance:
    """A network that compares images in [-1, 1], as a function of uint8 images."""

    def __init__(self, network: nn.Module, backbone: Backbone, device: torch.device) -> None:
        self._network = network.requires_grad_(False).to(device)
        self._smallest, self._device = SMALLEST[backbone], device

    @torch.no_grad()
    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distances `(B,)`, float64 on the CPU, of uint8 `(B, 3, H, W)`; 0 for identical images, larger is more different.

        Raises:
            ValueError: images that are too small for the backbone.
        """
        if min(images.shape[-2:]) < self._smallest:
            raise ValueError(f"images: expected at least {self._smallest} pixels a side, got {tuple(images.shape[-2:])}")
        first, second = (batch.to(self._device).float() / 127.5 - 1 for batch in (images, targets))
        return _flat(self._network(first, second))


class PerceptualDistance(_FeatureDistance):
    """LPIPS with one backbone.

    Raises:
        PoseGANError: weights of another network.
    """

    def __init__(self, backbone: Backbone, weights: Weights, device: torch.device) -> None:
        with torch.device("meta"):  # neither memory nor random numbers for what the file replaces
            features = (alexnet if backbone == "alex" else vgg16)().features
        features.to_empty(device="cpu")
        fill_network(features, str(weights.path), weights.state, "features.")
        with torch.random.fork_rng(devices=[]):  # it draws random backbones, which are then replaced
            network = _NoTrainLpips(net=backbone, pnet_rand=True)
        filled = dict(features.named_children())
        for part in network.net.children():
            for name, _ in list(part.named_children()):
                part.add_module(name, filled[name])
        super().__init__(network, backbone, device)


class RandomFilterDistance(_FeatureDistance):
    """What stands in for LPIPS where AlexNet's weights are absent: the same computation through random filters, 0 .. 10.

    The filters of AlexNet's five convolutions are He-normal of a fixed seed, without biases; LPIPS' linear weights belong to
    trained features, so here every channel of every layer weighs 1. Zhang et al. (2018) have random networks as a baseline
    beneath the trained ones. It is not LPIPS, and no number of LPIPS can be compared with its own.
    """

    description = f"AlexNet, random filters (seed {RANDOM_SEED})"

    def __init__(self, device: torch.device) -> None:
        with torch.device("meta"):  # neither memory nor random numbers for what is filled here
            network = _NoTrainLpips(net="alex", pnet_rand=True, pretrained=False)
        for part in network.children():
            if part is not network.scaling_layer:  # whose constants were never on "meta"
                part.to_empty(device="cpu")
        draw_filters(network.net)
        for layer in network.lins:  # LPIPS' linear layers, a convolution each
            for weight in layer.parameters():
                nn.init.ones_(weight)
        super().__init__(network, "alex", device)


def _flat(distances: Tensor) -> Tensor:
    return distances.reshape(len(distances)).double().cpu()
