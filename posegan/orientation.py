"""EXIF's orientation: how a file's pixels are turned to be upright, and joints that somebody placed on them as they are stored.

This program sees every image upright. Other programs may not (OpenCV with `IMREAD_IGNORE_ORIENTATION`, Pillow without
`exif_transpose`, annotation tools of either kind), and what they write counts in the stored pixels.

Legend: K = 18 joints.
"""

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from posegan.skeleton import MIRROR

UPRIGHT = 1
TAG = 0x0112
_QUARTER_TURNS = (5, 6, 7, 8)  # which exchange width and height
# Of EXIF 2.32, 4.6.4: whether the stored rows are columns, and which of the upright picture's axes then run backwards.
_TRANSPOSED = _QUARTER_TURNS
_BACKWARDS_X, _BACKWARDS_Y = (2, 3, 6, 7), (3, 4, 7, 8)
_MIRRORED = (2, 4, 5, 7)  # what is stored is a mirror image, in which left looks right


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of an open image, 1 .. 8; 1 where it has none, or a damaged one."""
    try:
        orientation = image.getexif().get(TAG, UPRIGHT)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, EOFError, OverflowError, struct.error):
        return UPRIGHT
    return orientation if isinstance(orientation, int) and UPRIGHT <= orientation <= max(_QUARTER_TURNS) else UPRIGHT


def stored_orientation(data: bytes) -> int:
    """The same of an image file's bytes; 1 for what is no image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return orientation_of(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return UPRIGHT


def is_turned(size: tuple[int, int], upright: tuple[int, int], orientation: int) -> bool:
    """Whether a (width, height) that a file gives is that of the stored pixels, and not of the upright image.

    Only a quarter turn shows it: the shape is that of the image on its side. Of a square nobody can tell.
    """
    if orientation not in _QUARTER_TURNS:
        return False
    stretch = np.log(size[0] * upright[1] / (size[1] * upright[0])), np.log(size[0] * upright[0] / (size[1] * upright[1]))
    return bool(abs(stretch[1]) < abs(stretch[0]))


def turned_upright(joints: npt.NDArray[np.float32], size: tuple[int, int], orientation: int) -> npt.NDArray[np.float32]:
    """Joints (K, 3) on stored pixels of (width, height), as joints on the upright image; missing ones stay 0, 0, 0."""
    turned = joints.copy()
    if orientation in _TRANSPOSED:
        turned[:, :2] = turned[:, 1::-1]
        size = size[1], size[0]
    if orientation in _BACKWARDS_X:
        turned[:, 0] = size[0] - 1 - turned[:, 0]
    if orientation in _BACKWARDS_Y:
        turned[:, 1] = size[1] - 1 - turned[:, 1]
    turned[turned[:, 2] <= 0] = 0
    return turned[list(MIRROR)] if orientation in _MIRRORED else turned
