"""The blocks that the networks are made of.

Legend: B batch, C channels, h x w pixels of a feature map.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posegan.config import Upsampling

NORM_EPSILON = 1e-3  # added to the standard deviation, as in the norm layer that the paper's code imports


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
    """Twice the size: ReLU (of its input in place), enlarged by a convolution, norm, dropout.

    `transposed`: a 4 x 4 transposed convolution of stride 2, as in the paper. Each pixel of its output is made by one of four sets of
    taps, chosen by whether its place is even; where these differ, as they do from the start, there is a checkerboard.
    `bilinear`: a 3 x 3 convolution, then bilinear interpolation. All pixels are made alike, by about half as many operations.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float, upsampling: Upsampling) -> None:
        super().__init__()
        self.convolution: nn.Module
        if upsampling == "transposed":
            self.convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        else:
            self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = SampleNorm()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        """`(B, inputs, h, w)`, which it overwrites, to `(B, outputs, *size)`: a side of 2 h, or 2 h + 1 where halving rounded."""
        features = features.relu_()
        if isinstance(self.convolution, nn.ConvTranspose2d):
            enlarged = self.convolution(features, list(size))
        else:
            enlarged = F.interpolate(self.convolution(features), size, mode="bilinear", align_corners=False)
        return self.dropout(self.norm(enlarged))  # type: ignore[no-any-return]


class SampleNorm(nn.Module):
    """Each sample over channels, height and width together, then one scalar gain and one scalar bias.

    Divides by the standard deviation plus 1e-3, not by the root of the variance plus 1e-3: deviations of 0.05 are usual here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C, h, w)` to the same."""
        if torch.compiler.is_compiling():  # which makes one pass of single operations itself, and more of them than of ours
            deviation, mean = torch.std_mean(features.float(), dim=(1, 2, 3), keepdim=True, correction=0)
            return ((features - mean) / (deviation + NORM_EPSILON) * self.gain + self.bias).to(features.dtype)
        if torch.is_grad_enabled() and features.requires_grad:
            normalised: Tensor = _Normalised.apply(features, self.gain, self.bias)  # type: ignore[no-untyped-call]
            return normalised
        return _normalise(features, self.gain, self.bias)[0]


def _normalise(features: Tensor, gain: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`gain * (x - mean) / (deviation + epsilon) + bias`; the mean and the inverse deviation, `(B, 1)` each."""
    batch, channels, height, width = features.shape
    # Far below any deviation that counts, but not 0: a flat map is 0 / 1e-6.
    unit, mean, inverse = torch.native_group_norm(features, gain.repeat(channels), None, batch, channels, height * width, 1, 1e-12)
    return torch.addcmul(bias.to(unit.dtype), unit, _share(inverse).to(unit.dtype)), mean, inverse


def _share(inverse: Tensor) -> Tensor:
    """Of the deviation in its sum with epsilon, `(B, 1, 1, 1)`."""
    return 1 / (1 + NORM_EPSILON * inverse[..., None, None].to(torch.promote_types(inverse.dtype, torch.float32)))


class _Normalised(torch.autograd.Function):
    """`_normalise` with its gradient, by PyTorch's fused kernels."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        ctx.layout = torch.channels_last if features.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        features = features.contiguous(memory_format=ctx.layout)
        normalised, mean, inverse = _normalise(features, gain, bias)
        ctx.save_for_backward(features, gain, mean, inverse)
        return normalised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features, gain, mean, inverse = ctx.saved_tensors
        batch, channels, height, width = features.shape
        gradient = gradient.contiguous(memory_format=ctx.layout)
        share, size = _share(inverse), features[0].numel()
        mean, inverse = (value[..., None, None].to(share.dtype) for value in (mean, inverse))
        # y = share * z. Its gradient is that of z, which PyTorch has, times share, and z times that of share = s / (s + e), which is
        # e / (s + e)^2 * ds, with ds = (x - mean) / (s * size).
        of_features, of_gain, _ = torch.ops.aten.native_group_norm_backward(
            gradient * share.to(gradient.dtype), features, *ctx.saved_tensors[2:], gain.repeat(channels), batch, channels, height * width,
            1, [True, True, False],
        )  # fmt: skip
        along = (gradient * features).sum(dim=(1, 2, 3), keepdim=True, dtype=share.dtype)
        total = gradient.sum(dim=(1, 2, 3), keepdim=True, dtype=share.dtype)
        slope = (along - mean * total) * gain * NORM_EPSILON * share.square() * inverse.pow(4) / size
        result = torch.addcmul((-slope * mean).to(features.dtype), features, slope.to(features.dtype)).add_(of_features)
        return result, of_gain.sum(dim=0, keepdim=True), total.sum(dim=0).view(1).to(gain.dtype)


def initialise(module: nn.Module) -> None:
    """Glorot and Bengio's uniform, the default of Keras, with which the original was trained; biases zero. For `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
