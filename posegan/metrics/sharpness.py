"""How sharp a person is drawn, beside the real image: a number that blur lowers, and that noise and grids do not raise.

At an edge, fine detail and coarse detail are in step: both rise on the same side. At noise and at a checkerboard they are not. So what
counts is the energy of that part of the fine detail that goes with the coarser one, and not how much fine detail there is.

Legend: B images, H, W height and width in pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 0.8  # pixels: sigma of the Gaussian that fine detail is the rest of
COARSE = 1.5, 3.0  # pixels: coarser detail is between these two


def sharpness(images: Tensor, targets: Tensor, masks: Tensor) -> Tensor:
    """Energy of the fine detail that is in step with coarser edges, in the mask, relative to the target's, `(B,)` float64.

    1 for the target itself, and for as sharp a picture of anything; below 0.6 for a target blurred by 1 px. NaN where the target has
    no detail at all. Where the two are in place it does not matter.

    Args:
        images, targets: uint8 `(B, 3, H, W)`.
        masks: `(B, 1, H, W)`.
    """
    of_target = _energy(targets, masks)
    return torch.where(of_target > 0, _energy(images, masks) / of_target, torch.nan)


def _energy(images: Tensor, masks: Tensor) -> Tensor:
    """`(sum f c)^2 / sum c^2` over the mask, of fine detail f and coarser detail c: the energy of f's projection on c."""
    grey = images.double().mean(dim=1, keepdim=True)
    # Means over 2 x 2 pixels: nothing is left of what changes from pixel to pixel, as grids of upsampling do.
    grey = F.avg_pool2d(F.pad(grey, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    fine = grey - _blurred(grey, FINE)
    coarse = _blurred(grey, COARSE[0]) - _blurred(grey, COARSE[1])
    along, energy = ((product * masks).sum(dim=(1, 2, 3)) for product in (fine * coarse, coarse * coarse))
    return along.clamp(min=0).square() / energy.clamp(min=1e-12)


def _blurred(grey: Tensor, sigma: float) -> Tensor:
    """Gaussian means of `(B, 1, H, W)`, cut at 3 sigma; beyond a border its pixels go on."""
    reach = round(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=grey.dtype, device=grey.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(grey, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
