"""A user's own photographs, from files and from Pillow's objects: as `posegan.images` decodes them, and colours of 16 bits whole.

Of colours of 16 bits Pillow keeps the upper 8. Where a camera or a scanner left 8 or 12 bits in them, that is black. Here a file's
lower bytes are decoded as well, with Pillow's own decoders, and both become 8 bits by the rule that grey pictures go by (`eight_bits`).
Where Pillow offers no way to them (SGI, JPEG 2000, PPM as text), a picture that comes out black is refused.

Legend: H, W height and width in pixels, C channels.
"""

import io
import struct
import sys
import warnings
from collections.abc import Callable, Collection
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

from posegan.images import MAX_PIXELS, ImageError, decode_photo, eight_bits, photo_formats, upright_rgb
from posegan.orientation import TAG, orientation_of

Numbers = npt.NDArray[np.uint16]
_SIXTEEN = ";16"  # in Pillow's names of how pixels are stored: RGB;16B has the upper byte first, ;16L last, ;16N as the machine has it
_OTHER_END = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_CHANNELS = {"RGB", "RGBA", "RGBX", "CMYK", *"RGBAX"}  # alone: of a file that has one channel after the other
_GREY_AND_ALPHA = "LA;16B"  # has no twin; its four bytes are read as four channels
_NETPBM, _WHITE = "ppm", 65_535  # Pillow's name for PPM's numbers of a byte or two, upper byte first; the largest of 16 bits
_VISIBLE = 17  # of 255: what 12 bits in 16 leave is below it
_HALVED, _DEEP = ("SGI", "JPEG2000", "PPM"), ("PNG", "TIFF")
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


def read_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The bytes of an image file that a user named, in any format that Pillow reads, as upright RGB.

    Raises:
        ImageError: as `decode_photo`.
    """
    if (whole := _whole(data, max_pixels)) is not None:
        return upright_rgb(whole, max_pixels)
    return _not_black(decode_photo(data, max_pixels), _format(data), _HALVED)


def upright_photo(image: Image.Image) -> Image.Image:
    """A Pillow image as upright RGB; of one that is open and not loaded yet, all bits count.

    Raises:
        ImageError: as `upright_rgb`; or it was loaded by the caller, comes from a file that may have had 16 bits, and is black.
    """
    if is_deep(image) and (whole := _whole(_file_of(image), MAX_PIXELS)) is not None:
        return upright_rgb(whole)
    return _not_black(upright_rgb(image), image.format, (*_DEEP, *_HALVED))


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is open and not loaded yet has colours of 16 bits."""
    return len(image.getbands()) > 1 and (
        _is_deep_netpbm(image) or (bool(raw := _raw_modes(image)) and all(_SIXTEEN in mode for mode in raw))
    )


def _whole(data: bytes, max_pixels: int) -> Image.Image | None:
    """A file's picture in 8 bits a channel, by all 16 bits; None for one of other depths, and for whatever is wrong with it."""
    try:
        with _opened(data) as image:
            if not is_deep(image) or image.width * image.height > max_pixels:
                return None
            values = _sixteen_bits(image, data)
            key, orientation = image.info.get("transparency"), orientation_of(image)  # which may load it
    except (*_ERRORS, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    if values is None:
        return None
    colours = 3 if values.shape[2] == 4 and image.mode != "CMYK" else values.shape[2]
    channels = [_eight(values[..., :colours])]
    if colours < values.shape[2]:
        channels.append(_eight(values[..., colours:]))
    elif isinstance(key, tuple):  # one colour that means nothing is there
        channels.append(np.where((values == key).all(axis=2, keepdims=True), 0, 255).astype(np.uint8))
    pixels = np.concatenate(channels, axis=2)
    whole = Image.fromarray(pixels, image.mode if image.mode == "CMYK" else {3: "RGB", 4: "RGBA"}[pixels.shape[2]])
    exif = Image.Exif()
    exif[TAG] = orientation
    whole.info["exif"] = exif.tobytes()
    return whole


def _sixteen_bits(image: ImageFile, data: bytes) -> Numbers | None:
    """The pixels (H, W, C) of an open image, each channel with both bytes; None for a way of storing them that is not known here."""
    if _is_deep_netpbm(image):
        numbers = np.frombuffer(data, ">u2", 3 * image.width * image.height, image.tile[0].offset)
        return numbers.astype(np.uint16).reshape(image.height, image.width, 3)
    if _raw_modes(image) == [_GREY_AND_ALPHA]:
        bytes_ = _decoded(data, lambda mode: "RGBA")
        both = _joined(bytes_[..., ::2], bytes_[..., 1::2])
        return both[..., (0, 0, 0, 1)]
    if any(mode.partition(";")[0] not in _CHANNELS for mode in _raw_modes(image)):
        return None
    return _joined(_decoded(data, lambda mode: mode), _decoded(data, lambda mode: mode[:-1] + _OTHER_END[mode[-1]]))


def _joined(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> Numbers:
    numbers: Numbers = upper.astype(np.uint16)
    numbers <<= 8
    numbers |= lower
    return numbers


def _decoded(data: bytes, renamed: Callable[[str], str]) -> npt.NDArray[np.uint8]:
    """A file's pixels (H, W, C), read as if they were stored in another mode."""
    with Image.open(io.BytesIO(data), formats=photo_formats()) as image:
        tiles = []
        for tile in image.tile:
            mode, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
            args = (renamed(mode), *others)
            tiles.append(tile._replace(args=args[0] if isinstance(tile.args, str) else args))
        image.tile = tiles
        image.load()
        return np.asarray(image)


def _eight(values: Numbers) -> npt.NDArray[np.uint8]:
    """As `eight_bits`, by a table: without numbers of 8 bytes for each of up to 256 million."""
    table = eight_bits(np.arange(int(values.max(initial=0)) + 1, dtype=np.uint16))
    return np.asarray(table[values])


def _not_black(image: Image.Image, form: str | None, forms: Collection[str]) -> Image.Image:
    """The image, unless its file's format is one of `forms` and nothing in it is bright enough for anything but 12 bits in 16."""
    if form in forms and all(high < _VISIBLE for _, high in image.getextrema()):  # type: ignore[misc]  # one pair a channel
        raise ImageError("nothing in it is brighter than black: perhaps it keeps 12 bits in 16; save it with 8 bits", "unreadable")
    return image


def _is_deep_netpbm(image: Image.Image) -> bool:
    tiles = image.tile if isinstance(image, ImageFile) else []
    return len(tiles) == 1 and tiles[0].codec_name == _NETPBM and tiles[0].args == ("RGB", _WHITE)


def _format(data: bytes) -> str | None:
    with _opened(data) as image:
        return image.format


def _opened(data: bytes) -> ImageFile:
    """The file's header, without Pillow's warning of many pixels: who decodes it says what is too large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(data), formats=photo_formats())


def _raw_modes(image: Image.Image) -> list[str]:
    """How each part of an image's file stores its pixels, in Pillow's names; none where it is loaded, or says nothing."""
    args = [tile.args for tile in image.tile] if isinstance(image, ImageFile) else []
    modes = [each if isinstance(each, str) else each[0] if isinstance(each, tuple) and each else None for each in args]
    return [mode for mode in modes if isinstance(mode, str)]


def _file_of(image: Image.Image) -> bytes:
    """The bytes of an open image's file, from its beginning; the image is read on from where it was."""
    file: IO[bytes] | None = getattr(image, "fp", None)
    if file is None:
        return b""
    try:
        place = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(place)
    except (OSError, ValueError):
        return b""
    return data
