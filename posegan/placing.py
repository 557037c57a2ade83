"""Where a pose stands in the generator's picture, and where the generator's picture stands in a photograph.

Legend: H, W height and width in pixels of the generator's picture; K = 18 joints. Positions as in `posegan.images`.
"""

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageChops, ImageFilter

from posegan.images import Fit, fit_keypoints, person_frame

_FAR = 8192  # pixels around a pose whose image is unknown: more than any frame reaches
_FEATHER = 0.04  # of the pasted picture's width


def place_keypoints(keypoints: npt.NDArray[np.float32], size: tuple[int, int] | None, height: int, width: int) -> npt.NDArray[np.float32]:
    """Keypoints (K, 3) of an image of `size` (width, height) as those of a picture of H x W that shows its person.

    The frame is the one that `images.fit_person` cuts; without a known size, that of an image without an edge.
    """
    if size == (width, height):
        return keypoints.astype(np.float32)
    moved = keypoints.astype(np.float32)
    if size is None:
        moved = fit_keypoints(moved, Fit(1.0, _FAR, _FAR))
        size = (2 * _FAR, 2 * _FAR)
    return fit_keypoints(moved, frame_fit(person_frame(moved, size, width / height), height, width))


def frame_fit(frame: tuple[int, int, int, int], height: int, width: int) -> Fit:
    """The `Fit` that lays a frame (left, top, right, bottom) into the middle of H x W, as large as it goes."""
    left, top, right, bottom = frame
    scale = min(height / (bottom - top), width / (right - left))
    half = (scale - 1) / 2  # pixel centres: placed + 1/2 = scale * (original + 1/2 - left) + margin
    across, down = (width - scale * (right - left)) / 2, (height - scale * (bottom - top)) / 2
    return Fit(scale, across - scale * left + half, down - scale * top + half)


def paste_back(photo: PIL.Image.Image, generated: PIL.Image.Image, fit: Fit) -> PIL.Image.Image:
    """The generated picture laid over the place of `photo` that it was made from, with soft edges.

    `fit` is the one that made the generator's source of `photo`.
    """
    half = (fit.scale - 1) / 2  # from pixel centres to edges, which is how Pillow counts
    coefficients = (fit.scale, 0.0, fit.left - half, 0.0, fit.scale, fit.top - half)
    soft = max(1.0, _FEATHER * generated.width)
    edge = round(2 * soft)
    mask = PIL.Image.new("L", generated.size)
    mask.paste(255, (edge, edge, generated.width - edge, generated.height - edge))
    mask = mask.filter(ImageFilter.GaussianBlur(soft))
    there = [
        layer.transform(photo.size, PIL.Image.Transform.AFFINE, coefficients, PIL.Image.Resampling.BICUBIC) for layer in (generated, mask)
    ]
    inside = there[1].point(lambda value: 255 if value else 0)
    pasted = photo.copy()
    pasted.paste(there[0], mask=ImageChops.darker(there[1], inside))
    return pasted
