"""Pictures as callers have them (Pillow, NumPy, tensors; one or many), and back in the same kind.

Legend: B pictures, H, W height and width in pixels.

| kind | one | many |
|---|---|---|
| Pillow | any mode, turned as its EXIF tag says | a sequence |
| NumPy | (H, W, 3) RGB, (H, W, 4) with opacity, (H, W) or (H, W, 1) grey; whole numbers, or floats in [0, 1] | (B, H, W, C) |
| tensor | (3, H, W) RGB, uint8, or floating in [0, 1] | (B, 3, H, W) |

Whichever way a photo comes, its pixels are those that the commands see (`posegan.photos`). Results are RGB; of NumPy, uint8.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

from posegan.errors import PoseGANError
from posegan.images import ImageError, eight_bits
from posegan.photos import upright_photo

Pictures = PIL.Image.Image | npt.NDArray[Any] | Tensor | Sequence[PIL.Image.Image]
_SMALLEST = 16  # pixels, of a grey picture's sides: below, an array of two dimensions is something else


class Kind(NamedTuple):
    """How the caller's pictures came."""

    container: str  # pillow, numpy, tensor
    many: bool
    dtype: torch.dtype = torch.uint8
    device: torch.device = torch.device("cpu")


def open_pictures(value: object, name: str) -> tuple[list[PIL.Image.Image], Kind]:
    """The pictures as RGB Pillow images, and their kind.

    Raises:
        PoseGANError: none of the kinds above, damaged, or too large; the message calls the value `name`.
    """
    if isinstance(value, PIL.Image.Image):
        return [_upright(value, name)], Kind("pillow", many=False)
    if isinstance(value, np.ndarray):
        return _from_numpy(value, name), Kind("numpy", value.ndim == 4)
    if isinstance(value, Tensor):
        pixels = _tensor_pixels(value, name)
        return _from_numpy(pixels, name), Kind("tensor", value.ndim == 4, value.dtype, value.device)
    if isinstance(value, Sequence) and value and all(isinstance(item, PIL.Image.Image) for item in value):
        return [_upright(item, f"{name} {number}") for number, item in enumerate(value)], Kind("pillow", many=True)
    raise PoseGANError(
        f"{name}: expected a Pillow image, a list of them, an array ([B,] H, W, 3) or a tensor ([B,] 3, H, W), got {_described(value)}"
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


def _upright(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    try:
        return upright_photo(image)
    except ImageError as error:
        raise PoseGANError(f"{name}: not a usable image: {error}") from error


def _from_numpy(pixels: npt.NDArray[Any], name: str) -> list[PIL.Image.Image]:
    if pixels.ndim == 2 and min(pixels.shape) >= _SMALLEST:
        pixels = pixels[..., None]
    fraction = pixels.dtype.kind == "f" and pixels.size > 0 and bool(((pixels >= 0) & (pixels <= 1)).all())  # NaN is not
    if not (fraction or pixels.dtype.kind in "ui") or pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3, 4) or not pixels.size:
        raise PoseGANError(
            f"{name}: expected a uint8 array ([B,] H, W, 3), or one of deeper whole numbers or floats in [0, 1], "
            f"got {pixels.dtype} {pixels.shape}{'' if fraction or pixels.dtype.kind != 'f' else ' with values outside'}"
        )
    pictures = pixels if pixels.ndim == 4 else pixels[None]
    grey = pictures.shape[-1] == 1
    return [_upright(PIL.Image.fromarray(_bytes(picture[..., 0] if grey else picture, name)), name) for picture in pictures]


def _bytes(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    try:
        return pixels if pixels.dtype == np.uint8 else eight_bits(pixels)
    except ImageError as error:
        raise PoseGANError(f"{name}: not a usable image: {error}") from error


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
