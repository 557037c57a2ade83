"""Where the pixels of a drawing come from: how much of each was copied out of the source, and how much the network drew.

A generator with `model.image_skip` mixes the two at every pixel (`posegan.model.copying`). The mixture is read where the decoder makes it,
and mixed again with one of the two left out, so that this tells of the network that draws and of no second one.

Legend: H x W pixels.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from posegan.model.copying import Copies, blend
from posegan.model.geometry import body_masks
from posegan.model.networks import IMAGE_CHANNELS, Generator

_LEAST = 1e-3  # a share below it has no colour of its own that could be told


class Origins(NamedTuple):
    """The two halves of one drawing: `share * copied + (1 - share) * invented` is the drawing."""

    share: Tensor  # (H, W) in [0, 1]: how much of a pixel is copied; 0 everywhere if the generator copies none
    copied: Tensor  # (3, H, W) in [-1, 1]; what is not copied at all is 0
    invented: Tensor  # (3, H, W) in [-1, 1]; what is copied alone is 0
    body: Tensor  # (H, W) bool: where the target pose has its body

    @property
    def body_share(self) -> float:
        """How much of the body is copied, in [0, 1]."""
        return float(self.share[self.body].mean()) if self.body.any() else 0.0

    @property
    def ground_share(self) -> float:
        """How much of what is no body is copied, in [0, 1]."""
        return float(self.share[~self.body].mean()) if not self.body.all() else 0.0


@torch.no_grad()
def draw_with_origins(generator: Generator, source: Tensor, source_keypoints: Tensor, target: Tensor) -> tuple[Tensor, Origins | None]:
    """One drawing `(3, H, W)` in [-1, 1], and where it comes from.

    None of a generator of several steps, each of which draws from the step before: a copy of a copy cannot be told from a drawn pixel.

    Args:
        generator: in eval mode.
        source: `(1, 3, H, W)` in [-1, 1].
        source_keypoints, target: `(1, K, 3)` in pixels of the image.
    """
    seen: dict[str, Any] = {"copies": None}
    hooks = (
        generator.decoder.register_forward_pre_hook(lambda _, inputs: seen.update(copies=inputs[1] if len(inputs) > 1 else None)),
        generator.decoder.last.register_forward_hook(lambda _module, _inputs, mixed: seen.update(mixed=mixed)),
    )
    try:
        drawing = generator(source, source_keypoints, target).image.float()
    finally:
        for hook in hooks:
            hook.remove()
    if generator.model.stacked_steps > 1:
        return drawing[0], None
    body = body_masks(target, *source.shape[2:])[0, 0]
    if seen["copies"] is None:
        nothing = torch.zeros_like(drawing[0])
        return drawing[0], Origins(nothing[0], nothing, drawing[0], body)
    return drawing[0], _parted(seen["copies"], seen["mixed"][:, IMAGE_CHANNELS:].float(), drawing, body)


def _parted(copies: Copies, logits: Tensor, drawing: Tensor, body: Tensor) -> Origins:
    nothing = torch.zeros_like(drawing)
    ones = copies._replace(images=torch.ones_like(copies.images))
    share = blend(ones, logits, nothing)[:, :1]
    of_copies = blend(copies, logits, nothing)
    copied = of_copies / share.clamp(min=_LEAST)
    invented = (drawing - of_copies) / (1 - share).clamp(min=_LEAST)
    return Origins(share[0, 0], copied[0].clamp(-1, 1), invented[0].clamp(-1, 1), body)
