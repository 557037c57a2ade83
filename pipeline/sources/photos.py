"""One photograph, whatever it is, in the form in which the archive keeps it: an upright RGB JPEG or PNG of bounded size."""

import io
import warnings
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from posegan.images import decode_image, encode_jpeg

# Ghostscript and Windows' own renderer would run what an EPS or WMF file says: they are programs, not photographs.
_PROGRAMS = {"EPS", "WMF"}
_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png"}
_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF


class Stored(NamedTuple):
    """What the archive keeps of a photo."""

    data: bytes
    suffix: str


@cache
def readable_formats() -> tuple[str, ...]:
    """Every format that this Pillow opens, but for those that are programs."""
    Image.init()
    return tuple(sorted(Image.OPEN.keys() - _PROGRAMS))


def store_photo(data: bytes, maximum_side: int) -> Stored:
    """Bytes of an image file in any format that Pillow reads, as a photo of the archive.

    A JPEG or PNG in RGB or grey that stands upright and is no larger than `maximum_side` pixels stays byte for byte. Of
    anything else, the upright picture is shrunk to that side, where it is larger, and stored as a JPEG without metadata.

    Raises:
        ImageError: no image, damaged, or too large to be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage that the picture can do without, such as in its EXIF
        image = decode_image(data, formats=readable_formats())
        return _stored(data, image, maximum_side)


def _stored(data: bytes, image: Image.Image, maximum_side: int) -> Stored:
    with Image.open(io.BytesIO(data), formats=readable_formats()) as header:
        upright = header.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
        if header.format in _AS_THEY_ARE and header.mode in ("RGB", "L") and upright and max(image.size) <= maximum_side:
            return Stored(data, _AS_THEY_ARE[header.format])
    image.thumbnail((maximum_side, maximum_side), Image.Resampling.BICUBIC)
    return Stored(encode_jpeg(np.asarray(image)), ".jpg")
