"""Pictures as callers have them (Pillow, NumPy, tensors; one or many), and back in the same kind.

Legend: B pictures, H, W height and width in pixels.

| kind | one | many |
|---|---|---|
| Pillow | any mode | a sequence |
| NumPy | uint8 (H, W, 3) RGB | uint8 (B, H, W, 3) |
| tensor | (3, H, W) RGB, uint8, or floating in [0, 1] | (B, 3, H, W) |
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

from posegan.errors import PoseGANError

Pictures = PIL.Image.Image | npt.NDArray[np.uint8] | Tensor | Sequence[PIL.Image.Image]


class Kind(NamedTuple):
    """How the caller's pictures came."""

    container: str  # pillow, numpy, tensor
    many: bool
    dtype: torch.dtype = torch.uint8
    device: torch.device = torch.device("cpu")


def open_pictures(value: object, name: str) -> tuple[list[PIL.Image.Image], Kind]:
    """The pictures as RGB Pillow images, and their kind.

    Raises:
        PoseGANError: none of the kinds above; the message calls the value `name`.
    """
    if isinstance(value, PIL.Image.Image):
        return [value.convert("RGB")], Kind("pillow", many=False)
    if isinstance(value, np.ndarray):
        return _from_numpy(value, name), Kind("numpy", value.ndim == 4)
    if isinstance(value, Tensor):
        pixels = _tensor_pixels(value, name)
        return _from_numpy(pixels, name), Kind("tensor", value.ndim == 4, value.dtype, value.device)
    if isinstance(value, Sequence) and value and all(isinstance(item, PIL.Image.Image) for item in value):
        return [item.convert("RGB") for item in value], Kind("pillow", many=True)
    raise PoseGANError(
        f"{name}: expected a Pillow image, a list of them, a uint8 array ([B,] H, W, 3) or a tensor ([B,] 3, H, W), got {_described(value)}"
    )


def give_pictures(images: Tensor, kind: Kind) -> Any:
    """Drawn images, uint8 `(B, 3, H, W)`, in the kind that the caller's came in; many if there are several."""
    many = kind.many or len(images) > 1
    if kind.container == "tensor":
        drawn = images.to(kind.device)
        drawn = drawn if kind.dtype == torch.uint8 else drawn.to(kind.dtype) / 255
        return drawn if many else drawn[0]
    pixels = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    if kind.container == "numpy":
        return pixels if many else pixels[0]
    pictures = [PIL.Image.fromarray(picture) for picture in pixels]
    return pictures if many else pictures[0]


def _from_numpy(pixels: npt.NDArray[Any], name: str) -> list[PIL.Image.Image]:
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3 or not pixels.size:
        raise PoseGANError(f"{name}: expected a uint8 array ([B,] H, W, 3), got {pixels.dtype} {pixels.shape}")
    return [PIL.Image.fromarray(picture) for picture in (pixels if pixels.ndim == 4 else pixels[None])]


def _tensor_pixels(value: Tensor, name: str) -> npt.NDArray[np.uint8]:
    if value.ndim not in (3, 4) or value.shape[-3] != 3 or not (value.dtype == torch.uint8 or value.is_floating_point()):
        raise PoseGANError(f"{name}: expected a tensor ([B,] 3, H, W), uint8 or floating, got {value.dtype} {tuple(value.shape)}")
    if value.is_floating_point():
        # NaN fails the comparison too.
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise PoseGANError(f"{name}: expected a floating tensor in [0, 1], got values outside; scale it, or hand uint8 over")
        value = (value.detach().float() * 255).round().to(torch.uint8)
    return value.movedim(-3, -1).contiguous().cpu().numpy()


def _described(value: object) -> str:
    return "an empty sequence" if isinstance(value, Sequence) and not value else type(value).__name__
